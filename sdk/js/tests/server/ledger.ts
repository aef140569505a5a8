import type { Channel, ChannelState, Message, SubscribeOptions, Subscription } from "../../src/index.js";

type Range = { from: number; to: number };

/** Everything that a subscription was handed and told, and whether that adds up: each serial once, in order, or told lost. */
export class Ledger {
  readonly messages: Message[] = [];
  readonly lost: { from: number; to?: number | undefined }[] = [];
  readonly problems: string[] = [];
  readonly subscription: Subscription;
  #channel: Channel;
  #covered: Range[] = [];
  #last = 0;
  /** A loss without an end covers everything up to what comes next. */
  #open: number | undefined;
  #waiting: (() => void)[] = [];

  constructor(channel: Channel, options: SubscribeOptions = {}) {
    this.#channel = channel;
    this.#last = options.since?.serial ?? 0;
    channel.state.observe((state) => this.#told(state));
    this.subscription = channel.subscribe((message) => this.#take(message), options);
  }

  #told(state: ChannelState): void {
    if (state.state === "lost") {
      this.lost.push({ from: state.from, to: state.to });
      if (this.#open !== undefined) this.#cover(this.#open, state.from - 1);
      this.#open = undefined;
      if (state.from > this.#last + 1) this.problems.push(`lost from ${state.from} after ${this.#last}`);
      if (state.to === undefined) this.#open = state.from;
      else this.#cover(state.from, state.to);
    }
    this.#look();
  }

  #take(message: Message): void {
    this.messages.push(message);
    const { serial } = message;
    if (serial !== undefined) {
      if (this.#open !== undefined) this.#cover(this.#open, serial - 1);
      this.#open = undefined;
      if (serial !== this.#last + 1) this.problems.push(`${serial} after ${this.#last}`);
      this.#last = Math.max(this.#last, serial);
    }
    this.#look();
  }

  #cover(from: number, to: number): void {
    this.#covered.push({ from, to });
    this.#last = Math.max(this.#last, to);
  }

  #look(): void {
    this.#waiting.splice(0).forEach((look) => look());
  }

  get data(): unknown[] {
    return this.messages.map(({ data }) => data);
  }

  get serials(): (number | undefined)[] {
    return this.messages.map(({ serial }) => serial);
  }

  /** Begins to count here: what came before was not asked for. */
  async begin(): Promise<this> {
    await this.subscription.ready();
    if (this.messages.length === 0) this.#last = this.#channel.position?.serial ?? 0;
    return this;
  }

  /** Waits until the subscription stands at a serial or after it. */
  async reaches(serial: number): Promise<this> {
    while ((this.#channel.position?.serial ?? -1) < serial) await this.changed();
    return this;
  }

  async until(isWanted: () => boolean): Promise<this> {
    while (!isWanted()) await this.changed();
    return this;
  }

  /** Resolves when something comes or is told. */
  changed(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }
}
