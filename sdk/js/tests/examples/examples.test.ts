import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import { type Browser, chromium, type Page } from "playwright-core";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { TestApp } from "../server/app.js";

const HERE = new URL("../../", import.meta.url);
const TYPES: Record<string, string> = { html: "text/html", js: "text/javascript" };

let app: TestApp;
let browser: Browser;
let server: Server;
let origin: string;

beforeAll(async () => {
  app = await TestApp.make();
  // As `npx serve` would in this folder; `dist` is what `npm run build` made.
  server = createServer((request, answer) => {
    const path = new URL(request.url ?? "/", "http://x").pathname.slice(1);
    readFile(new URL(path, HERE)).then(
      (body) => answer.setHeader("content-type", TYPES[path.split(".").at(-1) ?? ""] ?? "text/plain").end(body),
      () => answer.writeHead(404).end(),
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  origin = `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
  browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
});
afterAll(async () => {
  await browser.close();
  server.close();
});

/** Opens an example as somebody. */
async function open(name: string, client: string, more = ""): Promise<Page> {
  const page = await browser.newPage();
  page.on("pageerror", (error) => expect.unreachable(`${name}: ${error.message}`));
  await page.goto(`${origin}/examples/${name}.html#url=${inject("url")}&token=${app.token({ client })}${more}`);
  return page;
}

/** Waits until an element has that text. */
async function shows(page: Page, selector: string, text: string): Promise<void> {
  await page.waitForFunction(([selector, text]) => document.querySelector(selector ?? "")?.textContent === text, [selector, text]);
}

test("every example has fewer than 100 lines", async () => {
  const names = (await readdir(new URL("examples/", HERE))).sort();
  expect(names).toEqual(["chat.html", "cursors.html", "progress.html", "table.html"]);
  for (const name of names) {
    const text = await readFile(new URL(`examples/${name}`, HERE), "utf8");
    expect(text.split("\n").length, name).toBeLessThan(100);
  }
});

test("chat: two people talk, and the next one reads it", async () => {
  const ann = await open("chat", "ann");
  await shows(ann, "#state", "complete");
  const bob = await open("chat", "bob");
  await shows(ann, "#here", "ann, bob");
  await ann.fill("input", "hi bob");
  await ann.press("input", "Enter");
  await shows(bob, "#messages", "ann: hi bob");
  const eve = await open("chat", "eve");
  await shows(eve, "#messages", "ann: hi bob");
  await bob.close();
});

test("live table: the state first, then what changes", async () => {
  for (const [item, price] of [
    ["tea", 1],
    ["rum", 2],
    ["tea", 3],
  ])
    await app.publish("prices:all", { item, price });
  const page = await open("table", "ann");
  await shows(page, "#state", "complete");
  await page.waitForFunction(() => document.querySelectorAll("#rows tr").length === 2);
  await app.publish("prices:all", { item: "rum", price: 9 });
  await page.waitForFunction(() => document.querySelector("#rows")?.textContent?.includes("rum9"));
  expect(await page.textContent("#rows")).toContain("tea3");
});

test("cursors: one moves, the other sees it, until who moves is gone", async () => {
  const [ann, bob] = [await open("cursors", "ann"), await open("cursors", "bob")];
  await shows(ann, "#count", "1");
  await shows(bob, "#count", "1");
  await ann.mouse.move(10, 10);
  await bob.waitForSelector(".cursor");
  expect(await bob.textContent(".cursor")).toBe("➤ ann");
  expect(await ann.$$(".cursor")).toHaveLength(0);
  await ann.close();
  await bob.waitForSelector(".cursor", { state: "detached" });
});

test("progress: a late page shows where the job is, and ends with it", async () => {
  await app.publish("job:7", { percent: 40 }, { name: "progress" });
  const page = await open("progress", "ann", "&job=job:7");
  await page.waitForFunction(() => document.querySelector("progress")?.value === 40);
  await app.publish("job:7", { percent: 80 }, { name: "progress" });
  await page.waitForFunction(() => document.querySelector("progress")?.value === 80);
  await app.publish("job:7", { href: "/file" }, { name: "done" });
  await shows(page, "#result", "Download");
});
