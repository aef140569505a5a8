import { SECOND } from "./backoff.js";

/** What carries a connection. */
export type TransportName = "websocket" | "sse" | "poll";

export const TRANSPORTS: readonly TransportName[] = ["websocket", "sse", "poll"];

/** A transport that worked is given up after so many tries in a row that did not get through. */
const PATIENCE = 3;

/** Which transport the next try takes: the first that works, kept until it does not, and left when a better one may work again. */
export class Choice {
  #order: readonly TransportName[];
  #at: number;
  #failures = 0;
  #worked = new Set<TransportName>();
  #probeWait = 30 * SECOND;
  #probing = false;
  #home: number;

  constructor(order: readonly TransportName[], remembered?: string) {
    this.#order = order;
    this.#at = Math.max(0, order.indexOf(remembered as TransportName));
    this.#home = this.#at;
  }

  get current(): TransportName {
    return this.#order[this.#at] ?? "websocket";
  }

  /** It got through. Says after how long a better one is to be tried, if there is one. */
  worked(): number | undefined {
    this.#probing = false;
    this.#failures = 0;
    this.#home = this.#at;
    this.#worked.add(this.current);
    if (this.#at === 0) return undefined;
    const wait = this.#probeWait;
    this.#probeWait = Math.min(wait * 2, 3600 * SECOND);
    return wait;
  }

  /** The next try is with the best one, once. */
  probe(): void {
    this.#probing = true;
    this.#at = 0;
  }

  /** It did not get through. `isUnreachable`: not even to a server that was reached before. */
  failed(isUnreachable: boolean): void {
    this.#failures += 1;
    if (this.#probing || (isUnreachable && this.#worked.size > 0)) {
      this.#probing = false;
      this.#at = this.#home;
    } else if (!this.#worked.has(this.current) || this.#failures >= PATIENCE) {
      this.#at = (this.#at + 1) % this.#order.length;
      this.#failures = 0;
    }
  }
}
