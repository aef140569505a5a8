import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { Fanfare, type TransportName } from "../../src/index.node.js";
import { fault, TestApp } from "../server/app.js";
import { FanfareServer } from "../server/fanfare.js";
import { Ledger } from "../server/ledger.js";

const FAULTS = 500;
/** Another run: `SDK_SEED=7 npm test`. */
const SEED = Number(process.env["SDK_SEED"] ?? 1);

/** Numbers in [0, 1), the same for the same seed (mulberry32). */
function chanceOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

let server: FanfareServer;
beforeAll(async () => void (server = await FanfareServer.start()));
afterAll(async () => {
  vi.restoreAllMocks();
  await server.remove();
});

test(`over ${FAULTS} random faults, seed ${SEED}, every message comes once and in order, or is said to be lost`, async () => {
  const chance = chanceOf(SEED);
  const upTo = (most: number): number => 1 + Math.floor(chance() * most);
  const oneOf = <T>(list: readonly T[]): T => list[Math.floor(chance() * list.length)] as T;
  const backoffChance = chanceOf(SEED + 1);
  vi.spyOn(Math, "random").mockImplementation(() => backoffChance() * 0.03);

  const kinds: (() => Record<string, unknown>)[] = [
    () => ({ fault: "drop" }),
    () => ({ fault: "delay", ms: upTo(50), count: upTo(5) }),
    () => ({ fault: "duplicate", count: upTo(10) }),
    () => ({ fault: "stall", ms: upTo(100) }),
    () => ({ fault: "expire" }),
    () => ({ fault: "expire", in_ms: upTo(50) }),
    () => ({
      fault: "refuse",
      count: upTo(3),
      code: oneOf(["internal", "token_expired", "internal", "token_expired", "internal", "token_expired", "unavailable"]),
    }),
    () => ({ fault: "lose_position", count: upTo(2) }),
  ];

  const app = await TestApp.make(server.url);
  const choices: (readonly TransportName[])[] = [["websocket"], ["sse"], ["poll"], ["websocket", "sse", "poll"]];
  const clients = choices.map((transports) => new Fanfare({ url: app.url, getToken: () => app.token({ client: "ann" }), transports }));
  const channels = ["a", "b"];
  const heads: Record<string, number> = { a: 0, b: 0 };
  const ledgers = await Promise.all(
    clients.flatMap((client) => channels.map((name) => new Ledger(client.channel(name)).begin().then((ledger) => ({ name, ledger })))),
  );
  // What clients publish goes into channels of its own, so that it is known what is to be in them.
  const published: Promise<unknown>[] = [];
  const counts = clients.map(() => 0);

  for (let made = 0; made < FAULTS; made += 1) {
    await fault(oneOf(kinds)(), server.ops);
    const channel = oneOf(channels);
    heads[channel] = (await app.publish(channel, made)).serial;
    const by = Math.floor(chance() * clients.length);
    published.push(clients[by]?.channel(`by:${by}`).publish("n", (counts[by] = (counts[by] ?? 0) + 1)) ?? Promise.resolve());
    const { name, ledger } = oneOf(ledgers);
    if (chance() < 0.5) await ledger.reaches(heads[name] ?? 0);
  }

  await fault({ fault: "clear" }, server.ops);
  await Promise.all(published);
  await Promise.all(ledgers.map(({ name, ledger }) => ledger.reaches(heads[name] ?? 0)));
  expect(ledgers.flatMap(({ ledger }) => ledger.problems)).toEqual([]);
  for (const [by, count] of counts.entries()) {
    const stored = [];
    for await (const { data } of (clients[by] as Fanfare).channel(`by:${by}`).history({ after: 0, pageSize: 1000 })) stored.push(data);
    expect(stored, `by client ${by}`).toEqual(Array.from({ length: count }, (_, n) => n + 1));
  }
  const losses = ledgers.map(({ ledger }) => ledger.lost.length);
  const got = ledgers.map(({ ledger }) => ledger.messages.length);
  console.info(`seed ${SEED}: messages ${got.join(" ")}, told losses ${losses.join(" ")} (by client and channel)`);
  for (const client of clients) client.close();
}, 180_000);
