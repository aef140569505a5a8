import { isAnswer, type Incoming } from "../codec.js";
import { CLOSED, LOST, own, SILENT } from "../errors.js";
import type { ChannelName, ConnectAnswer, Position, Publish, Request, WireError } from "../wire.js";
import { backoff, SECOND } from "./backoff.js";
import type { Answered, ConnectionState, Desk, Effect, Question } from "./desk.js";
import { Publishes } from "./publishes.js";
import { type Start, Subscriptions } from "./subscriptions.js";
import { Choice, TRANSPORTS, type TransportName } from "./transports.js";

const LIFE_UNTIL_CALM = 10 * SECOND;
const PONG_WITHIN = 10 * SECOND;
const CONNECT_WITHIN = 10 * SECOND;
const TOKEN_WITHIN = 30 * SECOND;
/** A timer that fires so late was frozen: the machine slept. */
const SLEPT = 5 * SECOND;
/** After waking, a connection that was silent for so long is asked for a sign of life, and given up without one. */
const PROBE_AFTER = 2 * SECOND;
const PROBE_WITHIN = 2 * SECOND;

const NO_TOKEN = own("no_token", "`getToken` did not answer in time.", "Look at what `getToken` waits for.");

/** What happens to the machine. */
export type Happening =
  | { type: "start" | "stop" | "tick" | "online" | "offline" | "woke" | "opened" | "works" }
  | { type: "token"; token: string }
  | { type: "noToken"; error: WireError }
  | { type: "frame"; frame: Incoming }
  | { type: "closed"; code: number; error?: WireError; isUnreachable?: boolean }
  | { type: "subscribe"; channel: ChannelName; start: Start }
  | { type: "unsubscribe" | "accept"; channel: ChannelName }
  | { type: "publish"; ticket: number; frame: Omit<Publish, "id"> }
  | { type: "ask"; ticket: number; question: Question }
  | { type: "abort"; ticket: number };

export type ConnectionOptions = {
  /** What says who connects. `canFetch`: a fresh token is to be had at any time. */
  credentials: { token?: string; key?: string; app?: string; canFetch?: boolean };
  client: string;
  queueLimit: number;
  transports?: readonly TransportName[];
  /** The transport that worked the last time. */
  remembered?: string;
  random?: () => number;
};

/** A connection that comes back, as a plain state machine: time and happenings come in, effects come out; it knows no socket and no timer. */
export class Connection implements Desk {
  now = 0;
  readonly random: () => number;
  readonly due = new Map<string, number>();
  readonly subscriptions: Subscriptions;
  #state: ConnectionState<WireError> = { state: "disconnected" };
  #publishes: Publishes;
  #options: ConnectionOptions;
  #choice: Choice;
  #token: string | undefined;
  #effects: Effect[] = [];
  #asked = new Map<number, Answered>();
  /** Requests of the caller that wait for their answer; asked again after a loss. */
  #questions = new Map<number, Question>();
  #lastId = 0;
  #tries = 0;
  #pingMs = 0;
  #heardAt = 0;
  /** Whether the transport of this try is known to work. */
  #gotThrough = false;
  #triedFresh = false;
  #isOffline = false;
  #isStarted = false;
  #isFetching = false;
  #trouble: WireError | undefined;
  /** Frames that wait for the pace that the server allows. */
  #outgoing: Request[] = [];
  #pace = { perSecond: 100, left: 100, at: 0 };

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#token = options.credentials.token;
    this.#choice = new Choice(options.transports ?? TRANSPORTS, options.remembered);
    this.random = options.random ?? Math.random;
    this.subscriptions = new Subscriptions(this, (error) => this.#lose(error));
    this.#publishes = new Publishes(this, options.queueLimit);
  }

  get isConnected(): boolean {
    return this.#state.state === "connected";
  }

  emit(effect: Effect): void {
    this.#effects.push(effect);
  }

  get state(): ConnectionState<WireError> {
    return this.#state;
  }

  /** When `tick` is due next. */
  get wakeAt(): number | undefined {
    return this.due.size === 0 ? undefined : Math.min(...this.due.values());
  }

