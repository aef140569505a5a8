import { randomUUID } from "node:crypto";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { Fanfare, type FanfareOptions, type TransportName } from "../../src/index.node.js";
import { TestApp } from "../server/app.js";
import { Ledger } from "../server/ledger.js";

export type Suite = {
  transport: TransportName;
  url: () => string;
  /** Makes the fault under which the suite runs. */
  trouble?: () => Promise<void>;
  /** Whether messages may be lost by it, if that is said. */
  loses?: boolean;
};

/** What holds over every transport, and under every fault. */
export function suite({ transport, url, trouble = async () => undefined, loses = false }: Suite): void {
  let app: TestApp;
  const open: Fanfare[] = [];

  beforeAll(async () => void (app = await TestApp.make(url())));
  afterEach(() => open.splice(0).forEach((client) => client.close()));

  function client(options: Partial<FanfareOptions> = {}): Fanfare {
    const made = new Fanfare({ url: app.url, getToken: () => app.token({ client: "ann" }), transports: [transport], ...options });
    open.push(made);
    return made;
  }

  const name = (): string => `t:${randomUUID()}`;

  async function publish(channel: string, from: number, to: number): Promise<void> {
    for (let n = from; n <= to; n += 1) await app.publish(channel, n);
  }

  test("a follower gets every message once and in order", async () => {
    const channel = name();
    const ledger = await new Ledger(client().channel(channel)).begin();
    await publish(channel, 1, 4);
    await trouble();
    await publish(channel, 5, 8);
    await ledger.reaches(8);
    await trouble();
    await publish(channel, 9, 12);
    await ledger.reaches(12);
    expect(ledger.problems).toEqual([]);
    if (!loses) expect(ledger.data).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  });

  test("what is published is stored once and in order", async () => {
    const channel = client().channel(name());
    const ledger = await new Ledger(channel).begin();
    const published = [1, 2, 3, 4].map((n) => channel.publish("n", n, { ack: "persisted" }));
    await trouble();
    published.push(...[5, 6, 7, 8].map((n) => channel.publish("n", n)));
    await Promise.all(published);
    await ledger.reaches(8);
    const stored = [];
    for await (const message of channel.history({ after: 0, pageSize: 3 })) stored.push(message.data);
    expect(stored).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(ledger.problems).toEqual([]);
  });

  test("channels come and go, and the others miss nothing", async () => {
    const [one, two, three] = [name(), name(), name()];
    const followed = client();
    const first = await new Ledger(followed.channel(one)).begin();
    await publish(one, 1, 2);
    const second = await new Ledger(followed.channel(two)).begin();
    await trouble();
    await Promise.all([publish(one, 3, 4), publish(two, 1, 2)]);
    const third = await new Ledger(followed.channel(three)).begin();
    second.subscription.unsubscribe();
    expect(followed.channel(two).state.value.state).toBe("closed");
    const before = second.messages.length;
    await Promise.all([publish(one, 5, 6), publish(two, 3, 4), publish(three, 1, 2)]);
    await Promise.all([first.reaches(6), third.reaches(2)]);
    expect([first.problems, third.problems]).toEqual([[], []]);
    expect(second.messages).toHaveLength(before);
    if (!loses)
      expect([first.data, third.data]).toEqual([
        [1, 2, 3, 4, 5, 6],
        [1, 2],
      ]);
  });

  test("a rewind brings the last messages first", async () => {
    const channel = name();
    await publish(channel, 1, 5);
    const ledger = new Ledger(client().channel(channel), { rewind: { messages: 2 }, since: undefined });
    await ledger.reaches(5);
    await trouble();
    await publish(channel, 6, 6);
    await ledger.reaches(6);
    if (!loses) expect(ledger.data).toEqual([4, 5, 6]);
  });

  test("a loop takes the messages until it is aborted", async () => {
    const channel = client().channel(name());
    await publish(channel.name, 1, 2);
    const ending = new AbortController();
    const seen: unknown[] = [];
    for await (const { data } of channel.messages({ rewind: { messages: 10 }, signal: ending.signal })) {
      if (seen.push(data) === 2) ending.abort();
    }
    expect(seen).toEqual([1, 2]);
    expect(channel.state.value.state).toBe("closed");
  });

  test("a saved position is gone on from, over a reload", async () => {
    const channel = name();
    let saved: string | null = null;
    const storage = { load: () => saved, save: (text: string) => void (saved = text) };
    const before = client({ storage });
    const first = await new Ledger(before.channel(channel)).begin();
    await publish(channel, 1, 3);
    await first.reaches(3);
    before.close();
    await publish(channel, 4, 6);
    const after = new Ledger(client({ storage }).channel(channel), {});
    await after.reaches(6);
    if (!loses) expect(after.data).toEqual([4, 5, 6]);
    expect(JSON.parse(saved ?? "")).toMatchObject({ transport, positions: { [channel]: { serial: 3 } } });
  });

  describe("refusals", () => {
    test("a channel without the right is closed with the reason, and others go on", async () => {
      const [allowed, denied] = [name(), `denied:${randomUUID()}`];
      const limited = client({ getToken: () => app.token({ cap: { "t:*": ["subscribe"] } }) });
      const ledger = await new Ledger(limited.channel(allowed)).begin();
      const refused = limited.channel(denied).subscribe(() => undefined);
      await expect(refused.ready()).rejects.toMatchObject({ code: "forbidden", remedy: expect.any(String) });
      await publish(allowed, 1, 2);
      await ledger.reaches(2);
      if (!loses) expect(ledger.data).toEqual([1, 2]);
      await expect(limited.channel(allowed).publish("n", 1)).rejects.toMatchObject({ code: "forbidden" });
    });
  });
}
