import type { FanfareError } from "../errors.js";
import type { SubscribeAnswer, ChannelName, Message, Position, PresenceEvent, Request, WireError } from "../wire.js";
import type { TransportName } from "./transports.js";

/** Why something is as it is: a wire error for the machine, a `FanfareError` for the app. */
type Why<E> = { error?: E | undefined };

/** How the connection is. `retryAt` is absent while the machine is offline, and before the first use. */
export type ConnectionState<E = FanfareError> =
  | ({ state: "connecting" } & Why<E>)
  | { state: "connected"; transport: TransportName; connection: string; client?: string }
  | ({ state: "disconnected"; retryAt?: number | undefined } & Why<E>)
  | ({ state: "closed" } & Why<E>);

/** What a subscription holds. `pending`: not caught up (yet, or again); `lost`: these serials will not come, `to` is absent where the server cannot say. */
export type ChannelState<E = FanfareError> =
  { state: "pending" } | { state: "complete" } | { state: "lost"; from: number; to?: number } | ({ state: "closed" } & Why<E>);

/** What the machine asks of the shell around it. */
export type Effect =
  | { do: "fetchToken" }
  | { do: "open"; transport: TransportName }
  | { do: "close" }
  | { do: "send"; frame: Request }
  | { do: "state"; state: ConnectionState<WireError> }
  | { do: "message"; message: Message }
  | { do: "presence"; event: PresenceEvent }
  | { do: "attached"; answer: SubscribeAnswer["ok"] }
  | { do: "channel"; channel: ChannelName; state: ChannelState<WireError> }
  | { do: "settle"; ticket: number; ok?: Record<string, unknown>; error?: WireError };

/** A request without its id. */
type Unnumbered<R> = R extends { id: number } ? Omit<R, "id"> : never;
export type Question = Unnumbered<Request>;

/** Who is told of an answer. */
export type Answered = (ok: Record<string, unknown> | undefined, error: WireError | undefined) => void;

/** What the parts of the machine share: the time of the event, the effects so far, deadlines, and a way to ask the server. */
export interface Desk {
  readonly now: number;
  readonly random: () => number;
  readonly isConnected: boolean;
  readonly due: Map<string, number>;
  emit(effect: Effect): void;
  ask(question: Question, answered: Answered): void;
}

export type { Position };
