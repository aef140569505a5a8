// A page of an app with the stock clients for browsers, and its backend. Prints where it is, and ends with its standard input.

import { readFile } from "node:fs/promises";
import { createServer } from "node:http";

import * as backend from "./backend.mjs";

const HTML = `<!doctype html><meta charset="utf-8"><title>Stock clients</title>
<link rel="icon" href="data:,">
<script src="/pusher.js"></script><script src="/echo.js"></script>
<script type="module">
import { run } from "/checks.mjs";
const ask = async (path, body) => {
  const answer = await fetch(path, { method: "POST", body: JSON.stringify(body) });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error);
  return said;
};
const env = {
  Pusher, Echo: Echo.default, key: ${JSON.stringify(backend.key)}, nodes: ${JSON.stringify(backend.nodes)},
  authorize: (params) => ask("/authorize", [params]),
  authenticate: (params) => ask("/authenticate", [params]),
  trigger: (...params) => ask("/trigger", params),
};
window.said = [];
run(env, (line) => window.said.push(line)).then(
  () => { window.ended = "all hold"; },
  (error) => { window.ended = String(error); },
);
</script>`;

const FILES = {
  "/pusher.js": "./node_modules/pusher-js/dist/web/pusher-with-encryption.js",
  "/echo.js": "./node_modules/laravel-echo/dist/echo.iife.js",
  "/checks.mjs": "./checks.mjs",
};
const CALLS = { "/authorize": backend.authorize, "/authenticate": backend.authenticate, "/trigger": backend.trigger };

async function answer(request) {
  if (request.url === "/") return [200, "text/html", HTML];
  const file = FILES[request.url];
  if (file) return [200, "text/javascript", await readFile(new URL(file, import.meta.url))];
  const call = CALLS[request.url];
  if (!call) return [404, "application/json", "{}"];
  let body = "";
  for await (const part of request) body += part;
  const said = await call(...JSON.parse(body));
  return [200, "application/json", JSON.stringify(said ?? {})];
}

const server = createServer((request, response) => {
  answer(request)
    .catch((error) => [500, "application/json", JSON.stringify({ error: String(error) })])
    .then(([status, type, body]) => response.writeHead(status, { "Content-Type": type }).end(body));
});
server.listen(0, "127.0.0.1", () => console.log(`http://127.0.0.1:${server.address().port}/`));
process.stdin.resume().on("end", () => process.exit(0));
