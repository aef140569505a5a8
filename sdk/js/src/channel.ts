import { CLOSED, FanfareError, own } from "./errors.js";
import type { Start } from "./machine/subscriptions.js";
import type { ChannelState } from "./machine/desk.js";
import { type Abortable, guard, Observed } from "./observed.js";
import type { Message } from "./payloads.js";
import type { Shell } from "./shell.js";
import type { Message as WireMessage, Position, PublishAnswer } from "./wire.js";

export type { ChannelState };

/** How a subscription begins, where nobody follows the channel yet: from its head, from some way back, or after a position. */
export type SubscribeOptions = Abortable & Omit<Start, "presence">;

export type PublishOptions = Abortable & {
  headers?: Record<string, string>;
  /** Lowest latency, but no serial, no history, and sent once at most. */
  ephemeral?: boolean;
  /** Whether this client's own subscription receives it too; true where it is absent. */
  echo?: boolean;
  /** What the answer waits for: a durable queue, or a place in history. */
  ack?: "accepted" | "persisted";
  /** Under which repeats are one message; made up where it is absent. */
  idempotencyKey?: string;
};

/** What was answered to a publish; with `ack: "persisted"` its place. */
export type Published = PublishAnswer["ok"];

const OVERFULL = own("buffer_full", "The loop is slower than the messages.", "Do less in it, or raise `buffer`.");

/** One handler's subscription. */
export class Subscription {
  readonly #channel: Channel<never>;
  readonly #leave: () => void;

  constructor(channel: Channel<never>, leave: () => void) {
    this.#channel = channel;
    this.#leave = leave;
  }

  /** Whether the handler has seen everything: `pending`, `complete`, `lost`, `closed`. */
  get state(): Observed<ChannelState> {
    return this.#channel.state;
  }

  /** Resolves once everything up to now was handed over, or was lost; rejects if the subscription is refused. */
  async ready(options?: Abortable): Promise<void> {
    const reached = await this.state.until(({ state }) => state !== "pending", options);
    if (reached.state === "closed") throw new FanfareError(reached.error ?? CLOSED);
  }

  unsubscribe(): void {
    this.#leave();
  }
}

/** A channel: follow it, and publish to it. */
export class Channel<Events = { [event: string]: unknown }> implements AsyncIterable<Message<Events>> {
  readonly name: string;
  /** Whether what was handed over is all there is. */
  readonly state = new Observed<ChannelState>({ state: "closed" });
  /** @internal */
  readonly shell: Shell;
  #handlers = new Set<(message: Message<Events>) => void>();
  /** What follows the channel beside handlers: presence. */
  #others = 0;

  /** @internal */
  constructor(shell: Shell, name: string) {
    this.shell = shell;
    this.name = name;
  }

  /** The last message that is accounted for. */
  get position(): Position | undefined {
    return this.shell.position(this.name);
  }

  /** Hands every message to a function, in order and each once, until it is unsubscribed. */
  subscribe(handler: (message: Message<Events>) => void, { signal, ...start }: SubscribeOptions = {}): Subscription {
    const own = (message: Message<Events>): void => handler(message);
    const leave = (): void => {
      if (this.#handlers.delete(own)) this.#leaveIfUnused();
    };
    if (!signal?.aborted) {
      this.#handlers.add(own);
      this.shell.subscribe(this.name, start);
      signal?.addEventListener("abort", leave, { once: true });
    }
    return new Subscription(this as unknown as Channel<never>, leave);
  }

  /** The channel's messages, for `for await`. At most `buffer` wait for the loop; past that it throws `buffer_full`. */
  async *messages({ buffer = 10_000, signal, ...start }: SubscribeOptions & { buffer?: number } = {}): AsyncGenerator<
    Message<Events>,
    void,
    void
  > {
    const waiting: Message<Events>[] = [];
    let failure: FanfareError | undefined;
    let isOver = signal?.aborted ?? false;
    let wake: () => void = () => undefined;
    const end = (error?: FanfareError): void => {
      failure = error;
      isOver = true;
      wake();
    };
    const take = (message: Message<Events>): void => {
      if (waiting.push(message) > buffer) end(new FanfareError(OVERFULL));
      wake();
    };
    const subscription = this.subscribe(take, { ...start, signal });
    const stop = this.state.observe((now) => now.state === "closed" && end(now.error && new FanfareError(now.error)));
    signal?.addEventListener("abort", () => end(), { once: true });
    try {
      for (;;) {
        const next = isOver && (failure || signal?.aborted) ? undefined : waiting.shift();
        if (next) yield next;
        else if (isOver) break;
        else await new Promise<void>((resolve) => (wake = resolve));
      }
      if (failure) throw failure;
    } finally {
      stop();
      subscription.unsubscribe();
    }
  }

  [Symbol.asyncIterator](): AsyncGenerator<Message<Events>, void, void> {
    return this.messages();
  }

  /** Publishes; resolves when the server has it. While disconnected it waits its turn. */
  async publish<Event extends keyof Events & string>(name: Event, data: Events[Event], options: PublishOptions = {}): Promise<Published> {
    const { signal, idempotencyKey, ...rest } = options;
    const key = idempotencyKey ?? newKey();
    // As text and back: what waits is no longer the app's to change.
    const frame = JSON.parse(
      JSON.stringify({ ...rest, op: "publish", channel: this.name, name, data: data ?? null, idempotency_key: key }),
    );
    const answer = await this.shell.put((ticket) => ({ type: "publish", ticket, frame }), signal);
    return answer as Published;
  }

  /** Says that a loss was made good, by loading the state afresh: `lost` is over. */
  acceptLoss(): void {
    this.shell.dispatch({ type: "accept", channel: this.name });
  }

  /** @internal */
  deliver(message: WireMessage): void {
    const { op: _, name = "", ...rest } = message;
    const handed = { ...rest, name } as unknown as Message<Events>;
    for (const handler of [...this.#handlers]) guard(() => handler(handed));
  }

  /** @internal Follows the channel for its presence. */
  watch(): () => void {
    this.#others += 1;
    this.shell.subscribe(this.name, { presence: true });
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      this.#others -= 1;
      this.#leaveIfUnused();
    };
  }

  /** @internal It has ended for all who follow it. */
  ended(state: ChannelState): void {
    this.#handlers.clear();
    this.#others = 0;
    this.state.set(state);
  }

  #leaveIfUnused(): void {
    if (this.#handlers.size + this.#others === 0) this.shell.dispatch({ type: "unsubscribe", channel: this.name });
  }
}

function newKey(): string {
  return crypto.getRandomValues(new Uint32Array(4)).join("-");
}
