import type { HttpProblem, WireError } from "./wire.js";

/** What went wrong: a stable `code` for programs, a `message` and a `remedy` for people. */
export class FanfareError extends Error {
  override readonly name = "FanfareError";
  /** One of the server's codes, or one of the client's own: `queue_full`, `buffer_full`, `closed`, `connection_lost`, `timeout`, `no_token`, `bad_options`, `websocket_only`. */
  readonly code: string;
  /** What to do about it. */
  readonly remedy: string;
  /** No sooner than this is a further try of use, in milliseconds. */
  readonly retryAfterMs: number | undefined;

  constructor({ code, message, remedy, retry_after_ms }: WireError) {
    super(message);
    this.code = code;
    this.remedy = remedy ?? "Look at the message.";
    this.retryAfterMs = retry_after_ms;
  }
}

/** An error of the client's own. */
export const own = (code: string, message: string, remedy: string): WireError => ({ code, message, remedy });

/** What to do about most of what happens on the way. */
export const WAIT = "Wait: the client comes back by itself.";

export const CLOSED = own("closed", "The client or its subscription was closed.", "Make a new one.");
export const LOST = own("connection_lost", "The connection was lost.", WAIT);
export const SILENT = own("timeout", "The server went silent.", WAIT);
export const UNCONFIRMED = own("unconfirmed", "The connection was lost before the answer.", "Send it again if it still matters.");

/** Codes after which the same request may succeed later. */
const PASSING = new Set(
  "backlog_full connection_limit connect_timeout disconnected draining internal rate_limited request_timeout slow_consumer unavailable unconfirmed".split(
    " ",
  ),
);

/** Whether the same request may succeed after a pause. */
export const isPassing = (code: string): boolean => PASSING.has(code);

/** The reason why an aborted call rejects. */
export const reasonOf = (signal: AbortSignal): unknown => signal.reason;

/** A refusal over HTTP as a socket would say it. */
export const fromProblem = ({ code, detail, remedy }: HttpProblem, retryAfterS: string | null): WireError => ({
  code,
  message: detail,
  remedy,
  retry_after_ms: Number(retryAfterS) * 1000 || undefined,
});
