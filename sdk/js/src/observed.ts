import { reasonOf } from "./errors.js";

/** Where a call ends early. */
export type Abortable = { signal?: AbortSignal | undefined };

/** A value that changes, and may be watched. */
export class Observed<T> {
  #value: T;
  #listeners = new Set<(value: T) => void>();

  constructor(value: T) {
    this.#value = value;
  }

  get value(): T {
    return this.#value;
  }

  /** Calls on every change from now on; returns what ends that. */
  observe(listener: (value: T) => void, { signal }: Abortable = {}): () => void {
    if (signal?.aborted) return () => undefined;
    const own = (value: T): void => listener(value);
    this.#listeners.add(own);
    const stop = (): void => void this.#listeners.delete(own);
    signal?.addEventListener("abort", stop, { once: true });
    return stop;
  }

  /** Resolves with the first value that is wanted, this one included. */
  until(isWanted: (value: T) => boolean, { signal }: Abortable = {}): Promise<T> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(reasonOf(signal));
      if (isWanted(this.#value)) return resolve(this.#value);
      const stop = this.observe((value) => {
        if (!isWanted(value)) return;
        stop();
        resolve(value);
      });
      signal?.addEventListener("abort", () => (stop(), reject(reasonOf(signal))), { once: true });
    });
  }

  /** Sets the value; for whoever owns it. */
  set(value: T): void {
    this.#value = value;
    for (const listener of [...this.#listeners]) guard(() => listener(value));
  }
}

/** Runs what an app gave us: what it throws is its own, and breaks nothing here. */
export function guard(run: () => void): void {
  try {
    run();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
