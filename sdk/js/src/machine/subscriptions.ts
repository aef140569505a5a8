import { isPassing, own, WAIT } from "../errors.js";
import type { ChannelName, Gap, Message, Position, Rewind, SubscribeAnswer, WireError } from "../wire.js";
import { backoff } from "./backoff.js";
import type { ChannelState, Desk } from "./desk.js";

const BREACH = own("hole", "A serial was missing on the way.", WAIT);

/** How a subscription begins where there is no position: from the head unless something else is said. */
export type Start = { rewind?: Rewind; since?: Position; presence?: boolean };

type Subscription = {
  channel: ChannelName;
  start: Start;
  presence: boolean;
  /** The last serial that is accounted for; what a resume begins after. */
  position: Position | undefined;
  /** The head when it was attached: complete once that is reached. */
  head: number;
  isAsked: boolean;
  isAttached: boolean;
  keepsHistory: boolean;
  tries: number;
  state: ChannelState<WireError>;
  lost?: { from: number; to?: number | undefined };
  /** After which serial something was missing before. */
  holeAfter?: number;
};

/** Who follows what, and from where on: every serial once and in order, or told lost. */
export class Subscriptions {
  #desk: Desk;
  #all = new Map<ChannelName, Subscription>();
  #onHole: (error: WireError) => void;

  constructor(desk: Desk, onHole: (error: WireError) => void) {
    this.#desk = desk;
    this.#onHole = onHole;
  }

  positions(): Record<ChannelName, Position> {
    const known: Record<ChannelName, Position> = {};
    for (const { channel, position } of this.#all.values()) if (position) known[channel] = { ...position };
    return known;
  }

  add(channel: ChannelName, start: Start): void {
    const there = this.#all.get(channel);
    if (there) {
      if (start.presence && !there.presence) this.#watch(there);
      return;
    }
    const subscription: Subscription = {
      channel,
      start,
      presence: start.presence ?? false,
      position: start.since && { ...start.since },
      head: 0,
      isAsked: false,
      isAttached: false,
      keepsHistory: true,
      tries: 0,
      state: { state: "pending" },
    };
    this.#all.set(channel, subscription);
    this.#say(subscription, { state: "pending" });
    this.#subscribe(subscription);
  }

  remove(channel: ChannelName): void {
    const subscription = this.#all.get(channel);
    if (!subscription) return;
    this.#end(subscription);
    if (subscription.isAsked) this.#desk.ask({ op: "unsubscribe", channel }, () => undefined);
  }

  /** The loss is made good: the state was loaded afresh. */
  accept(channel: ChannelName): void {
    const subscription = this.#all.get(channel);
    if (!subscription) return;
    delete subscription.lost;
    this.#tell(subscription);
  }

  /** The connection is there, or a fresh token is: whatever is not asked is. */
  resumeAll(): void {
    for (const subscription of this.#all.values()) this.#subscribe(subscription);
  }

  /** The connection is gone. */
  detach(): void {
    for (const subscription of this.#all.values()) {
      subscription.isAsked = false;
      subscription.isAttached = false;
      this.#desk.due.delete(`subscribe ${subscription.channel}`);
      this.#tell(subscription);
    }
  }

  close(error?: WireError): void {
    for (const subscription of [...this.#all.values()]) this.#end(subscription, error);
  }

  /** A deadline of one of them passed. */
  tick(name: string): void {
    const subscription = this.#all.get(name.slice("subscribe ".length));
    if (subscription) this.#subscribe(subscription);
  }

  #watch(subscription: Subscription): void {
    subscription.presence = true;
    this.#again(subscription);
  }

  /** Leaves what there is, and resumes where it stands. */
  #again(subscription: Subscription): void {
    const { channel, isAsked } = subscription;
    subscription.isAsked = subscription.isAttached = false;
    if (isAsked && this.#desk.isConnected) this.#desk.ask({ op: "unsubscribe", channel }, () => undefined);
    this.#subscribe(subscription);
  }

  #subscribe(subscription: Subscription): void {
    if (subscription.isAsked || !this.#desk.isConnected) return;
    const { channel, start, position, presence, keepsHistory } = subscription;
    const from = !keepsHistory ? {} : position ? { since: { ...position } } : start.rewind ? { rewind: start.rewind } : {};
    subscription.isAsked = true;
    // An answer to what was asked before a change of mind is not this one's.
    const asked = {};
    this.#asked.set(subscription, asked);
    this.#desk.ask({ op: "subscribe", channel, ...from, ...(presence && { presence }) }, (ok, error) => {
      if (this.#all.get(channel) !== subscription || this.#asked.get(subscription) !== asked) return;
      if (error) this.#refused(subscription, error);
      else if (ok) this.#attached(subscription, ok as SubscribeAnswer["ok"]);
    });
  }

  #asked = new WeakMap<Subscription, object>();

  /** What a stream over HTTP says of a channel when it begins anew. */
  resumed(ok: SubscribeAnswer["ok"]): void {
    const subscription = this.#all.get(ok.channel);
    if (subscription?.isAsked) this.#attached(subscription, ok);
  }

  #attached(subscription: Subscription, ok: SubscribeAnswer["ok"]): void {
    const before = subscription.position;
    const isSame = before?.epoch === ok.epoch;
    subscription.isAttached = true;
    subscription.tries = 0;
    subscription.head = ok.serial;
    if (!(isSame && ok.resumed)) {
      const serial = ok.serial - ok.backlog;
      if (before && subscription.keepsHistory) {
        // A server that says nothing of the position did not go on from it.
        const { from, to } = ok.lost ?? { from: before.serial + 1, to: serial };
        const end = isSame ? to : undefined;
        if (end === undefined || end > before.serial) this.#lose(subscription, from, end);
      }
      subscription.position = { epoch: ok.epoch, serial };
    }
    this.#tell(subscription);
    this.#desk.emit({ do: "attached", answer: ok });
  }

  #refused(subscription: Subscription, error: WireError): void {
    subscription.isAsked = false;
    if (error.code === "history_off" && subscription.keepsHistory) {
      subscription.keepsHistory = false;
      this.#subscribe(subscription);
    } else if (isPassing(error.code)) {
      this.#later(subscription, error.retry_after_ms);
    } else if (error.code !== "token_expired") {
      // With an expired token it waits for a fresh one, or for the next connection.
      this.#end(subscription, error);
    }
  }

