import type { Incoming } from "../codec.js";
import type { Request, WireError } from "../wire.js";

/** What a transport tells of its connection. */
export interface Hear {
  opened(): void;
  /** Something came, by which the transport is known to work. */
  works(): void;
  frame(frame: Incoming): void;
  /** It is over. `isUnreachable`: the network or the server is away, so that no other transport would get through either. */
  closed(code: number, error?: WireError, isUnreachable?: boolean): void;
}

/** A connection, open or opening. After `close` nothing is told any more. */
export interface Link {
  send(frame: Request): void;
  close(): void;
}

/** Opens a connection to the server at an address like `https://fanfare.example.com`. */
export type Dial = (url: string, hear: Hear) => Link;