  /** The transport that is used, or tried next. */
  get transport(): TransportName {
    return this.#choice.current;
  }

  positions(): Record<ChannelName, Position> {
    return this.subscriptions.positions();
  }

  apply(happening: Happening, now: number): Effect[] {
    this.now = now;
    this.#effects = [];
    this.#happen(happening);
    return this.#effects;
  }

  #happen(happening: Happening): void {
    switch (happening.type) {
      case "start":
        if (this.#isStarted || this.#state.state === "closed") return;
        this.#isStarted = true;
        return this.#isOffline ? undefined : this.#open();
      case "stop":
        return this.#close(CLOSED);
      case "tick":
        return this.#tick();
      case "offline":
        this.#isOffline = true;
        if (this.due.delete("retry")) this.#say({ state: "disconnected", error: this.#trouble });
        return;
      case "online":
        this.#isOffline = false;
        return this.#wake();
      case "woke":
        return this.#wake();
      case "token":
        return this.#gotToken(happening.token);
      case "noToken":
        return this.#gotNone(happening.error);
      case "opened":
        return this.#opened();
      case "works":
        return this.#works();
      case "frame":
        return this.#read(happening.frame);
      case "closed":
        if (this.#isOpen) this.#ended(happening.code, happening.error, happening.isUnreachable ?? false);
        return;
      case "subscribe":
        if (this.#state.state !== "closed") return this.subscriptions.add(happening.channel, happening.start);
        return this.emit({ do: "channel", channel: happening.channel, state: { state: "closed", error: this.#trouble ?? CLOSED } });
      case "unsubscribe":
        return this.subscriptions.remove(happening.channel);
      case "accept":
        return this.subscriptions.accept(happening.channel);
      case "publish":
        return this.#isClosed(happening.ticket) ? undefined : this.#publishes.add(happening.ticket, happening.frame);
      case "ask":
        if (this.#isClosed(happening.ticket)) return;
        this.#questions.set(happening.ticket, happening.question);
        return this.#put(happening.ticket);
      case "abort":
        this.#questions.delete(happening.ticket);
        return this.#publishes.abort(happening.ticket);
    }
  }

  get #isOpen(): boolean {
    return this.#state.state === "connecting" || this.isConnected;
  }

  /** Whether it is too late for what bears this ticket, which is then told. */
  #isClosed(ticket: number): boolean {
    if (this.#state.state !== "closed") return false;
    this.emit({ do: "settle", ticket, error: this.#trouble ?? CLOSED });
    return true;
  }

  #say(state: ConnectionState<WireError>): void {
    this.#state = state;
    this.emit({ do: "state", state });
  }

  #open(): void {
    this.due.delete("retry");
    this.#gotThrough = false;
    this.#say({ state: "connecting", error: this.#trouble });
    if (this.#options.credentials.canFetch) {
      this.due.set("token", this.now + TOKEN_WITHIN);
      this.#fetch();
    } else {
      this.#dial();
    }
  }

  #dial(): void {
    this.due.set("silence", this.now + CONNECT_WITHIN);
    this.emit({ do: "open", transport: this.#choice.current });
  }

  /** Has a fresh token fetched, if there is a way. */
  #fetch(): void {
    if (!this.#options.credentials.canFetch || this.#isFetching) return;
    this.#isFetching = true;
    this.emit({ do: "fetchToken" });
  }

  #gotNone(error: WireError): void {
    this.#isFetching = false;
    if (this.due.has("token")) this.#lose(error);
    else if (this.isConnected) this.due.set("fetch", this.now + SECOND + backoff(this.#tries, this.random));
  }

  #gotToken(token: string): void {
    this.#isFetching = false;
    this.#token = token;
    this.due.delete("token");
    if (this.#state.state === "connecting" && !this.due.has("silence")) return this.#dial();
    if (!this.isConnected) return;
    this.ask({ op: "token", token }, (_, error) => {
      if (error) return void (this.#trouble = error);
      this.subscriptions.resumeAll();
      this.#publishes.unblock();
    });
  }

  #opened(): void {
    const { key, app } = this.#options.credentials;
    this.ask({ op: "connect", token: this.#token, key, app, client: this.#options.client }, (ok, error) => {
      if (error) this.#trouble = error;
      else if (ok) this.#connected(ok as ConnectAnswer["ok"]);
    });
  }

  #connected({ connection, client, ping_ms, limits }: ConnectAnswer["ok"]): void {
    this.#trouble = undefined;
    this.#pingMs = ping_ms;
    const perSecond = Math.max(1, limits.requests_per_s);
    this.#pace = { perSecond, left: perSecond, at: this.now };
    this.due.set("calm", this.now + LIFE_UNTIL_CALM);
    this.#say({ state: "connected", transport: this.#choice.current, connection, client });
    this.#heard();
    this.subscriptions.resumeAll();
    this.#publishes.flush();
    for (const ticket of this.#questions.keys()) this.#put(ticket);
  }

  /** Asks what a caller wants to know; if the connection is lost over it, the next one asks again. */
  #put(ticket: number): void {
    const question = this.#questions.get(ticket);
    if (!question || !this.isConnected) return;
    this.ask(question, (ok, error) => {
      if (this.#questions.delete(ticket)) this.emit({ do: "settle", ticket, ok, error });
    });
  }

  ask(question: Question, answered: Answered): void {
    this.#lastId += 1;
    this.#asked.set(this.#lastId, answered);
    this.#send({ ...question, id: this.#lastId } as Request);
  }

  /** Sends a frame, no sooner than the server would take it. */
  #send(frame: Request): void {
    this.#outgoing.push(frame);
    this.#pump();
  }

  #pump(): void {
    const pace = this.#pace;
    if (this.isConnected) {
      pace.left = Math.min(pace.perSecond, pace.left + ((this.now - pace.at) * pace.perSecond) / SECOND);
      pace.at = this.now;
    }
    while (this.#outgoing.length > 0) {
      if (this.isConnected && pace.left < 1) {
        this.due.set("pace", this.now + Math.ceil(((1 - pace.left) * SECOND) / pace.perSecond));
        return;
      }
      pace.left -= 1;
      this.emit({ do: "send", frame: this.#outgoing.shift() as Request });
    }
  }

  /** Anything that comes is a sign of life. */
  #heard(): void {
    this.#heardAt = this.now;
    this.due.delete("probe");
    if (this.isConnected) this.due.set("silence", this.now + this.#pingMs + PONG_WITHIN);
  }

  /** The transport carries what the server says. */
  #works(): void {
    if (!this.#isOpen) return;
    this.#heard();
    if (this.isConnected) this.#triedFresh = false;
    if (this.#gotThrough) return;
    this.#gotThrough = true;
    const better = this.#choice.worked();
    if (better !== undefined) this.due.set("better", this.now + better);
  }

  #read(frame: Incoming): void {
    if (!this.#isOpen) return;
    this.#heard();
    if (isAnswer(frame)) {
      const answered = this.#asked.get(frame.id);
      this.#asked.delete(frame.id);
      if (frame.error?.code === "token_expired" && this.isConnected) this.#fetch();
      return answered?.(frame.ok, frame.error);
    }
    switch (frame.op) {
      case "ping":
        return this.emit({ do: "send", frame: { op: "pong" } });
      case "message":
        return this.subscriptions.message(frame);
      case "skip":
        return this.subscriptions.skip(frame.channel, frame.serial);
      case "gap":
        return this.subscriptions.gap(frame);
      case "presence":
        return this.subscriptions.isAttached(frame.channel) ? this.emit({ do: "presence", event: frame }) : undefined;
      case "unsubscribed":
        return this.subscriptions.unsubscribed(frame.channel, frame.error);
      case "resumed":
        return this.subscriptions.resumed(frame.ok);
      case "token_expiring":
        return this.#fetch();
      case "reconnect":
        return void this.due.set("move", this.now + frame.after_ms);
      case "error":
        return void (this.#trouble = frame.error);
    }
  }

  #ended(code: number, error: WireError | undefined, isUnreachable: boolean): void {
    this.#trouble = error ?? this.#trouble ?? LOST;
    if (error && error.code !== "timeout") this.#gotThrough = true;
    if (code >= 4000 && code <= 4099) {
      // Those about the token: `unauthorized`, `bad_key`, `bad_token`, `revoked`.
      const mayTry = this.#options.credentials.canFetch && !this.#triedFresh && code >= 4010 && code <= 4013;
      if (!mayTry) return this.#close(this.#trouble);
      this.#triedFresh = true;
    }
    this.#comeBack(code >= 4200 && code <= 4299, isUnreachable);
  }

  /** Gives the connection up. */
  #lose(error: WireError): void {
    this.#trouble = error;
    this.#comeBack(false);
  }

  /** Comes back after the jitter and no earlier than told; at once only the first time, lest two sides spin. */
  #comeBack(atOnce: boolean, isUnreachable = false): void {
    if (!this.#gotThrough && this.due.has("silence")) this.#choice.failed(isUnreachable);
    const told = this.#trouble?.retry_after_ms ?? 0;
    const wait = atOnce && this.#tries === 0 ? 0 : backoff(this.#tries, this.random);
    this.#tries += 1;
    this.#leave();
    const retryAt = this.#isOffline ? undefined : this.now + Math.max(wait, told);
    if (retryAt !== undefined) this.due.set("retry", retryAt);
    this.#say({ state: "disconnected", retryAt, error: this.#trouble });
  }

  #leave(): void {
    if (this.#isOpen) this.emit({ do: "close" });
    this.#state = { state: "disconnected" };
    for (const name of ["retry", "token", "fetch", "silence", "probe", "calm", "move", "better", "pace"]) this.due.delete(name);
    this.#isFetching = false;
    this.#asked.clear();
    this.#outgoing = [];
    this.subscriptions.detach();
    this.#publishes.detach();
  }

  /** Ends for good. */
  #close(error: WireError): void {
    if (this.#state.state === "closed") return;
    const told = error === CLOSED ? undefined : error;
    this.subscriptions.close(told);
    this.#publishes.close(error);
    this.#leave();
    this.#trouble = error;
    this.#say({ state: "closed", error: told });
    this.due.clear();
    for (const ticket of this.#questions.keys()) this.emit({ do: "settle", ticket, error });
    this.#questions.clear();
  }

  /** The page is seen again, or the network is back: what is dead is found out now, and nothing waits. */
  #wake(): void {
    if (!this.#isStarted || this.#isOffline) return;
    if (this.#state.state === "disconnected") return this.#open();
    if ((this.due.get("silence") ?? Infinity) <= this.now) this.#reopen(SILENT);
    else if (this.isConnected && this.now - this.#heardAt > PROBE_AFTER && !this.due.has("probe")) {
      this.due.set("probe", this.now + PROBE_WITHIN);
      // Any answer does; this one costs the server least.
      this.ask({ op: "unsubscribe", channel: "-" }, () => undefined);
    }
  }

  /** Leaves, and connects again without waiting. */
  #reopen(error: WireError): void {
    this.#lose(error);
    if (!this.#isOffline && this.#state.state === "disconnected") this.#open();
  }

  #tick(): void {
    const late = this.now - (this.wakeAt ?? this.now);
    if (late > SLEPT) this.#wake();
    for (const [name, at] of [...this.due]) {
      if (at > this.now || !this.due.has(name)) continue;
      this.due.delete(name);
      if (name === "retry") this.#open();
      else if (name === "calm") this.#tries = 0;
      else if (name === "silence") this.#silent();
      else if (name === "probe") this.#reopen(SILENT);
      else if (name === "token") this.#lose(NO_TOKEN);
      else if (name === "move") this.#comeBack(true);
      else if (name === "better") this.#probe();
      else if (name === "fetch") this.#fetch();
      else if (name === "pace") this.#pump();
      else if (name === "publish") this.#publishes.flush();
      else this.subscriptions.tick(name);
    }
  }

  #silent(): void {
    // Kept for `#comeBack`, which tells by it that the transport was tried.
    this.due.set("silence", this.now);
    this.#lose(SILENT);
  }

  /** Tries whether a better transport works by now; if not, the next try is with this one. */
  #probe(): void {
    this.#choice.probe();
    this.#tries = 0;
    this.#comeBack(true);
  }
}
