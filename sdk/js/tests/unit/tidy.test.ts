import { readdir, readFile } from "node:fs/promises";
import { expect, test } from "vitest";

const HERE = new URL("../../", import.meta.url);

async function sources(folder: string): Promise<{ name: string; text: string }[]> {
  const names = await readdir(new URL(`${folder}/`, HERE), { recursive: true });
  const files = names.filter((name) => /\.(tsx?|mjs)$/.test(name) && !name.endsWith("tidy.test.ts"));
  return Promise.all(
    files.map(async (name) => ({ name: `${folder}/${name}`, text: await readFile(new URL(`${folder}/${name}`, HERE), "utf8") })),
  );
}

test("nothing is any, and nothing is a default export", async () => {
  for (const { name, text } of await sources("src")) {
    expect(text, name).not.toMatch(/: any\b|<any>|\bas any\b|any\[\]|export default/);
  }
});

test("the machine knows no timer, no clock and no socket", async () => {
  for (const { name, text } of await sources("src/machine")) {
    expect(text, name).not.toMatch(/setTimeout|Date\.|new WebSocket|(?<!#)fetch\(|globalThis|document|window/);
  }
});

test("tests wait for events, and none is left out or tried again", async () => {
  for (const { name, text } of await sources("tests")) {
    expect(text, name).not.toMatch(/setTimeout|setInterval|\.skip\b|\.only\b|\.todo\b|retry: [1-9]/);
  }
});

test("nothing is needed at run time but what the platform has", async () => {
  const manifest = JSON.parse(await readFile(new URL("package.json", HERE), "utf8")) as Record<string, unknown>;
  expect(manifest["dependencies"]).toBeUndefined();
  expect(manifest["peerDependenciesMeta"]).toEqual({ react: { optional: true } });
});
