import { describe, expect, test } from "vitest";
import { Bench, LIMITS } from "./bench.js";

const refusal = (code: string, retry_after_ms?: number) => ({ code, message: "x", retry_after_ms });

describe("coming back", () => {
  test("nothing happens before the first use", () => {
    const bench = new Bench();
    expect(bench.state).toEqual({ state: "disconnected" });
    expect(bench.machine.wakeAt).toBeUndefined();
  });

  test("the pause is full jitter that grows to 20 s", () => {
    const bench = new Bench({ transports: ["websocket"] });
    bench.chance = 1;
    bench.apply({ type: "start" });
    const pauses = [];
    for (let n = 0; n < 8; n += 1) {
      bench.lose();
      pauses.push(bench.retryInMs);
      bench.advance(bench.retryInMs);
      expect(bench.state.state).toBe("connecting");
    }
    expect(pauses).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000]);
    bench.chance = 0;
    bench.lose();
    expect(bench.retryInMs).toBe(0);
  });

  test("10 s of life let the pauses begin anew, less does not", () => {
    const bench = new Bench();
    bench.chance = 1;
    bench.connect();
    bench.advance(9999);
    bench.lose();
    expect(bench.retryInMs).toBe(500);
    bench.connect();
    bench.advance(9999);
    bench.lose();
    expect(bench.retryInMs).toBe(1000);
    bench.connect();
    bench.advance(10_000);
    bench.lose();
    expect(bench.retryInMs).toBe(500);
  });

  test.each([4000, 4001, 4020, 4030, 4099])("close code %i is final", (code) => {
    const bench = new Bench({ credentials: { canFetch: true } });
    bench.connect();
    bench.lose(code, refusal("app_disabled"));
    expect(bench.state).toMatchObject({ state: "closed", error: { code: "app_disabled" } });
    expect(bench.machine.wakeAt).toBeUndefined();
    bench.apply({ type: "online" });
    bench.apply({ type: "start" });
    expect(bench.state.state).toBe("closed");
  });

  test.each([4010, 4011, 4012, 4013])("after close code %i a fresh token is tried once", (code) => {
    const bench = new Bench({ credentials: { canFetch: true } });
    bench.connect();
    bench.lose(code, refusal("revoked"));
    bench.advance(bench.retryInMs);
    expect(bench.took("fetchToken")).toHaveLength(1);
    bench.apply({ type: "token", token: "fresh" });
    bench.apply({ type: "opened" });
    expect(bench.sent("connect")[0]?.token).toBe("fresh");
    bench.lose(code, refusal("revoked"));
    expect(bench.state.state).toBe("closed");
  });

  test("without a way to get a fresh token, a revoked one is final", () => {
    const bench = new Bench();
    bench.connect();
    bench.lose(4013, refusal("revoked"));
    expect(bench.state.state).toBe("closed");
  });

  test("41xx comes back after a pause, with a fresh token first", () => {
    const bench = new Bench({ credentials: { canFetch: true } });
    bench.connect();
    bench.lose(4110, refusal("token_expired"));
    expect(bench.retryInMs).toBe(250);
    bench.advance(250);
    expect(bench.took("fetchToken")).toHaveLength(1);
    expect(bench.took("open")).toHaveLength(1);
    bench.apply({ type: "token", token: "fresh" });
    expect(bench.took("open")).toEqual([{ do: "open", transport: "websocket" }]);
  });

  test("42xx comes back at once, but not twice in a row", () => {
    const bench = new Bench();
    bench.connect();
    bench.lose(4202, refusal("disconnected"));
    expect(bench.retryInMs).toBe(0);
    bench.connect();
    bench.lose(4202, refusal("disconnected"));
    expect(bench.retryInMs).toBeGreaterThan(0);
  });

  test("what the server says to wait is waited", () => {
    const bench = new Bench();
    bench.connect();
    bench.lose(4120, refusal("connection_limit", 7000));
    expect(bench.retryInMs).toBe(7000);
  });

  test("a `reconnect` is obeyed at its time, and resumes", () => {
    const bench = new Bench();
    bench.connect();
    bench.subscribe("a", { serial: 3 });
    bench.apply({ type: "frame", frame: { op: "reconnect", after_ms: 4000, reason: "draining" } });
    bench.advance(3999);
    expect(bench.state.state).toBe("connected");
    bench.message(4);
    bench.advance(1);
    expect(bench.took("close")).toHaveLength(1);
    bench.connect();
    expect(bench.sent("subscribe")[0]?.since).toEqual({ epoch: "e", serial: 4 });
  });

  test("a connection on which nothing comes for `ping_ms` and 10 s is dead", () => {
    const bench = new Bench();
    bench.connect({ ping_ms: 5000 });
    bench.advance(14_999);
    bench.apply({ type: "frame", frame: { op: "ping" } });
    expect(bench.sent("pong")).toEqual([{ op: "pong" }]);
    bench.advance(14_999);
    expect(bench.state.state).toBe("connected");
    bench.advance(1);
    expect(bench.state).toMatchObject({ state: "disconnected", error: { code: "timeout" } });
  });

  test("a connection that does not get through in 10 s is given up", () => {
    const bench = new Bench();
    bench.apply({ type: "start" });
    bench.apply({ type: "opened" });
    bench.advance(10_000);
    expect(bench.state).toMatchObject({ state: "disconnected", error: { code: "timeout" } });
  });

  test("frames leave no faster than the server allows", () => {
    const bench = new Bench();
    bench.connect({ limits: { ...LIMITS, requests_per_s: 10 } });
    for (let n = 0; n < 25; n += 1) bench.apply({ type: "subscribe", channel: `c${n}`, start: {} });
    expect(bench.sent("subscribe")).toHaveLength(10);
    bench.advance(1000);
    expect(bench.sent("subscribe")).toHaveLength(10);
    bench.advance(500);
    expect(bench.sent("subscribe")).toHaveLength(5);
  });
});

