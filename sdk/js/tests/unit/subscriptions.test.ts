import { expect, test } from "vitest";
import { Bench } from "./bench.js";

function connected(): Bench {
  const bench = new Bench();
  bench.connect();
  return bench;
}

function reconnected(bench: Bench): void {
  bench.lose();
  bench.connect();
}

test("a subscription is complete once its backlog is there", () => {
  const bench = connected();
  bench.apply({ type: "subscribe", channel: "a", start: { rewind: { messages: 2 } } });
  expect(bench.channelStates()).toEqual([{ state: "pending" }]);
  bench.answerSubscribe("a", { serial: 9, backlog: 2 });
  bench.message(8);
  expect(bench.channelStates()).toEqual([]);
  bench.message(9);
  expect(bench.channelStates()).toEqual([{ state: "complete" }]);
  expect(bench.serials()).toEqual([8, 9]);
});

test("every subscription resumes after the last serial it has", () => {
  const bench = connected();
  bench.subscribe("a", { serial: 3 });
  bench.subscribe("b");
  bench.message(4);
  reconnected(bench);
  const since = Object.fromEntries(bench.sent("subscribe").map(({ channel, since }) => [channel, since]));
  expect(since).toEqual({ a: { epoch: "e", serial: 4 }, b: { epoch: "e", serial: 0 } });
});

test("doubles are left out, and ephemeral messages are not counted", () => {
  const bench = connected();
  bench.subscribe("a");
  bench.message(1);
  bench.message(1);
  bench.message();
  bench.message(2);
  expect(bench.serials()).toEqual([1, undefined, 2]);
});

test("what was there before a resume and comes again is left out", () => {
  const bench = connected();
  bench.subscribe("a");
  bench.message(1);
  bench.message(2);
  reconnected(bench);
  bench.answerSubscribe("a", { serial: 3, backlog: 1 });
  for (const serial of [1, 2, 3]) bench.message(serial);
  expect(bench.serials()).toEqual([1, 2, 3]);
});

test("skips and gaps move the position, and a gap is lost", () => {
  const bench = connected();
  bench.subscribe("a");
  bench.channelStates();
  bench.apply({ type: "frame", frame: { op: "skip", channel: "a", serial: 1 } });
  bench.apply({ type: "frame", frame: { op: "gap", channel: "a", from: 2, to: 5 } });
  bench.message(6);
  expect(bench.channelStates()).toEqual([{ state: "lost", from: 2, to: 5 }]);
  expect(bench.machine.positions()).toEqual({ a: { epoch: "e", serial: 6 } });
  bench.apply({ type: "accept", channel: "a" });
  expect(bench.channelStates()).toEqual([{ state: "complete" }]);
});

test("what is past retention on a resume is lost with its range", () => {
  const bench = connected();
  bench.subscribe("a");
  bench.message(1);
  reconnected(bench);
  bench.channelStates();
  bench.answerSubscribe("a", { serial: 9, backlog: 2, resumed: false, lost: { from: 2, to: 7 } });
  bench.message(8);
  bench.message(9);
  expect(bench.serials()).toEqual([1, 8, 9]);
  expect(bench.channelStates()).toEqual([{ state: "lost", from: 2, to: 7 }]);
});

test("where a server does not go on from the position, and does not say so, the rest is lost", () => {
  const bench = connected();
  bench.subscribe("a", { serial: 3 });
  reconnected(bench);
  bench.channelStates();
  bench.answerSubscribe("a", { serial: 8, backlog: 0, resumed: undefined });
  expect(bench.channelStates()).toEqual([{ state: "lost", from: 4, to: 8 }]);
  reconnected(bench);
  bench.answerSubscribe("a", { serial: 8, backlog: 0, resumed: undefined });
  bench.apply({ type: "accept", channel: "a" });
  expect(bench.channelStates()).toEqual([{ state: "complete" }]);
});

test("a void epoch is lost without an end, and what follows counts in the new one", () => {
  const bench = connected();
  bench.subscribe("a", { serial: 7 });
  reconnected(bench);
  bench.channelStates();
  bench.answerSubscribe("a", { epoch: "f", serial: 2, resumed: false, lost: { from: 8 } });
  expect(bench.channelStates()).toEqual([{ state: "lost", from: 8, to: undefined }]);
  bench.message(3);
  expect(bench.serials()).toEqual([3]);
  expect(bench.machine.positions()).toEqual({ a: { epoch: "f", serial: 3 } });
});

