import { createServer, type Server } from "node:http";
import { once } from "node:events";
import { build } from "esbuild";
import { type Browser, type BrowserContext, chromium, type Page } from "playwright-core";
import type { Fanfare } from "../../src/index.js";
import type { Ledger } from "../server/ledger.js";
import type { TestApp } from "../server/app.js";

/** What the test's pages have as globals. */
declare global {
  interface Window {
    fanfare: typeof import("../../src/index.js");
    Ledger: typeof Ledger;
    token(): Promise<string>;
    client: Fanfare;
    ledger: Ledger;
    worker: Worker;
  }
}

/** A headless Chromium, and pages of an origin of their own with the client in them. */
export class Pages {
  private constructor(
    readonly origin: string,
    readonly browser: Browser,
    readonly server: Server,
  ) {}

  static async open(): Promise<Pages> {
    const bundled = await build({
      stdin: {
        contents:
          'import * as fanfare from "./src/index.ts"; import { Ledger } from "./tests/server/ledger.ts"; Object.assign(globalThis, { fanfare, Ledger });',
        resolveDir: new URL("../../", import.meta.url).pathname,
      },
      bundle: true,
      format: "iife",
      target: "es2022",
      write: false,
    });
    const script = bundled.outputFiles[0]?.text ?? "";
    const server = createServer((request, answer) => {
      const isScript = request.url === "/client.js";
      answer.setHeader("content-type", isScript ? "text/javascript" : "text/html");
      answer.end(isScript ? script : "<!doctype html><title>test</title><script src=/client.js></script>");
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
    return new Pages(`http://127.0.0.1:${address.port}`, browser, server);
  }

  async close(): Promise<void> {
    await this.browser.close();
    this.server.close();
  }

  /** A page whose client is `ann`; its tokens come from the test, as from a backend. */
  async page(app: TestApp, context: Browser | BrowserContext = this.browser, ttlMs?: number): Promise<Page> {
    const page = await context.newPage();
    await page.exposeFunction("token", () => app.token({ client: "ann", ...(ttlMs && { ttlMs }) }));
    await page.goto(this.origin);
    return page;
  }
}
