import type { Channel } from "./channel.js";
import { FanfareError, own, reasonOf } from "./errors.js";
import { Connection, type ConnectionOptions, type Happening } from "./machine/connection.js";
import type { ChannelState, ConnectionState, Effect } from "./machine/desk.js";
import type { Start } from "./machine/subscriptions.js";
import type { TransportName } from "./machine/transports.js";
import { guard, Observed } from "./observed.js";
import type { PositionStorage } from "./storage.js";
import type { Dial, Link } from "./transports/transport.js";
import type { ChannelName, Position, PresenceEvent, SubscribeAnswer, WireError } from "./wire.js";

export type ShellOptions = {
  url: string;
  machine: Omit<ConnectionOptions, "transports" | "remembered">;
  dials: Partial<Record<TransportName, Dial>>;
  getToken?: ((options: { signal: AbortSignal }) => Promise<string> | string) | undefined;
  storage?: PositionStorage | undefined;
};

/** How long positions may be ahead of what is saved. */
const SAVE_EVERY_MS = 1000;

type Saved = { transport?: TransportName; positions?: Record<ChannelName, Position> };
type Ticket = { resolve(ok: Record<string, unknown>): void; reject(reason: unknown): void };

/** The same, with the error as an app knows it. */
const withError = <S>(state: { error?: WireError | undefined }): S =>
  (state.error ? { ...state, error: new FanfareError(state.error) } : state) as S;

/** What surrounds the machine: sockets, timers, tokens, storage, and the handlers of the app. */
export class Shell {
  readonly connection = new Observed<ConnectionState>({ state: "disconnected" });
  readonly channels = new Map<ChannelName, Channel<never>>();
  /** Those who want to know of presence, and of a subscription that begins. */
  readonly presence = new Map<ChannelName, (event: PresenceEvent | SubscribeAnswer["ok"]) => void>();
  #options: ShellOptions;
  #machine: Connection;
  #link: Link | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #saving: ReturnType<typeof setTimeout> | undefined;
  #fetching: AbortController | undefined;
  #tickets = new Map<number, Ticket>();
  #lastTicket = 0;
  #happenings: Happening[] = [];
  #isBusy = false;
  #loading: Promise<void> | undefined;
  #saved: Saved = {};
  #stopped = new AbortController();
  #isStarted = false;

  constructor(options: ShellOptions) {
    this.#options = options;
    this.#machine = this.#newMachine();
  }

  #newMachine(): Connection {
    const transports = Object.keys(this.#options.dials) as TransportName[];
    return new Connection({ ...this.#options.machine, transports, remembered: this.#saved.transport });
  }

  /** Begins to connect; only the first call does anything. */
  start(): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    const text = this.#options.storage?.load();
    if (text instanceof Promise) {
      // Until then nothing happens: what does waits.
      this.#loading = text.then(
        (loaded) => this.#begin(loaded),
        () => this.#begin(null),
      );
    } else {
      this.#begin(text);
    }
  }

