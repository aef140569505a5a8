import { afterAll, afterEach, beforeAll, describe, expect, inject, test, vi } from "vitest";
import { Fanfare, FanfareError, type FanfareOptions } from "../../src/index.node.js";
import { TestApp } from "../server/app.js";
import { FanfareServer, freePort } from "../server/fanfare.js";
import { Ledger } from "../server/ledger.js";

const open: Fanfare[] = [];
afterEach(() => {
  vi.restoreAllMocks();
  open.splice(0).forEach((client) => client.close());
});

function connect(app: TestApp, options: Partial<FanfareOptions> = {}): Fanfare {
  const client = new Fanfare({ url: app.url, getToken: () => app.token({ client: "ann" }), ...options });
  open.push(client);
  return client;
}

describe("a server that is restarted", () => {
  let server: FanfareServer;
  const port = freePort();
  beforeAll(async () => void (server = await FanfareServer.start({ port: await port })));
  afterAll(() => server.remove());

  test.each(["websocket", "sse", "poll"] as const)(
    "costs no message over %s, and what is published meanwhile is sent once",
    async (transport) => {
      vi.spyOn(Math, "random").mockReturnValue(0.1);
      const app = await TestApp.make(server.url);
      const client = connect(app, { transports: [transport] });
      const channel = client.channel("c");
      const ledger = await new Ledger(channel).begin();
      await channel.publish("n", 1);
      for (let restart = 0; restart < 2; restart += 1) {
        const published = [];
        const first = 2 + restart * 4;
        await server.stop(restart === 0 ? "SIGTERM" : "SIGKILL");
        for (let n = first; n < first + 4; n += 1) published.push(channel.publish("n", n));
        server = await FanfareServer.start({ port: await port, folder: server.folder });
        await Promise.all(published);
      }
      await ledger.reaches(9);
      expect(ledger.problems).toEqual([]);
      expect(ledger.data).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    },
  );
});

describe("tokens", () => {
  let app: TestApp;
  beforeAll(async () => void (app = await TestApp.make(inject("url"))));

  test("one that runs out is replaced before, and nothing is missed", async () => {
    let asked = 0;
    // The first ends in less than the server warns of, so that it is warned at once.
    const getToken = (): string => app.token({ client: "ann", ttlMs: (asked += 1) === 1 ? 11_000 : 3_600_000 });
    const client = connect(app, { getToken, transports: ["websocket"] });
    const ledger = await new Ledger(client.channel("refresh")).begin();
    const before = client.connection.value;
    while (asked < 2) await app.publish("refresh", "tick");
    const { serial } = await app.publish("refresh", "last");
    await ledger.reaches(serial);
    expect(client.connection.value).toBe(before);
    expect(ledger.problems).toEqual([]);
  });

  test("a revoked one is replaced once, and the channel goes on", async () => {
    let asked = 0;
    const client = connect(app, { getToken: () => app.token({ client: "eve", jti: `token-${(asked += 1)}` }) });
    const ledger = await new Ledger(client.channel("revoked")).begin();
    await app.revoke({ token: "token-1" });
    const { serial } = await app.publish("revoked", 1);
    await ledger.reaches(serial);
    expect(ledger.data).toEqual([1]);
    expect(asked).toBe(2);
  });

  test("without a way to get another, a revoked token closes the client with the reason", async () => {
    const client = connect(app, { getToken: undefined, token: app.token({ client: "mal", jti: "only" }) });
    const channel = client.channel("closed");
    await new Ledger(channel).begin();
    await app.revoke({ token: "only" });
    const state = await client.connection.until(({ state }) => state === "closed");
    expect(state).toMatchObject({ error: { code: "revoked" } });
    expect(channel.state.value).toMatchObject({ state: "closed", error: { code: "revoked" } });
    await expect(channel.publish("n", 1)).rejects.toBeInstanceOf(FanfareError);
  });

  test("a key's id follows public channels", async () => {
    await app.rule("open", { public: true });
    for (const transport of ["websocket", "sse", "poll"] as const) {
      const client = connect(app, { getToken: undefined, key: app.key.id, transports: [transport] });
      const ledger = await new Ledger(client.channel(`open:${transport}`)).begin();
      await app.publish(`open:${transport}`, 1);
      expect((await ledger.reaches(1)).data).toEqual([1]);
    }
  });

  test("a getToken that fails is asked again, and says why meanwhile", async () => {
    vi.spyOn(Math, "random").mockReturnValue(0.01);
    let asked = 0;
    const getToken = (): string => {
      if ((asked += 1) < 3) throw new Error("backend away");
      return app.token();
    };
    const client = connect(app, { getToken });
    const states: string[] = [];
    client.connection.observe((state) => states.push(state.state === "disconnected" ? `${state.error?.message}` : state.state));
    client.connect();
    await client.connection.until(({ state }) => state === "connected");
    expect(states).toEqual(["connecting", "No token: backend away", "connecting", "No token: backend away", "connecting", "connected"]);
  });
});

describe("a saved position", () => {
  let app: TestApp;
  beforeAll(async () => void (app = await TestApp.make(inject("url"))));

  test("is waited for, used once, and outlives the client", async () => {
    const { epoch } = await app.publish("saved", 1);
    await app.publish("saved", 2);
    let text = JSON.stringify({ positions: { saved: { epoch, serial: 1 }, other: { epoch, serial: 9 } } });
    const storage = { load: () => Promise.resolve(text), save: (saved: string) => void (text = saved) };
    const client = connect(app, { storage });
    const channel = client.channel("saved");
    const ledger = await new Ledger(channel, { since: undefined }).reaches(2);
    expect(ledger.data).toEqual([2]);
    ledger.subscription.unsubscribe();
    await app.publish("saved", 3);
    const again = await new Ledger(channel).begin();
    await app.publish("saved", 4);
    await again.reaches(4);
    expect(again.data).toEqual([4]);
    client.close();
    client.close();
    const { positions } = JSON.parse(text) as { positions: unknown };
    expect(positions).toEqual({ saved: { epoch, serial: 4 }, other: { epoch, serial: 9 } });
  });
});

describe("aborting", () => {
  let app: TestApp;
  beforeAll(async () => void (app = await TestApp.make(inject("url"))));

  test("ends what it was given to: a client, a subscription, a publish, a history", async () => {
    const ending = new AbortController();
    const client = connect(app, { signal: ending.signal });
    const given = AbortSignal.abort(new Error("enough"));
    const channel = client.channel("abort");
    await expect(channel.publish("n", 1, { signal: given })).rejects.toThrow("enough");
    await expect(channel.history({ signal: given }).next()).rejects.toThrow("enough");
    await expect(channel.presence.enter(1, { signal: given })).rejects.toThrow("enough");
    const one = new AbortController();
    await channel.subscribe(() => undefined, { signal: one.signal }).ready();
    one.abort();
    expect(channel.state.value.state).toBe("closed");
    ending.abort();
    expect(client.connection.value.state).toBe("closed");
  });

  test("a client without credentials is refused with a remedy", () => {
    expect(() => new Fanfare({ url: app.url })).toThrow(expect.objectContaining({ code: "bad_options", remedy: expect.any(String) }));
  });
});
