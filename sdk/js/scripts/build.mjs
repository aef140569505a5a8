// Bundles `src/` into `dist/`: ESM with shared chunks, CommonJS, and the types beside both.
import { execFileSync } from "node:child_process";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { build } from "esbuild";

const out = new URL("../dist/", import.meta.url);
await rm(out, { recursive: true, force: true });

const shared = {
  bundle: true,
  target: "es2022",
  minify: true,
  sourcemap: true,
  sourcesContent: false,
  external: ["react", "node:*"],
  outdir: "dist",
  logLevel: "warning",
};
const entries = ["src/index.ts", "src/index.node.ts", "src/react.ts"];
await build({ ...shared, entryPoints: entries, format: "esm", splitting: true, chunkNames: "chunks/[hash]", platform: "neutral" });
// `require` has no shared chunks, so what would be there twice is one file that others require.
for (const entry of entries) {
  await build({ ...shared, entryPoints: [entry], format: "cjs", platform: "node", outExtension: { ".js": ".cjs" } });
}

execFileSync("npx", ["tsc", "--project", "tsconfig.build.json"], { stdio: "inherit" });
// CommonJS needs types of its own, since a `.d.ts` speaks for an ES module here.
for (const name of await readdir(new URL("types/", out), { recursive: true })) {
  if (!name.endsWith(".d.ts")) continue;
  const file = new URL(`types/${name}`, out);
  const text = await readFile(file, "utf8");
  await writeFile(new URL(`types/${name.replace(/\.d\.ts$/, ".d.cts")}`, out), text.replaceAll(/(from "\.[^"]*)\.js"/g, '$1.cjs"'));
}