describe("tokens", () => {
  test("one that runs out is replaced without a break", () => {
    const bench = new Bench({ credentials: { canFetch: true } });
    bench.connect();
    bench.apply({ type: "frame", frame: { op: "token_expiring", in_ms: 60_000 } });
    expect(bench.took("fetchToken")).toHaveLength(1);
    bench.apply({ type: "token", token: "next" });
    const [token] = bench.sent("token");
    expect(token?.token).toBe("next");
    bench.ok(token?.id ?? 0, { token_ttl_ms: 1 });
    expect(bench.state.state).toBe("connected");
  });

  test("a request that an expired token refuses asks for a fresh one, and waits for it", () => {
    const bench = new Bench({ credentials: { canFetch: true } });
    bench.connect();
    bench.apply({ type: "publish", ticket: 1, frame: { op: "publish", channel: "a", data: 1 } });
    bench.apply({ type: "subscribe", channel: "b", start: {} });
    bench.refuse(bench.sent("publish")[0]?.id ?? 0, { code: "token_expired" });
    bench.refuse(bench.sent("subscribe")[0]?.id ?? 0, { code: "token_expired" });
    expect(bench.took("fetchToken")).toHaveLength(1);
    bench.apply({ type: "token", token: "next" });
    expect(bench.sent("publish")).toHaveLength(0);
    bench.ok(bench.sent("token")[0]?.id ?? 0);
    expect(bench.sent("publish")).toHaveLength(1);
    expect(bench.sent("subscribe")).toHaveLength(1);
  });

  test("while none is to be had, it is tried again and again", () => {
    const bench = new Bench({ credentials: { canFetch: true } });
    bench.apply({ type: "start" });
    bench.apply({ type: "noToken", error: refusal("no_token") });
    expect(bench.state).toMatchObject({ state: "disconnected", error: { code: "no_token" } });
    bench.advance(bench.retryInMs);
    bench.advance(30_000);
    expect(bench.state).toMatchObject({ state: "disconnected", error: { code: "no_token" } });
    bench.connect();
    expect(bench.state.state).toBe("connected");
  });
});

describe("offline and asleep", () => {
  test("while offline nothing is tried, and back online it is at once", () => {
    const bench = new Bench();
    bench.connect();
    bench.lose();
    bench.apply({ type: "offline" });
    expect(bench.state).toEqual({ state: "disconnected", error: expect.objectContaining({ code: "connection_lost" }) });
    bench.advance(3_600_000);
    expect(bench.took("open")).toHaveLength(1);
    bench.apply({ type: "online" });
    expect(bench.took("open")).toHaveLength(1);
    expect(bench.state.state).toBe("connecting");
  });

  test("what is lost while offline plans no try", () => {
    const bench = new Bench();
    bench.connect();
    bench.apply({ type: "offline" });
    expect(bench.state.state).toBe("connected");
    bench.lose();
    expect(bench.state).toMatchObject({ state: "disconnected", retryAt: undefined });
    expect(bench.machine.wakeAt).toBeUndefined();
  });

  test("a page that is seen again connects at once", () => {
    const bench = new Bench();
    bench.connect();
    bench.chance = 1;
    bench.lose();
    bench.apply({ type: "woke" });
    expect(bench.state.state).toBe("connecting");
  });

  test("after 10 minutes of frozen timers it reconnects at once, though no loss was told", () => {
    const bench = new Bench({ credentials: { canFetch: true } });
    bench.connect();
    bench.subscribe("a", { serial: 7 });
    bench.freeze(600_000);
    expect(bench.state.state).toBe("connecting");
    bench.connect();
    expect(bench.sent("subscribe")[0]?.since).toEqual({ epoch: "e", serial: 7 });
  });

  test("a connection that was silent for a while is asked for a sign of life on waking", () => {
    const bench = new Bench();
    bench.connect();
    bench.advance(6000);
    bench.apply({ type: "woke" });
    const [probe] = bench.sent("unsubscribe");
    bench.refuse(probe?.id ?? 0, { code: "not_subscribed" });
    bench.advance(5000);
    expect(bench.state.state).toBe("connected");
    bench.apply({ type: "woke" });
    expect(bench.sent("unsubscribe")).toHaveLength(1);
    bench.advance(2000);
    expect(bench.state.state).toBe("connecting");
  });
});