  #begin(text: string | null | undefined): void {
    this.#loading = undefined;
    try {
      this.#saved = (JSON.parse(text ?? "{}") as Saved | null) ?? {};
    } catch {
      // What cannot be read was not saved by us.
    }
    this.#machine = this.#newMachine();
    this.#listen();
    this.#happenings.unshift({ type: "start" });
    if (globalThis.navigator?.onLine === false) this.#happenings.unshift({ type: "offline" });
    this.#work();
  }

  /** What the browser knows of the network and of whether the page is seen. */
  #listen(): void {
    const { signal } = this.#stopped;
    const on = (target: Partial<EventTarget> | undefined, name: string, run: () => void): void =>
      target?.addEventListener?.(name, run, { signal });
    on(globalThis, "online", () => this.dispatch({ type: "online" }));
    on(globalThis, "offline", () => this.dispatch({ type: "offline" }));
    on(globalThis, "pagehide", () => this.#save());
    const page = globalThis.document as Document | undefined;
    on(page, "visibilitychange", () => (page?.visibilityState === "visible" ? this.dispatch({ type: "woke" }) : this.#save()));
  }

  dispatch(happening: Happening): void {
    this.#happenings.push(happening);
    if (!this.#loading) this.#work();
  }

  /** What happens while something is worked on waits its turn. */
  #work(): void {
    if (this.#isBusy) return;
    this.#isBusy = true;
    for (let next = this.#happenings.shift(); next; next = this.#happenings.shift()) {
      for (const effect of this.#machine.apply(next, Date.now())) this.#run(effect);
    }
    this.#isBusy = false;
    this.#schedule();
  }

  #run(effect: Effect): void {
    switch (effect.do) {
      case "fetchToken":
        return void this.#fetchToken();
      case "open":
        return this.#open(effect.transport);
      case "close":
        this.#link?.close();
        this.#link = undefined;
        this.#fetching?.abort();
        return;
      case "send":
        return this.#link?.send(effect.frame);
      case "state":
        if (effect.state.state === "closed") this.#stop();
        return this.connection.set(withError<ConnectionState>(effect.state as ConnectionState<WireError> & { state: "closed" }));
      case "message":
        this.channels.get(effect.message.channel)?.deliver(effect.message as never);
        return this.#saveSoon();
      case "presence":
        return this.presence.get(effect.event.channel)?.(effect.event);
      case "attached":
        this.presence.get(effect.answer.channel)?.(effect.answer);
        return this.#saveSoon();
      case "channel":
        return this.#tell(effect.channel, effect.state);
      case "settle":
        return this.#settle(effect);
    }
  }

  #tell(name: ChannelName, told: ChannelState<WireError>): void {
    const channel = this.channels.get(name);
    const state = withError<ChannelState>(told as ChannelState<WireError> & { state: "closed" });
    if (state.state === "closed") channel?.ended(state);
    else channel?.state.set(state);
  }

  #open(name: TransportName): void {
    const isThis = (): boolean => link === undefined || link === this.#link;
    let link: Link | undefined;
    const hear = (happening: Happening): void => (isThis() ? this.dispatch(happening) : undefined);
    const dial = this.#options.dials[name];
    if (!dial) return;
    try {
      link = dial(this.#options.url, {
        opened: () => hear({ type: "opened" }),
        works: () => hear({ type: "works" }),
        frame: (frame) => hear({ type: "frame", frame }),
        closed: (code, error, isUnreachable) => hear({ type: "closed", code, error, isUnreachable }),
      });
      this.#link = link;
    } catch {
      // A browser that will not open such an address; another transport may.
      this.dispatch({ type: "closed", code: 1006 });
    }
  }

  async #fetchToken(): Promise<void> {
    this.#fetching?.abort();
    const fetching = (this.#fetching = new AbortController());
    const { signal } = fetching;
    try {
      const token = await this.#options.getToken?.({ signal });
      if (signal.aborted) return;
      if (!token) throw "it is empty";
      this.dispatch({ type: "token", token });
    } catch (cause) {
      if (signal.aborted) return;
      const message = cause instanceof Error ? cause.message : String(cause);
      this.dispatch({
        type: "noToken",
        error: own("no_token", `No token: ${message}`, "Look at what `getToken` does; it is asked again."),
      });
    }
  }

  #schedule(): void {
    clearTimeout(this.#timer);
    const { wakeAt } = this.#machine;
    if (wakeAt === undefined || this.#loading) return;
    this.#timer = setTimeout(() => this.dispatch({ type: "tick" }), Math.min(Math.max(wakeAt - Date.now(), 0), 2 ** 31 - 1));
  }

  subscribe(channel: ChannelName, start: Start): void {
    this.start();
    const followed = this.channels.get(channel);
    if (followed?.state.value.state === "closed") followed.state.set({ state: "pending" });
    // As a function of what was loaded, which may not be there yet.
    const add = (): void => {
      const since = start.since ?? (start.rewind ? undefined : this.#saved.positions?.[channel]);
      delete this.#saved.positions?.[channel];
      this.dispatch({ type: "subscribe", channel, start: { ...start, since } });
    };
    if (this.#loading) void this.#loading.then(add);
    else add();
  }

  /** Where a channel stands. */
  position(channel: ChannelName): Position | undefined {
    return this.#machine.positions()[channel];
  }

  /** Asks something that is settled once, and may be given up. */
  put(make: (ticket: number) => Happening, signal?: AbortSignal): Promise<Record<string, unknown>> {
    this.start();
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(reasonOf(signal));
      const ticket = (this.#lastTicket += 1);
      const abort = (): void => {
        if (!signal || !this.#tickets.delete(ticket)) return;
        this.dispatch({ type: "abort", ticket });
        reject(reasonOf(signal));
      };
      const done = (): void => signal?.removeEventListener("abort", abort);
      this.#tickets.set(ticket, { resolve: (ok) => (done(), resolve(ok)), reject: (reason) => (done(), reject(reason)) });
      signal?.addEventListener("abort", abort, { once: true });
      this.dispatch(make(ticket));
    });
  }

  #settle({ ticket, ok, error }: Extract<Effect, { do: "settle" }>): void {
    const waiting = this.#tickets.get(ticket);
    this.#tickets.delete(ticket);
    if (error) waiting?.reject(new FanfareError(error));
    else waiting?.resolve(ok ?? {});
  }

  #saveSoon(): void {
    if (!this.#options.storage) return;
    this.#saving ??= setTimeout(() => this.#save(), SAVE_EVERY_MS);
  }

  #save(): void {
    clearTimeout(this.#saving);
    this.#saving = undefined;
    if (!this.#options.storage || this.#loading || !this.#isStarted || this.#stopped.signal.aborted) return;
    // Until a channel is followed again it stands where it was saved.
    const positions = { ...this.#saved.positions, ...this.#machine.positions() };
    const text = JSON.stringify({ transport: this.#machine.transport, positions });
    guard(() => this.#options.storage?.save(text));
  }

  close(): void {
    this.#save();
    this.dispatch({ type: "stop" });
  }

  #stop(): void {
    this.#stopped.abort();
    this.#fetching?.abort();
  }
}
