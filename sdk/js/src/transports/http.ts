import type { Incoming } from "../codec.js";
import { fromProblem, isPassing, own, SILENT, UNCONFIRMED, WAIT } from "../errors.js";
import type {
  ChannelName,
  Connect,
  History,
  HttpHistoryPage,
  HttpProblem,
  Position,
  Publish,
  Request,
  Subscribe,
  SubscribeAnswer,
  WireError,
} from "../wire.js";
import type { Hear, Link } from "./transport.js";

const UNREACHED = own("connection_lost", "The server was not reached.", WAIT);
const WEBSOCKET_ONLY = own("websocket_only", "Presence is entered by WebSocket only.", "Let WebSockets through to the server.");
const STREAM_LIMIT = own("channel_limit", "A stream has at most 100 channels.", "Let WebSockets through to the server.");
const MOST_CHANNELS = 100;
/** How long a request may take that waits for nothing. */
const ANSWER_WITHIN_MS = 20_000;
/** The least silence after which a stream is dead. */
const SILENCE_MS = 10_000;

export type Fetch = typeof globalThis.fetch;

/** A stream that was refused, or that ended. */
export class Ended extends Error {
  constructor(
    readonly error: WireError | undefined,
    readonly isUnreachable = false,
  ) {
    super(error?.message ?? "The stream ended.");
  }
}

/** Where a channel of the stream goes on, and who waits to hear that it does. */
type Followed = { position?: Position; rewind?: string; presence: boolean; pending?: number };

/** One stream of all channels: brings what comes until it is aborted, and throws when it ends. */
export type Follow = (link: HttpLink, signal: AbortSignal) => Promise<never>;

/** A connection made of requests: one stream, or poll after poll, that brings all channels, and a request for each thing that the client says. It speaks like a socket. */
export class HttpLink implements Link {
  readonly fetch: Fetch;
  readonly url: string;
  readonly hear: Hear;
  #follow: Follow;
  #credentials: Connect | undefined;
  #channels = new Map<ChannelName, Followed>();
  #stream: AbortController | undefined;
  #isRestarting = false;
  #isOver = false;
  #connection: string | undefined;
  #watch: ReturnType<typeof setTimeout> | undefined;
  #requests = new AbortController();