describe("transports", () => {
  const tried = (bench: Bench): string[] => bench.took("open").map(({ transport }) => transport);

  test("the first that works is taken, and kept", () => {
    const bench = new Bench();
    bench.apply({ type: "start" });
    bench.lose();
    bench.advance(bench.retryInMs);
    expect(tried(bench)).toEqual(["websocket", "sse"]);
    bench.lose(1006);
    bench.advance(bench.retryInMs);
    expect(tried(bench)).toEqual(["poll"]);
    bench.connect();
    expect(bench.state).toMatchObject({ state: "connected", transport: "poll" });
    bench.lose();
    bench.advance(bench.retryInMs);
    expect(tried(bench)).toEqual(["poll"]);
  });

  test("one that worked before is not given up for a server that is away", () => {
    const bench = new Bench();
    bench.connect();
    bench.lose();
    for (let n = 0; n < 2; n += 1) {
      bench.advance(bench.retryInMs);
      bench.lose();
    }
    expect(tried(bench)).toEqual(["websocket", "websocket", "websocket"]);
    bench.advance(bench.retryInMs);
    bench.lose();
    bench.advance(bench.retryInMs);
    bench.apply({ type: "closed", code: 1006, isUnreachable: true });
    bench.advance(bench.retryInMs);
    expect(tried(bench)).toEqual(["websocket", "sse", "websocket"]);
  });

  test("a refusal of the server's is no reason to try another transport", () => {
    const bench = new Bench();
    bench.apply({ type: "start" });
    bench.lose(4100, refusal("unavailable"));
    bench.advance(bench.retryInMs);
    expect(tried(bench)).toEqual(["websocket", "websocket"]);
  });

  test("the one that is remembered is tried first, and a better one after a while", () => {
    const bench = new Bench({ remembered: "sse" });
    bench.connect();
    expect(tried(bench)).toEqual(["sse"]);
    bench.apply({ type: "frame", frame: { op: "ping" } });
    for (let n = 0; n < 2; n += 1) {
      bench.advance(10_000);
      bench.apply({ type: "works" });
    }
    bench.advance(10_000);
    expect(tried(bench)).toEqual(["websocket"]);
    bench.lose();
    bench.advance(bench.retryInMs);
    expect(tried(bench)).toEqual(["sse"]);
    bench.connect();
    bench.advance(20_000);
    bench.apply({ type: "works" });
    bench.advance(30_000);
    bench.apply({ type: "works" });
    bench.advance(10_000);
    expect(tried(bench)).toEqual(["websocket"]);
    bench.connect();
    expect(bench.state).toMatchObject({ transport: "websocket" });
  });
});

test("a machine that is stopped settles everything, and stays so", () => {
  const bench = new Bench();
  bench.connect();
  bench.subscribe("a");
  bench.apply({ type: "publish", ticket: 1, frame: { op: "publish", channel: "a", data: 1 } });
  bench.apply({ type: "ask", ticket: 2, question: { op: "history", channel: "a" } });
  bench.took("channel");
  bench.apply({ type: "stop" });
  expect(bench.state).toEqual({ state: "closed" });
  expect(bench.channelStates()).toMatchObject([{ state: "closed" }]);
  expect(bench.took("settle").map(({ ticket, error }) => [ticket, error?.code])).toEqual([
    [1, "closed"],
    [2, "closed"],
  ]);
  bench.apply({ type: "publish", ticket: 3, frame: { op: "publish", channel: "a", data: 1 } });
  bench.apply({ type: "subscribe", channel: "b", start: {} });
  expect(bench.took("settle")).toHaveLength(1);
  expect(bench.channelStates()).toMatchObject([{ state: "closed", error: { code: "closed" } }]);
  expect(bench.machine.wakeAt).toBeUndefined();
});
