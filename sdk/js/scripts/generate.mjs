// Writes `src/wire.ts` from the documents in `openapi/`. `--check` only says whether the file is stale.
import { readFile, writeFile } from "node:fs/promises";
import { format } from "prettier";
import { parse } from "yaml";

const DOCUMENTS = new URL("../../../openapi/", import.meta.url);
const WIRE = new URL("../src/wire.ts", import.meta.url);

/** What of the HTTP API the client uses; of the socket's protocol it uses everything. */
const OF_HTTP = [
  "NewMessage",
  "Published",
  "Problem",
  "FieldProblem",
  "HistoryPage",
  "HistoryItem",
  "MemberList",
  "Member",
  "Polled",
  "PolledPosition",
  "LostRange",
];

/** The unions that have no schema of their own: what a client sends, and what it hears unasked. */
const UNIONS = {
  Request: ["Connect", "Subscribe", "Unsubscribe", "Publish", "History", "PresenceRequest", "Token", "Pong"],
  Event: ["Message", "PresenceEvent", "Gap", "Skip", "Occupancy", "Unsubscribed", "TokenExpiring", "Ping", "Reconnect", "Error"],
};

const named = (reference, prefix) => prefix + reference.split("/").at(-1);

function typeOf(schema, prefix) {
  if (schema.$ref) return named(schema.$ref, prefix);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const either = schema.oneOf ?? schema.anyOf;
  if (either && !schema.properties) return either.map((one) => typeOf(one, prefix)).join(" | ");
  if (Array.isArray(schema.type)) return schema.type.map((type) => typeOf({ ...schema, type }, prefix)).join(" | ");
  if (schema.type === "array") return `(${typeOf(schema.items ?? {}, prefix)})[]`;
  if (schema.type === "object" || schema.properties) return objectOf(schema, prefix);
  if (schema.type === "integer") return "number";
  return schema.type ?? "unknown";
}

function objectOf(schema, prefix) {
  const fields = Object.entries(schema.properties ?? {}).map(([name, field]) => {
    const isOptional = !schema.required?.includes(name);
    return `${comment(field)}${JSON.stringify(name)}${isOptional ? "?" : ""}: ${typeOf(field, prefix)};`;
  });
  const more = schema.additionalProperties;
  if (fields.length === 0) return more ? `Record<string, ${typeOf(more, prefix)}>` : "Record<string, never>";
  return `{\n${fields.join("\n")}\n}`;
}

const comment = ({ description }) => (description ? `/** ${description.replaceAll("*/", "* /").replaceAll(/\s*\n\s*/g, " ")} */\n` : "");

const declaration = (name, schema, prefix) => `${comment(schema)}export type ${prefix}${name} = ${typeOf(schema, prefix)};\n`;

async function wire() {
  const socket = parse(await readFile(new URL("asyncapi.yaml", DOCUMENTS), "utf8")).components.schemas;
  const http = JSON.parse(await readFile(new URL("openapi.json", DOCUMENTS), "utf8")).components.schemas;
  const frames = Object.entries(socket).filter(([, schema]) => !(schema.oneOf && !schema.type));
  const parts = [
    "// Made from `openapi/asyncapi.yaml` and `openapi/openapi.json` by `npm run generate`; change those, not this file.\n",
    ...frames.map(([name, schema]) => declaration(name, schema, "")),
    ...Object.entries(UNIONS).map(([name, members]) => `export type ${name} = ${members.join(" | ")};\n`),
    ...OF_HTTP.filter((name) => http[name]).map((name) => declaration(name, http[name], "Http")),
  ];
  return format(parts.join("\n"), { parser: "typescript", printWidth: 140 });
}

const made = await wire();
if (process.argv.includes("--check")) {
  const found = await readFile(WIRE, "utf8").catch(() => "");
  if (found !== made) {
    console.error("src/wire.ts is stale: run `npm run generate`");
    process.exit(1);
  }
} else {
  await writeFile(WIRE, made);
}