  constructor(url: string, hear: Hear, fetch: Fetch, follow: Follow) {
    this.url = url;
    this.hear = hear;
    this.fetch = fetch;
    this.#follow = follow;
    queueMicrotask(() => this.#isOver || hear.opened());
  }

  send(frame: Request): void {
    switch (frame.op) {
      case "connect":
        this.#credentials = frame;
        return this.answer(frame.id, {
          connection: "",
          app: frame.app ?? "",
          ping_ms: 1e9,
          limits: { message_bytes: 0, channels: MOST_CHANNELS, requests_per_s: 100 },
        });
      case "token":
        if (this.#credentials) this.#credentials.token = frame.token;
        this.#restart();
        return this.answer(frame.id, {});
      case "subscribe":
        return this.#subscribe(frame);
      case "unsubscribe":
        if (this.#channels.delete(frame.channel)) this.#restart();
        return this.answer(frame.id, {});
      case "publish":
        return void this.#ask(frame.id, () => this.#publish(frame), UNCONFIRMED);
      case "history":
        return void this.#ask(frame.id, () => this.#history(frame), UNREACHED);
      case "presence":
        if (frame.action !== "list") return this.#refuse(frame.id, WEBSOCKET_ONLY);
        return void this.#ask(frame.id, () => this.#read(frame.channel, "presence", { next: frame.next }), UNREACHED);
      case "pong":
    }
  }

  close(): void {
    this.#isOver = true;
    clearTimeout(this.#watch);
    this.#stream?.abort();
    this.#requests.abort();
  }

  /** The query of a stream: each channel, and where it goes on. */
  get query(): URLSearchParams {
    const query = new URLSearchParams();
    for (const [channel, { position, rewind, presence }] of this.#channels) {
      query.append("channel", channel);
      if (position) query.append("since", `${position.epoch}:${position.serial}`);
      else if (rewind) query.append("rewind", rewind);
      if (presence) query.set("presence", "true");
    }
    if (this.#credentials?.key) query.set("key", this.#credentials.key);
    return query;
  }

  get headers(): Record<string, string> {
    const { token, app } = this.#credentials ?? {};
    return { ...(token && { authorization: `Bearer ${token}` }), ...(app && { "fanfare-app": app }) };
  }

  /** The stream lives; without a further sign within so many milliseconds and some it is dead. */
  heard(nextWithinMs: number): void {
    this.hear.works();
    this.expect(nextWithinMs + SILENCE_MS);
  }

  expect(withinMs: number): void {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => this.#end(new Ended(SILENT)), withinMs);
  }

  /** The stream has begun: where each channel goes on. */
  begun(positions: SubscribeAnswer["ok"][], connection?: string): void {
    this.#connection = connection;
    for (const ok of positions) {
      const followed = this.#channels.get(ok.channel);
      if (!followed) continue;
      followed.position = { epoch: ok.epoch, serial: Math.max(ok.serial - ok.backlog, 0) };
      const { pending } = followed;
      delete followed.pending;
      if (pending === undefined) this.hear.frame({ op: "resumed", ok });
      else this.hear.frame({ id: pending, ok });
    }
  }

  /** Something came on the stream. */
  came(frame: Incoming): void {
    if (!("op" in frame)) return;
    if (frame.op === "message" && frame.serial !== undefined) this.#advance(frame.channel, frame.serial);
    if (frame.op === "skip") this.#advance(frame.channel, frame.serial);
    if (frame.op === "gap") {
      // One without an end was told by the positions already.
      if ((frame.to as number | undefined) === undefined) return;
      this.#advance(frame.channel, frame.to);
    }
    if (frame.op === "unsubscribed") this.#channels.delete(frame.channel);
    this.hear.frame(frame);
  }

  answer(id: number, ok: object): void {
    this.#later({ id, ok: ok as Record<string, unknown> });
  }

  /** Sends a request and reads its JSON. */
  async json<T>(path: string, init: RequestInit): Promise<T> {
    let answer: Response;
    try {
      answer = await this.fetch(this.url + path, { ...init, headers: { ...this.headers, ...(init.headers as Record<string, string>) } });
    } catch {
      throw new Ended(undefined, true);
    }
    if (!answer.ok) throw await refusal(answer);
    return (await answer.json()) as T;
  }

  #advance(channel: ChannelName, serial: number): void {
    const position = this.#channels.get(channel)?.position;
    if (position && serial > position.serial) position.serial = serial;
  }

  /** Answers come after what asked, as on a socket. */
  #later(frame: Incoming): void {
    queueMicrotask(() => this.#isOver || this.hear.frame(frame));
  }

  #refuse(id: number, error: WireError): void {
    this.#later({ id, error });
  }

  #subscribe({ id, channel, since, rewind, presence }: Subscribe): void {
    if (this.#channels.size >= MOST_CHANNELS) return this.#refuse(id, STREAM_LIMIT);
    this.#channels.set(channel, {
      ...(since && { position: since }),
      ...(rewind && { rewind: rewind.messages === undefined ? `${rewind.seconds}s` : `${rewind.messages}` }),
      presence: presence ?? false,
      pending: id,
    });
    this.#restart();
  }

  /** A stream has its channels for life: others are followed by another one, which goes on where this one is. */
  #restart(): void {
    this.#stream?.abort();
    this.#stream = undefined;
    clearTimeout(this.#watch);
    if (this.#isRestarting) return;
    this.#isRestarting = true;
    queueMicrotask(() => {
      this.#isRestarting = false;
      if (this.#isOver || this.#channels.size === 0) return;
      const stream = (this.#stream = new AbortController());
      this.expect(SILENCE_MS);
      this.#follow(this, stream.signal).catch((cause: unknown) => {
        if (stream.signal.aborted) return;
        this.#end(cause instanceof Ended ? cause : new Ended(undefined));
      });
    });
  }

  #end(ended: Ended): void {
    if (this.#isOver) return;
    const { error } = ended;
    const named = error && this.#channelOf(error);
    if (error && named) return this.#without(named, error);
    this.close();
    this.hear.closed(error ? closeCodeOf(error.code) : 1006, error, ended.isUnreachable);
  }

  /** The channel that a refusal of the whole stream is about. */
  #channelOf({ code, message }: WireError): ChannelName | undefined {
    if (isPassing(code) || code.startsWith("token_")) return undefined;
    return [...this.#channels.keys()].find((name) => message.includes(`\`${name}\``));
  }

  #without(channel: ChannelName, error: WireError): void {
    const pending = this.#channels.get(channel)?.pending;
    this.#channels.delete(channel);
    if (pending === undefined) this.hear.frame({ op: "unsubscribed", channel, error });
    else this.hear.frame({ id: pending, error });
    this.#restart();
  }

  async #ask(id: number, request: () => Promise<object>, otherwise: WireError): Promise<void> {
    try {
      this.answer(id, await request());
    } catch (cause) {
      this.#refuse(id, (cause instanceof Ended && cause.error) || otherwise);
    }
  }

  #publish({ id: _, op: __, channel, ack, echo, ...message }: Publish): Promise<object> {
    const exclude = echo === false && this.#connection ? { exclude: this.#connection } : {};
    return this.#of(channel, `messages?ack=${ack ?? "accepted"}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ ...message, ...exclude }),
    });
  }

  async #history({ id: _, op: __, channel, ...range }: History): Promise<object> {
    const page = await this.#read<HttpHistoryPage>(channel, "messages", range);
    return { ...page, items: page.items.map((item) => ({ channel, ...item })) };
  }

  /** Reads something of a channel. */
  #read<T extends object>(channel: ChannelName, what: string, asked: object): Promise<T> {
    // As text and back: what is undefined is not asked.
    const query = new URLSearchParams(JSON.parse(JSON.stringify(asked)) as Record<string, string>);
    return this.#of(channel, `${what}?${query}`);
  }

  #of<T>(channel: ChannelName, path: string, init?: RequestInit): Promise<T> {
    const signal = AbortSignal.any([this.#requests.signal, AbortSignal.timeout(ANSWER_WITHIN_MS)]);
    return this.json(`/v1/channels/${encodeURIComponent(channel)}/${path}`, { ...init, signal });
  }
}

/** Why a request was refused; without an error where the answer is none of the server's. */
export async function refusal(answer: Response): Promise<Ended> {
  const problem = (await answer.json().catch(() => undefined)) as HttpProblem | undefined;
  return new Ended(typeof problem?.code === "string" ? fromProblem(problem, answer.headers.get("retry-after")) : undefined);
}

/** The close code that a socket would have ended with, as far as its range goes. */
export function closeCodeOf(code: string): number {
  if (code === "token_expired") return 4110;
  if (code === "draining" || code === "disconnected") return 4200;
  if (code === "unauthorized" || code === "bad_key" || code === "bad_token" || code === "revoked") return 4012;
  return isPassing(code) || code === "timeout" ? 4100 : 4030;
}
