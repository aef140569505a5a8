import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { Fanfare, type FanfareOptions, type Message } from "../../src/index.node.js";
import { TestApp } from "../server/app.js";

let app: TestApp;
const open: Fanfare[] = [];

beforeAll(async () => void (app = await TestApp.make()));
afterEach(() => open.splice(0).forEach((client) => client.close()));

function connect(options: Partial<FanfareOptions> = {}): Fanfare {
  const client = new Fanfare({ url: app.url, getToken: () => app.token({ client: "ann" }), ...options });
  open.push(client);
  return client;
}

/** Resolves with the first so many messages. */
function first(count: number): { take: (message: Message) => void; all: Promise<Message[]> } {
  const taken: Message[] = [];
  let resolve: (all: Message[]) => void = () => undefined;
  const all = new Promise<Message[]>((done) => (resolve = done));
  return { take: (message) => void (taken.push(message) === count && resolve(taken)), all };
}

describe.each(["websocket", "sse", "poll"] as const)("over %s", (transport) => {
  const channel = (name: string): string => `${transport}:${name}`;

  test("what is published is handed over, in order", async () => {
    const client = connect({ transports: [transport] });
    const { take, all } = first(3);
    const chat = client.channel(channel("order"));
    await chat.subscribe(take).ready();
    for (const text of ["a", "b", "c"]) void chat.publish("said", { text });
    const messages = await all;
    expect(messages.map(({ data }) => data)).toEqual([{ text: "a" }, { text: "b" }, { text: "c" }]);
    expect(messages.map(({ serial }) => serial)).toEqual([1, 2, 3]);
    expect(messages[0]).toMatchObject({ name: "said", client: "ann", channel: channel("order") });
    expect(chat.state.value).toEqual({ state: "complete" });
  });

  test("a loop takes the messages until it is aborted", async () => {
    const client = connect({ transports: [transport] });
    const ending = new AbortController();
    const seen: unknown[] = [];
    await app.publish(channel("loop"), 1);
    await app.publish(channel("loop"), 2);
    for await (const { data } of client.channel(channel("loop")).messages({ rewind: { messages: 10 }, signal: ending.signal })) {
      if (seen.push(data) === 2) ending.abort();
    }
    expect(seen).toEqual([1, 2]);
    expect(client.channel(channel("loop")).state.value).toEqual({ state: "closed" });
  });
});