  #later(subscription: Subscription, afterMs = 0): void {
    const wait = Math.max(afterMs, backoff(subscription.tries, this.#desk.random));
    subscription.tries += 1;
    this.#desk.due.set(`subscribe ${subscription.channel}`, this.#desk.now + wait);
  }

  #end(subscription: Subscription, error?: WireError): void {
    this.#all.delete(subscription.channel);
    this.#desk.due.delete(`subscribe ${subscription.channel}`);
    this.#desk.emit({ do: "channel", channel: subscription.channel, state: { state: "closed", error } });
  }

  /** The server ended it. */
  unsubscribed(channel: ChannelName, error: WireError): void {
    const subscription = this.#all.get(channel);
    if (!subscription?.isAsked) return;
    subscription.isAsked = subscription.isAttached = false;
    if (error.code === "epoch_changed" || isPassing(error.code)) {
      this.#later(subscription);
    } else if (subscription.presence && error.code === "forbidden") {
      // Perhaps it is only presence that may not be watched any more; if not, the answer says so.
      subscription.presence = false;
      this.#subscribe(subscription);
    } else {
      return this.#end(subscription, error);
    }
    this.#tell(subscription);
  }

  isAttached(channel: ChannelName): boolean {
    return this.#all.get(channel)?.isAttached ?? false;
  }

  message(message: Message): void {
    const subscription = this.#all.get(message.channel);
    if (!subscription?.isAttached) return;
    if (message.serial === undefined) return this.#desk.emit({ do: "message", message });
    if (!this.#take(subscription, message.serial)) return;
    this.#desk.emit({ do: "message", message });
    this.#tell(subscription);
  }

  skip(channel: ChannelName, serial: number): void {
    const subscription = this.#all.get(channel);
    if (subscription?.isAttached && this.#take(subscription, serial)) this.#tell(subscription);
  }

  gap({ channel, from, to }: Gap): void {
    const subscription = this.#all.get(channel);
    const position = subscription?.position;
    if (!subscription?.isAttached || !position || to <= position.serial) return;
    if (!this.#follows(subscription, from)) return;
    position.serial = to;
    this.#lose(subscription, from, to);
    this.#tell(subscription);
  }

  /** Accounts for a serial; whether it is new. */
  #take(subscription: Subscription, serial: number): boolean {
    const position = subscription.position;
    if (!position || serial <= position.serial || !this.#follows(subscription, serial)) return false;
    position.serial = serial;
    delete subscription.holeAfter;
    return true;
  }

  /** Whether nothing is missing before a serial. What is missing is fetched by resuming once; what is missing again is lost. */
  #follows(subscription: Subscription, serial: number): boolean {
    const position = subscription.position;
    if (!position || serial <= position.serial + 1) return true;
    if (subscription.holeAfter === position.serial) {
      this.#lose(subscription, position.serial + 1, serial - 1);
      return true;
    }
    subscription.holeAfter = position.serial;
    subscription.isAttached = false;
    this.#onHole(BREACH);
    return false;
  }

  #lose(subscription: Subscription, from: number, to?: number): void {
    subscription.lost = { from, to };
    this.#say(subscription, { state: "lost", ...subscription.lost });
  }

  /** Tells how a subscription is, if that has changed. */
  #tell(subscription: Subscription): void {
    const { isAttached, position, head, lost } = subscription;
    const isThere = isAttached && (position?.serial ?? 0) >= head;
    if (lost) {
      if (subscription.state.state !== "lost") this.#say(subscription, { state: "lost", ...lost });
    } else {
      const state = isThere ? "complete" : "pending";
      if (subscription.state.state !== state) this.#say(subscription, { state });
    }
  }

  #say(subscription: Subscription, state: ChannelState<WireError>): void {
    subscription.state = state;
    this.#desk.emit({ do: "channel", channel: subscription.channel, state });
  }
}
