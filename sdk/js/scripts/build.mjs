// Bundles `src/` into `dist/`: ESM with shared chunks, CommonJS, and the types beside both.
import { execFileSync } from "node:child_process";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { build } from "esbuild";
import { minify } from "terser";

const out = new URL("../dist/", import.meta.url);
await rm(out, { recursive: true, force: true });

// Names of the inside, which are no part of the API nor of the wire, and so may be short.
const inside =
  /^(accept|begun|came|canFetch|credentials|deliver|detach|dials|dispatch|due|effects|emit|ended|expect|failed|flush|frame|happening|head|heard|holeAfter|isAsked|isAttached|isConnected|isOver|isSent|isUnreachable|keepsHistory|machine|opened|perSecond|probe|question|remembered|resumeAll|shell|subscriptions|tick|ticket|tries|unblock|wakeAt|worked|works)$/;
const shared = {
  bundle: true,
  minify: true,
  mangleProps: inside,
  target: "es2022",
  external: ["react", "node:*"],
  outdir: "dist",
  logLevel: "warning",
  write: false,
};
const entries = ["src/index.ts", "src/index.node.ts", "src/react.ts"];
const built = [
  await build({ ...shared, entryPoints: entries, format: "esm", splitting: true, chunkNames: "chunks/[hash]", platform: "neutral" }),
];
for (const entry of entries) {
  built.push(await build({ ...shared, entryPoints: [entry], format: "cjs", platform: "node", outExtension: { ".js": ".cjs" } }));
}
const compress = { passes: 3, unsafe_arrows: true, unsafe_methods: true, keep_fargs: false };
for (const { path, text } of built.flatMap(({ outputFiles }) => outputFiles)) {
  const { code } = await minify(text, { module: !path.endsWith(".cjs"), ecma: 2020, compress });
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, code);
}

execFileSync("npx", ["tsc", "--project", "tsconfig.build.json"], { stdio: "inherit" });
// CommonJS needs types of its own, since a `.d.ts` speaks for an ES module here.
for (const name of await readdir(new URL("types/", out), { recursive: true })) {
  if (!name.endsWith(".d.ts")) continue;
  const file = new URL(`types/${name}`, out);
  const text = await readFile(file, "utf8");
  await writeFile(new URL(`types/${name.replace(/\.d\.ts$/, ".d.cts")}`, out), text.replaceAll(/(from "\.[^"]*)\.js"/g, '$1.cjs"'));
}