test("an epoch that changes under a subscription is resumed, and told", () => {
  const bench = connected();
  bench.subscribe("a", { serial: 7 });
  bench.apply({ type: "frame", frame: { op: "unsubscribed", channel: "a", error: { code: "epoch_changed", message: "x" } } });
  bench.advance(500);
  expect(bench.sent("subscribe")[0]?.since).toEqual({ epoch: "e", serial: 7 });
});

test("a hole is fetched by resuming; one that stays is lost", () => {
  const bench = connected();
  bench.subscribe("a");
  bench.message(1);
  bench.message(3);
  expect(bench.state).toMatchObject({ state: "disconnected", error: { code: "hole" } });
  bench.connect();
  bench.answerSubscribe("a", { serial: 3, backlog: 2 });
  bench.message(2);
  bench.message(3);
  bench.message(5);
  bench.connect();
  bench.answerSubscribe("a", { serial: 5, backlog: 2 });
  bench.channelStates();
  bench.message(5);
  expect(bench.channelStates()).toEqual([{ state: "lost", from: 4, to: 4 }]);
  expect(bench.serials()).toEqual([1, 2, 3, 5]);
});

test("a channel without history is followed without a position", () => {
  const bench = connected();
  bench.apply({ type: "subscribe", channel: "a", start: { rewind: { messages: 5 } } });
  bench.refuse(bench.sent("subscribe")[0]?.id ?? 0, { code: "history_off" });
  const [again] = bench.sent("subscribe");
  expect(again).not.toHaveProperty("rewind");
  bench.ok(again?.id ?? 0, { channel: "a", epoch: "e", serial: 0, backlog: 0 });
  bench.channelStates();
  reconnected(bench);
  bench.answerSubscribe("a");
  expect(bench.channelStates()).toEqual([{ state: "pending" }, { state: "complete" }]);
});

test("a right that is missing ends the subscription, a server in trouble is asked again", () => {
  const bench = connected();
  bench.apply({ type: "subscribe", channel: "a", start: {} });
  bench.refuse(bench.sent("subscribe")[0]?.id ?? 0, { code: "unavailable", retry_after_ms: 3000 });
  bench.advance(2999);
  expect(bench.sent("subscribe")).toEqual([]);
  bench.advance(1);
  bench.channelStates();
  bench.refuse(bench.sent("subscribe")[0]?.id ?? 0, { code: "forbidden" });
  expect(bench.channelStates()).toMatchObject([{ state: "closed", error: { code: "forbidden" } }]);
  reconnected(bench);
  expect(bench.sent("subscribe")).toEqual([]);
});

test("watching presence resumes the subscription, and losing that right only ends the watching", () => {
  const bench = connected();
  bench.subscribe("a", { serial: 4 });
  bench.apply({ type: "subscribe", channel: "a", start: { presence: true } });
  expect(bench.sent("unsubscribe")).toHaveLength(1);
  bench.message(5);
  expect(bench.serials()).toEqual([]);
  const [again] = bench.sent("subscribe");
  expect(again).toMatchObject({ presence: true, since: { epoch: "e", serial: 4 } });
  bench.ok(again?.id ?? 0, { channel: "a", epoch: "e", serial: 5, backlog: 1, resumed: true });
  bench.message(5);
  expect(bench.serials()).toEqual([5]);
  bench.apply({ type: "frame", frame: { op: "unsubscribed", channel: "a", error: { code: "forbidden", message: "x" } } });
  expect(bench.sent("subscribe")[0]).not.toHaveProperty("presence");
});

test("an answer that comes after a change of mind is nobody's", () => {
  const bench = connected();
  bench.apply({ type: "subscribe", channel: "a", start: {} });
  const [first] = bench.sent("subscribe");
  bench.apply({ type: "unsubscribe", channel: "a" });
  bench.apply({ type: "subscribe", channel: "a", start: {} });
  bench.channelStates();
  bench.ok(first?.id ?? 0, { channel: "a", epoch: "e", serial: 9, backlog: 0 });
  expect(bench.channelStates()).toEqual([]);
  bench.answerSubscribe("a", { serial: 10 });
  expect(bench.channelStates()).toEqual([{ state: "complete" }]);
});
