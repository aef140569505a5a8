import { Connection, type ConnectionOptions, type Happening } from "../../src/machine/connection.js";
import type { ChannelState, ConnectionState, Effect } from "../../src/machine/desk.js";
import type { Message, Request, SubscribeAnswer, WireError } from "../../src/wire.js";

type Sent<Op extends Request["op"]> = Extract<Request, { op: Op }>;

export const LIMITS = { message_bytes: 65_536, channels: 100, requests_per_s: 1000 };

/** A machine in virtual time: nothing waits, and what it asks of the shell is written down. */
export class Bench {
  now = 1_000_000;
  readonly effects: Effect[] = [];
  readonly machine: Connection;
  /** What the machine is given where it asks for chance. */
  chance = 0.5;

  constructor(options: Partial<ConnectionOptions> = {}) {
    this.machine = new Connection({
      credentials: { token: "t" },
      client: "test",
      queueLimit: 100,
      random: () => this.chance,
      ...options,
    });
  }

  apply(happening: Happening): Effect[] {
    const effects = this.machine.apply(happening, this.now);
    this.effects.push(...effects);
    return effects;
  }

  /** Lets time pass, with every tick at its time. */
  advance(ms: number): void {
    const end = this.now + ms;
    for (let at = this.machine.wakeAt; at !== undefined && at <= end; at = this.machine.wakeAt) {
      this.now = Math.max(this.now, at);
      this.apply({ type: "tick" });
    }
    this.now = end;
  }

  /** Lets time pass while timers are frozen; then the one that was due fires. */
  freeze(ms: number): void {
    this.now += ms;
    if ((this.machine.wakeAt ?? Infinity) <= this.now) this.apply({ type: "tick" });
  }

  get state(): ConnectionState<WireError> {
    return this.machine.state;
  }

  /** How long until the next try. */
  get retryInMs(): number {
    if (this.state.state !== "disconnected" || this.state.retryAt === undefined) throw new Error("no try is planned");
    return this.state.retryAt - this.now;
  }

  /** The requests of that kind that were sent since the last call. */
  sent<Op extends Request["op"]>(op: Op): Sent<Op>[] {
    const found = this.effects.filter((effect) => effect.do === "send" && effect.frame.op === op);
    for (const effect of found) this.effects.splice(this.effects.indexOf(effect), 1);
    return found.map((effect) => (effect as Extract<Effect, { do: "send" }>).frame as Sent<Op>);
  }

  /** The effects of that kind since the last call. */
  took<Do extends Effect["do"]>(name: Do): Extract<Effect, { do: Do }>[] {
    const found = this.effects.filter((effect) => effect.do === name) as Extract<Effect, { do: Do }>[];
    for (const effect of found) this.effects.splice(this.effects.indexOf(effect), 1);
    return found;
  }

  /** The serials that were handed over since the last call. */
  serials(): (number | undefined)[] {
    return this.took("message").map(({ message }) => message.serial);
  }

  channelStates(): ChannelState<WireError>[] {
    return this.took("channel").map(({ state }) => state);
  }

  ok(id: number, ok: object = {}): void {
    this.apply({ type: "works" });
    this.apply({ type: "frame", frame: { id, ok: ok as Record<string, unknown> } });
  }

  refuse(id: number, error: Partial<WireError>): void {
    this.apply({ type: "frame", frame: { id, error: { code: "internal", message: "x", ...error } } });
  }

  /** Gets the machine connected, from whatever it was about to do. */
  connect(more: Partial<{ ping_ms: number; limits: typeof LIMITS }> = {}): void {
    this.apply({ type: "start" });
    if (this.state.state === "disconnected") this.advance(this.retryInMs);
    if (this.took("fetchToken").length > 0) this.apply({ type: "token", token: "fresh" });
    this.apply({ type: "opened" });
    const [connect] = this.sent("connect");
    if (!connect) throw new Error("no `connect` was sent");
    this.ok(connect.id, { connection: "con_1", app: "app_1", ping_ms: 25_000, limits: LIMITS, ...more });
  }

  /** Subscribes to a channel, and answers. */
  subscribe(channel = "a", answer: Partial<SubscribeAnswer["ok"]> = {}): void {
    this.apply({ type: "subscribe", channel, start: {} });
    this.answerSubscribe(channel, answer);
  }

  answerSubscribe(channel = "a", answer: Partial<SubscribeAnswer["ok"]> = {}): void {
    const subscribe = this.sent("subscribe").find((one) => one.channel === channel);
    if (!subscribe) throw new Error("no `subscribe` was sent");
    this.ok(subscribe.id, { channel, epoch: "e", serial: 0, backlog: 0, ...(subscribe.since && { resumed: true }), ...answer });
  }

  message(serial?: number, channel = "a"): void {
    const frame: Message = { op: "message", channel, id: `msg_${serial}`, time: 0, data: serial, ...(serial !== undefined && { serial }) };
    this.apply({ type: "frame", frame });
  }

  lose(code = 1006, error?: WireError): void {
    this.apply({ type: "closed", code, error });
  }
}
