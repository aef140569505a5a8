import { expect, test } from "vitest";
import { Bench } from "./bench.js";

function publish(bench: Bench, ticket: number, more: object = {}, channel = "a"): void {
  bench.apply({ type: "publish", ticket, frame: { op: "publish", channel, data: ticket, idempotency_key: `k${ticket}`, ...more } });
}

const settled = (bench: Bench): unknown[] => bench.took("settle").map(({ ticket, error }) => [ticket, error?.code ?? "ok"]);

test("what is published while disconnected is sent in order, one after the other", () => {
  const bench = new Bench();
  for (const ticket of [1, 2, 3]) publish(bench, ticket);
  bench.connect();
  for (const ticket of [1, 2, 3]) {
    const sent = bench.sent("publish");
    expect(sent.map(({ data }) => data)).toEqual([ticket]);
    bench.ok(sent[0]?.id ?? 0, { message: `msg_${ticket}` });
  }
  expect(settled(bench)).toEqual([
    [1, "ok"],
    [2, "ok"],
    [3, "ok"],
  ]);
});

test("what was not answered is sent again under the same key, before what follows", () => {
  const bench = new Bench();
  bench.connect();
  publish(bench, 1);
  publish(bench, 2);
  expect(bench.sent("publish").map(({ idempotency_key }) => idempotency_key)).toEqual(["k1"]);
  bench.lose();
  bench.connect();
  const [again] = bench.sent("publish");
  expect(again?.idempotency_key).toBe("k1");
  bench.ok(again?.id ?? 0, { message: "msg_1" });
  expect(bench.sent("publish").map(({ idempotency_key }) => idempotency_key)).toEqual(["k2"]);
});

test("a passing refusal is tried again and holds the channel back, not others", () => {
  const bench = new Bench();
  bench.connect();
  publish(bench, 1);
  publish(bench, 2);
  publish(bench, 3, {}, "b");
  const sent = bench.sent("publish");
  expect(sent.map(({ data }) => data)).toEqual([1, 3]);
  bench.refuse(sent[0]?.id ?? 0, { code: "rate_limited", retry_after_ms: 2000 });
  bench.advance(1999);
  expect(bench.sent("publish")).toEqual([]);
  bench.advance(1);
  expect(bench.sent("publish").map(({ data }) => data)).toEqual([1]);
});

test("a refusal for good is told, and the next goes on", () => {
  const bench = new Bench();
  bench.connect();
  publish(bench, 1);
  publish(bench, 2);
  bench.refuse(bench.sent("publish")[0]?.id ?? 0, { code: "message_too_large" });
  expect(settled(bench)).toEqual([[1, "message_too_large"]]);
  expect(bench.sent("publish")).toHaveLength(1);
});

test("a full queue says so", () => {
  const bench = new Bench({ queueLimit: 2 });
  for (const ticket of [1, 2, 3]) publish(bench, ticket);
  expect(settled(bench)).toEqual([[3, "queue_full"]]);
  bench.connect();
  bench.ok(bench.sent("publish")[0]?.id ?? 0);
  publish(bench, 4);
  expect(settled(bench)).toEqual([[1, "ok"]]);
});

test("ephemeral messages do not wait for each other, and are never sent twice", () => {
  const bench = new Bench();
  bench.connect();
  for (const ticket of [1, 2]) publish(bench, ticket, { ephemeral: true });
  expect(bench.sent("publish")).toHaveLength(2);
  bench.lose();
  expect(settled(bench)).toEqual([
    [1, "unconfirmed"],
    [2, "unconfirmed"],
  ]);
  bench.connect();
  expect(bench.sent("publish")).toEqual([]);
});

test("what is given up before it was sent is not sent", () => {
  const bench = new Bench();
  publish(bench, 1);
  publish(bench, 2);
  bench.apply({ type: "abort", ticket: 1 });
  bench.connect();
  expect(bench.sent("publish").map(({ data }) => data)).toEqual([2]);
});

test("a question that was not answered is asked again", () => {
  const bench = new Bench();
  bench.apply({ type: "ask", ticket: 1, question: { op: "history", channel: "a" } });
  bench.connect();
  expect(bench.sent("history")).toHaveLength(1);
  bench.lose();
  bench.connect();
  bench.ok(bench.sent("history")[0]?.id ?? 0, { items: [] });
  expect(settled(bench)).toEqual([[1, "ok"]]);
});
