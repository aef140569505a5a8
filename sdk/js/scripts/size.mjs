// Measures what a page pays that uses the core, and proves that presence and history go where they are not used.
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const MOST_BYTES = 9 * 1024;

async function bundle(what) {
  const { outputFiles } = await build({
    stdin: { contents: what, resolveDir: new URL("../", import.meta.url).pathname },
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    write: false,
  });
  return outputFiles[0].text;
}

const core = await bundle('export { FanfareCore } from "./dist/index.js"');
const whole = await bundle('export { Fanfare } from "./dist/index.js"');
const [coreBytes, wholeBytes] = [core, whole].map((text) => gzipSync(text, { level: 9 }).length);
console.log(`core: ${coreBytes} bytes gzip (at most ${MOST_BYTES}); with presence and history: ${wholeBytes}`);

const failures = [];
if (coreBytes > MOST_BYTES) failures.push("the core is too large");
for (const [name, mark] of Object.entries({ presence: '"leave"', history: "pageSize" })) {
  if (core.includes(mark)) failures.push(`${name} is in the core`);
  if (!whole.includes(mark)) failures.push(`${name} cannot be found by ${mark}`);
}
for (const failure of failures) console.error(failure);
process.exit(failures.length === 0 ? 0 : 1);
