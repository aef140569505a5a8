import type { SubscribeAnswer, Event, Request, WireError } from "./wire.js";

/** The answer to a request, whichever it was. */
export type Answer = { id: number; ok?: Record<string, unknown>; error?: WireError };

/** What a stream over HTTP says when it begins anew: where one channel goes on. A socket never sends it. */
export type Resumed = { op: "resumed"; ok: SubscribeAnswer["ok"] };

/** What comes from the server. */
export type Incoming = Answer | Event | Resumed;

export const encode = (frame: Request): string => JSON.stringify(frame);

/** A frame, or nothing where the text is none; ops that are not known are left to whoever reads them. */
export function decode(text: string): Incoming | undefined {
  try {
    const frame: unknown = JSON.parse(text);
    return Object(frame) === frame ? (frame as Incoming) : undefined;
  } catch {
    return undefined;
  }
}

export const isAnswer = (frame: Incoming): frame is Answer => !("op" in frame);
