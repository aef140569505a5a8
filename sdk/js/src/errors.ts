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

export const CLOSED = own("closed", "The client was closed.", "Make a new client.");
export const LOST = own("connection_lost", "The connection was lost.", "Wait: the client comes back by itself.");
export const SILENT = own("timeout", "The server went silent.", "Wait: the client comes back by itself.");
export const UNCONFIRMED = own(
  "unconfirmed",
  "The connection was lost before the ephemeral message was answered.",
  "Send it again if it still matters.",
);

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
export function fromProblem(problem: HttpProblem, retryAfterS: string | null): WireError {
  const after = Number(retryAfterS ?? NaN);
  return {
    code: problem.code,
    message: problem.detail,
    remedy: problem.remedy,
    ...(after > 0 && { retry_after_ms: after * 1000 }),
  };
}
