import { afterAll, beforeAll, expect, test } from "vitest";
import { fault, TestApp } from "../server/app.js";
import { FanfareServer } from "../server/fanfare.js";
import { Pages } from "./pages.js";

let server: FanfareServer;
let pages: Pages;
beforeAll(async () => {
  server = await FanfareServer.start();
  pages = await Pages.open();
});
afterAll(async () => {
  await pages.close();
  await server.remove();
});

test.each(["websocket", "sse", "poll"] as const)(
  "two tabs that slept for 10 minutes, with a token that ran out, are complete within 3 s over %s",
  async (transport) => {
    const app = await TestApp.make(server.url);
    const context = await pages.browser.newContext();
    // The pages' clock is their own, so that 10 minutes may pass at once; their timers fire once each when they wake, as a laptop's do.
    await context.clock.install();
    let tokens = 0;
    await context.exposeFunction("token", () => ((tokens += 1), app.token({ client: "ann", ttlMs: 120_000 })));
    const tabs = [];
    for (let made = 0; made < 2; made += 1) {
      const page = await context.newPage();
      await page.goto(pages.origin);
      await page.evaluate(
        async ({ url, transport }) => {
          window.client = new window.fanfare.Fanfare({ url, getToken: window.token, transports: [transport] });
          window.ledger = await new window.Ledger(window.client.channel("tabs")).begin();
        },
        { url: server.url, transport },
      );
      tabs.push({ page, devtools: await context.newCDPSession(page) });
    }
    await app.publish("tabs", 1);
    for (const { page } of tabs) await page.evaluate(() => window.ledger.reaches(1).then(() => undefined));
    const tokensBefore = tokens;

    for (const { devtools } of tabs) await devtools.send("Page.setWebLifecycleState", { state: "frozen" });
    await fault({ fault: "expire" }, server.ops);
    for (const data of [2, 3, 4, 5]) await app.publish("tabs", data);

    for (const { devtools } of tabs) await devtools.send("Page.setWebLifecycleState", { state: "active" });
    const woke = Date.now();
    await context.clock.fastForward(600_000);
    for (const { page } of tabs) {
      const { data, problems } = await page.evaluate(async () => {
        await window.ledger.reaches(5);
        const { state } = await window.client.channel("tabs").state.until(({ state }) => state !== "pending");
        return { data: window.ledger.data, problems: [...window.ledger.problems, ...(state === "complete" ? [] : [state])] };
      });
      expect(problems).toEqual([]);
      expect(data).toEqual([1, 2, 3, 4, 5]);
    }
    expect(Date.now() - woke).toBeLessThan(3000);
    expect(tokens).toBeGreaterThanOrEqual(tokensBefore + 2);
    await context.close();
  },
);
