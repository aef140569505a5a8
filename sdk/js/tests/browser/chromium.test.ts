import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { TestApp } from "../server/app.js";
import { Pages } from "./pages.js";

let app: TestApp;
let pages: Pages;
beforeAll(async () => {
  app = await TestApp.make();
  pages = await Pages.open();
});
afterAll(() => pages.close());

test.each(["websocket", "sse", "poll"] as const)("a page follows and publishes over %s", async (transport) => {
  const page = await pages.page(app);
  const [channel, url] = [`page:${transport}`, inject("url")];
  const data = await page.evaluate(
    async ({ url, channel, transport }) => {
      const client = new window.fanfare.Fanfare({ url, getToken: window.token, transports: [transport] });
      const ledger = await new window.Ledger(client.channel(channel)).begin();
      await client.channel(channel).publish("n", 1, { ack: "persisted" });
      await client.channel(channel).publish("n", 2, { ack: "persisted" });
      await ledger.reaches(2);
      const past = [];
      for await (const { data } of client.channel(channel).history({ after: 0 })) past.push(data);
      client.close();
      return { data: ledger.data, past, problems: ledger.problems };
    },
    { url, channel, transport },
  );
  expect(data).toEqual({ data: [1, 2], past: [1, 2], problems: [] });
  await page.close();
});

test("where WebSockets do not get through, and streams neither, it polls, and remembers", async () => {
  const page = await pages.page(app);
  await page.routeWebSocket("**/v1/connect", (socket) => socket.close({ code: 1011 }));
  await page.route("**/v1/sse*", (route) => route.fulfill({ status: 502, body: "no" }));
  const url = inject("url");
  const first = await page.evaluate(async (url) => {
    const client = new window.fanfare.Fanfare({ url, getToken: window.token, storage: window.fanfare.webStorage() });
    const ledger = await new window.Ledger(client.channel("blocked")).begin();
    await client.channel("blocked").publish("n", 1);
    await ledger.reaches(1);
    const { value } = client.connection;
    client.close();
    return { data: ledger.data, transport: value.state === "connected" && value.transport };
  }, url);
  expect(first).toEqual({ data: [1], transport: "poll" });
  await app.publish("blocked", 2);
  await page.reload();
  const second = await page.evaluate(async (url) => {
    const tried: string[] = [];
    const client = new window.fanfare.Fanfare({ url, getToken: window.token, storage: window.fanfare.webStorage() });
    client.connection.observe((state) => tried.push(state.state));
    const ledger = await new window.Ledger(client.channel("blocked")).reaches(2);
    client.close();
    return { data: ledger.data, tried };
  }, url);
  expect(second.data).toEqual([2]);
  expect(second.tried.slice(0, 2)).toEqual(["connecting", "connected"]);
  await page.close();
});

test("what is published while offline is sent once the network is back, which is noticed at once", async () => {
  const context = await pages.browser.newContext();
  const page = await pages.page(app, context);
  await page.evaluate(async (url) => {
    window.client = new window.fanfare.Fanfare({ url, getToken: window.token, transports: ["sse"] });
    window.ledger = await new window.Ledger(window.client.channel("offline")).begin();
  }, inject("url"));
  await context.setOffline(true);
  await app.disconnect("ann");
  await page.evaluate(() => window.client.connection.until(({ state }) => state === "disconnected"));
  const state = await page.evaluate(() => {
    void window.client.channel("offline").publish("n", "mine");
    return window.client.connection.value;
  });
  expect(state).toMatchObject({ state: "disconnected", retryAt: undefined });
  await app.publish("offline", "theirs");
  await context.setOffline(false);
  const data = await page.evaluate(async () => (await window.ledger.reaches(2)).data);
  expect(data).toEqual(["theirs", "mine"]);
  await context.close();
});

test("a worker follows as a page does", async () => {
  const page = await pages.page(app);
  const data = await page.evaluate(
    async ({ url, token, origin }) => {
      const code = `importScripts("${origin}/client.js");
        const client = new fanfare.Fanfare({ url: "${url}", token: "${token}" });
        new Ledger(client.channel("worker")).begin()
          .then(async (ledger) => { await client.channel("worker").publish("n", 7); return ledger.reaches(1); })
          .then(({ data }) => { client.close(); postMessage(data); });`;
      window.worker = new Worker(URL.createObjectURL(new Blob([code])));
      return new Promise((resolve) => (window.worker.onmessage = ({ data }) => resolve(data)));
    },
    { url: inject("url"), token: app.token({ client: "ann" }), origin: pages.origin },
  );
  expect(data).toEqual([7]);
  await page.close();
});
