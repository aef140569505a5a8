import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { beforeAll, expect, inject, test } from "vitest";
import { TestApp } from "../server/app.js";

const HERE = new URL("../../", import.meta.url);
const run = promisify(execFile);

let app: TestApp;
beforeAll(async () => void (app = await TestApp.make()));

/** Runs a script against the package as it is built, and gives what it prints. */
async function node(...args: string[]): Promise<string> {
  const env = { PATH: process.env["PATH"], FANFARE_URL: inject("url"), FANFARE_KEY: app.bearer, TOKEN: app.token({ client: "ann" }) };
  return (await run("node", args, { cwd: HERE, env })).stdout.trim();
}

test("the quick start of the README runs as it stands there", async () => {
  const script = await readFile(new URL("quick-start.mjs", HERE), "utf8");
  expect(await readFile(new URL("README.md", HERE), "utf8")).toContain(`\`\`\`js\n${script}\`\`\``);
  expect(await node("quick-start.mjs")).toBe("said: hi (serial 1)");
});

test.each(["websocket", "sse", "poll"])("what is built works over %s, as ESM and as CommonJS", async (transport) => {
  const body = `
    const client = new Fanfare({ url: process.env.FANFARE_URL, token: process.env.TOKEN, transports: ["${transport}"] });
    const channel = client.channel("dist:" + Math.random());
    const seen = [];
    const subscription = channel.subscribe(({ data }) => seen.push(data) === 2 && done());
    subscription.ready().then(() => [1, 2].forEach((n) => channel.publish("n", n)));
    async function done() {
      for await (const { data } of channel.history({ after: 0 })) seen.push(data);
      console.log(seen.join(" "), channel.state.value.state, (await channel.presence.list()).length);
      client.close();
    }`;
  expect(await node("--input-type=module", "--eval", `import { Fanfare } from "@fanfare/client"; ${body}`)).toBe("1 2 1 2 complete 0");
  expect(await node("--input-type=commonjs", "--eval", `const { Fanfare } = require("@fanfare/client"); ${body}`)).toBe(
    "1 2 1 2 complete 0",
  );
});

test("the hooks are a part of their own, with React from outside", async () => {
  const shown = "console.log(typeof useChannel, typeof FanfareProvider)";
  expect(await node("--input-type=module", "--eval", `import { useChannel, FanfareProvider } from "@fanfare/client/react"; ${shown}`)).toBe(
    "function function",
  );
  expect(
    await node("--input-type=commonjs", "--eval", `const { useChannel, FanfareProvider } = require("@fanfare/client/react"); ${shown}`),
  ).toBe("function function");
});
