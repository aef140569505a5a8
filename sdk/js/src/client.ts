import { Channel } from "./channel.js";
import { FanfareError, own } from "./errors.js";
import type { ConnectionState } from "./machine/desk.js";
import { TRANSPORTS, type TransportName } from "./machine/transports.js";
import type { Observed } from "./observed.js";
import type { AnyPayloads, EventsOf } from "./payloads.js";
import { Shell } from "./shell.js";
import type { PositionStorage } from "./storage.js";
import type { Fetch } from "./transports/http.js";
import { poll } from "./transports/poll.js";
import { sse } from "./transports/sse.js";
import type { Dial } from "./transports/transport.js";
import { type SocketClass, websocket } from "./transports/websocket.js";

export type { ConnectionState, TransportName };

export const VERSION = "0.1.0";

export type FanfareOptions = {
  /** The server's address, like `https://fanfare.example.com`. */
  url: string;
  /** A client token, where none fresher can be had. */
  token?: string;
  /** Gets a fresh token from your backend: before each connection, and when one runs out. */
  getToken?: (options: { signal: AbortSignal }) => Promise<string> | string;
  /** A key's id in place of a token: public channels only. */
  key?: string;
  /** The app; needed with tokens that are signed by a key of your own. */
  app?: string;
  /** Which transports may be used, best first: `websocket`, `sse`, `poll` where it is absent. */
  transports?: readonly TransportName[];
  /** Keeps positions, so that a reloaded page goes on where it was. */
  storage?: PositionStorage;
  /** The most messages that wait to be published. */
  queueLimit?: number;
  /** Closes the client when it aborts. */
  signal?: AbortSignal;
  /** In place of the platform's own. */
  WebSocket?: SocketClass;
  /** In place of the platform's own. */
  fetch?: Fetch;
};

const BAD_OPTIONS = own("bad_options", "One of `token`, `getToken` and `key` is needed.", "Give one of them.");

/** A client without presence and history, which are functions beside it: `presence(channel)`, `history(channel)`. */
export class FanfareCore<Map = AnyPayloads> {
  /** How the connection is: `connecting`, `connected`, `disconnected` (with `retryAt`), `closed`. */
  readonly connection: Observed<ConnectionState>;
  #shell: Shell;

  constructor(options: FanfareOptions) {
    const { url, token, getToken, key, app, storage, signal, queueLimit = 1000 } = options;
    if (!token && !getToken && !key) throw new FanfareError(BAD_OPTIONS);
    const all: Record<TransportName, () => Dial> = {
      websocket: () => websocket(options.WebSocket),
      sse: () => sse(options.fetch),
      poll: () => poll(options.fetch),
    };
    this.#shell = new Shell({
      url: url.replace(/\/+$/, "").replace(/^ws/, "http"),
      machine: {
        credentials: { token, key, app, canFetch: getToken !== undefined },
        client: `fanfare-js/${VERSION}`,
        queueLimit,
      },
      dials: Object.fromEntries((options.transports ?? TRANSPORTS).map((name) => [name, all[name]()])),
      getToken,
      storage,
    });
    this.connection = this.#shell.connection;
    if (signal?.aborted) this.close();
    signal?.addEventListener("abort", () => this.close(), { once: true });
  }

  /** Connects now; else the first use does. */
  connect(): void {
    this.#shell.start();
  }

  /** A channel by its name; always the same one. */
  channel<Name extends string>(name: Name): Channel<EventsOf<Map, Name>> {
    const there = this.#shell.channels.get(name);
    if (there) return there as unknown as Channel<EventsOf<Map, Name>>;
    const made = this.open<EventsOf<Map, Name>>(this.#shell, name);
    this.#shell.channels.set(name, made as unknown as Channel<never>);
    return made;
  }

  /** @internal */
  protected open<Events>(shell: Shell, name: string): Channel<Events> {
    return new Channel<Events>(shell, name);
  }

  /** Ends everything, for good. */
  close(): void {
    this.#shell.close();
  }
}
