import { isPassing, own, UNCONFIRMED } from "../errors.js";
import type { ChannelName, Publish, WireError } from "../wire.js";
import { backoff } from "./backoff.js";
import type { Desk } from "./desk.js";

const FULL = own("queue_full", "Too many messages wait to be published.", "Publish less, or wait; this one was not sent.");

type Waiting = {
  ticket: number;
  frame: Omit<Publish, "id">;
  isSent: boolean;
  tries: number;
  /** No sooner than this it is sent. */
  at: number;
};

/** What waits to be published: in order within a channel, each once, whatever becomes of the connection. */
export class Publishes {
  #desk: Desk;
  #limit: number;
  #channels = new Map<ChannelName, Waiting[]>();
  #count = 0;

  constructor(desk: Desk, limit: number) {
    this.#desk = desk;
    this.#limit = limit;
  }

  add(ticket: number, frame: Omit<Publish, "id">): void {
    if (this.#count >= this.#limit) return this.#desk.emit({ do: "settle", ticket, error: FULL });
    const queue = this.#channels.get(frame.channel) ?? [];
    queue.push({ ticket, frame, isSent: false, tries: 0, at: 0 });
    this.#channels.set(frame.channel, queue);
    this.#count += 1;
    this.#flush(queue);
  }

  /** Nobody waits for it any more. What was sent may have arrived all the same. */
  abort(ticket: number): void {
    for (const queue of this.#channels.values()) {
      const waiting = queue.find((one) => one.ticket === ticket);
      if (waiting) return this.#remove(queue, waiting);
    }
  }

  /** Sends what may be sent: one durable message of a channel at a time, so that none overtakes another when it has to be repeated. */
  flush(): void {
    for (const queue of this.#channels.values()) this.#flush(queue);
  }

  /** A fresh token is there: what an expired one kept back may go. */
  unblock(): void {
    for (const waiting of [...this.#channels.values()].flat()) if (waiting.at === Infinity) waiting.at = 0;
    this.flush();
  }

  /** The connection is gone. What was not answered is sent again under the same key, but for what has none. */
  detach(): void {
    this.#desk.due.delete("publish");
    for (const queue of this.#channels.values()) {
      for (const waiting of [...queue]) {
        waiting.at = 0;
        if (!waiting.isSent) continue;
        waiting.isSent = false;
        if (waiting.frame.ephemeral) this.#settle(queue, waiting, undefined, UNCONFIRMED);
      }
    }
  }

  close(error: WireError): void {
    for (const queue of this.#channels.values()) for (const waiting of [...queue]) this.#settle(queue, waiting, undefined, error);
  }

  #flush(queue: Waiting[]): void {
    if (!this.#desk.isConnected) return;
    for (const waiting of [...queue]) {
      if (waiting.isSent && !waiting.frame.ephemeral) return;
      if (waiting.isSent) continue;
      if (waiting.at > this.#desk.now) {
        const due = this.#desk.due.get("publish") ?? Infinity;
        if (waiting.at < due) this.#desk.due.set("publish", waiting.at);
        return;
      }
      waiting.isSent = true;
      this.#desk.ask(waiting.frame, (ok, error) => this.#answered(queue, waiting, ok, error));
      if (!waiting.frame.ephemeral) return;
    }
  }

  #answered(queue: Waiting[], waiting: Waiting, ok: Record<string, unknown> | undefined, error: WireError | undefined): void {
    if (!queue.includes(waiting)) return this.#flush(queue);
    waiting.isSent = false;
    const mayBeDoubled = waiting.frame.ephemeral && error?.code === UNCONFIRMED.code;
    if (error && !mayBeDoubled && (isPassing(error.code) || error.code === "token_expired")) {
      const wait = Math.max(error.retry_after_ms ?? 0, backoff(waiting.tries, this.#desk.random));
      waiting.tries += 1;
      waiting.at = error.code === "token_expired" ? Infinity : this.#desk.now + wait;
    } else {
      this.#settle(queue, waiting, ok, error);
    }
    this.#flush(queue);
  }

  #settle(queue: Waiting[], waiting: Waiting, ok?: Record<string, unknown>, error?: WireError): void {
    this.#remove(queue, waiting);
    this.#desk.emit({ do: "settle", ticket: waiting.ticket, ok, error });
  }

  #remove(queue: Waiting[], waiting: Waiting): void {
    queue.splice(queue.indexOf(waiting), 1);
    this.#count -= 1;
    if (queue.length === 0) this.#channels.delete(waiting.frame.channel);
  }
}
