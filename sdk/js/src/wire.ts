// Made from `openapi/asyncapi.yaml` and `openapi/openapi.json` by `npm run generate`; change those, not this file.

/** The credentials of the connection; a bearer token in the handshake's `Authorization` serves in place of `token`. */
export type Connect = {
  id: RequestId;
  op: "connect";
  token?: Jwt;
  /** A key id without its secret; public channels only. */
  key?: string;
  app?: AppId;
  /** The SDK's name and version. */
  client?: string;
};

/** Follow a channel; without `since` and `rewind`, from its head. */
export type Subscribe = {
  id: RequestId;
  op: "subscribe";
  channel: ChannelName;
  since?: Position;
  rewind?: Rewind;
  /** Whether the channel's presence events are wanted too; needs the right `presence`. */
  presence?: boolean;
  /** Whether the channel's counts are to be told too; false where it is absent. */
  occupancy?: boolean;
};

export type Unsubscribe = {
  id: RequestId;
  op: "unsubscribe";
  channel: ChannelName;
};

export type Publish = {
  id: RequestId;
  op: "publish";
  channel: ChannelName;
  /** Any JSON value. */
  data: unknown;
  name?: EventName;
  headers?: Headers;
  /** 1 to 200 bytes. Makes retries safe; the same key gives the first answer again for 24 h. */
  idempotency_key?: string;
  /** Lowest latency, no serial, no history. */
  ephemeral?: boolean;
  /** Whether the sender's own subscription receives the message too. */
  echo?: boolean;
  /** What the answer waits for: a durable queue, or a place in history. */
  ack?: "accepted" | "persisted";
};

/** Newest first without `after` and `before`. */
export type History = {
  id: RequestId;
  op: "history";
  channel: ChannelName;
  after?: Serial;
  before?: Serial;
  limit?: number;
};

/** Without `next` a list begins with the first member. A leave's `data` is shown in its event. */
export type PresenceRequest = {
  id: RequestId;
  op: "presence";
  channel: ChannelName;
  action: "enter" | "update" | "leave" | "list";
  /** Any JSON value of at most 1 KiB, for others to see. */
  data?: unknown;
  /** The `next` of the page before. */
  next?: string;
};

export type Token = {
  id: RequestId;
  op: "token";
  token: Jwt;
};

export type Pong = {
  op: "pong";
};

export type ConnectAnswer = {
  id: RequestId;
  ok: {
    connection: string;
    app: AppId;
    client?: ClientName;
    /** A connection that is silent for this long is pinged, in milliseconds. */
    ping_ms: number;
    /** How long the token is still good, in milliseconds; absent for a key. */
    token_ttl_ms?: number;
    limits: {
      /** The largest `data` of a message, in bytes. */
      message_bytes: number;
      /** Channels that one connection may subscribe to. */
      channels: number;
      /** Requests that one connection may send each second. */
      requests_per_s: number;
    };
  };
};

export type SubscribeAnswer = {
  id: RequestId;
  ok: {
    channel: ChannelName;
    epoch: Epoch;
    serial: Serial;
    /** Only with `since`: whether everything after it follows. */
    resumed?: boolean;
    /** How many messages follow before live ones. */
    backlog: number;
    lost?: Lost;
  };
};

export type UnsubscribeAnswer = {
  id: RequestId;
  ok: Record<string, never>;
};

export type PublishAnswer = {
  id: RequestId;
  ok: {
    message: MessageId;
    epoch?: Epoch;
    serial?: MessageSerial;
  };
};

export type HistoryAnswer = {
  id: RequestId;
  ok: {
    epoch: Epoch;
    items: Item[];
    /** Whether there is more in that direction. */
    more: boolean;
  };
};

export type MembersAnswer = {
  id: RequestId;
  ok: {
    items: Member[];
    /** How many members the channel has. */
    count: number;
    /** Given back as `next`, it continues the list; null at its end. */
    next: string | null;
  };
};

export type TokenAnswer = {
  id: RequestId;
  ok: {
    /** How long the token is good, in milliseconds. */
    token_ttl_ms: number;
  };
};

export type ErrorAnswer = {
  id: RequestId;
  error: WireError;
};

/** A message of a subscribed channel. */
export type Message = {
  op: "message";
  channel: ChannelName;
  serial?: MessageSerial;
  id: MessageId;
  time: Time;
  name?: EventName;
  client?: ClientName;
  headers?: Headers;
  /** The publisher's JSON, on one line. */
  data: unknown;
};

/** A client's first connection entered, its data changed, or its last connection left. */
export type PresenceEvent = {
  op: "presence";
  channel: ChannelName;
  action: "enter" | "update" | "leave";
  client: ClientName;
  connection: ConnectionId;
  /** What the client said of itself. */
  data?: unknown;
  /** What its token says of it. */
  info?: unknown;
  time: Time;
};

/** Serials that will never come, being past retention. `to` is the position to resume from. */
export type Gap = {
  op: "gap";
  channel: ChannelName;
  from: MessageSerial;
  to: MessageSerial;
};

/** A message that this connection is excluded from took this serial. */
export type Skip = {
  op: "skip";
  channel: ChannelName;
  serial: MessageSerial;
};

/** How occupied a channel is, over all nodes. */
export type Occupancy = {
  op: "occupancy";
  channel: ChannelName;
  /** Its subscriptions; a connection counts once. */
  subscribers: number;
  /** Its presence members. */
  members: number;
  time: Time;
};

export type Unsubscribed = {
  op: "unsubscribed";
  channel: ChannelName;
  error: WireError;
};

export type TokenExpiring = {
  op: "token_expiring";
  in_ms: number;
};

export type Ping = {
  op: "ping";
};

export type Reconnect = {
  op: "reconnect";
  after_ms: number;
  reason: ErrorCode;
};

export type Error = {
  op: "error";
  error: WireError;
};

export type ConnectionId = string;

/** A client that has entered a channel, and what the connection said that entered or updated last. */
export type Member = {
  client: ClientName;
  connection: ConnectionId;
  /** Null where nothing was said. */
  data: unknown;
  /** What its token says of it. */
  info?: unknown;
  since: Time;
};

/** A message as history lists it. */
export type Item = {
  channel: ChannelName;
  serial: MessageSerial;
  id: MessageId;
  time: Time;
  name?: EventName;
  client?: ClientName;
  headers?: Headers;
  /** The publisher's JSON, on one line. */
  data: unknown;
};

/** Serials that the subscription will not see; without `to`, everything up to the head is unknown. */
export type Lost = {
  from: MessageSerial;
  to?: MessageSerial;
};

/** The last serial received, and the epoch it belongs to. */
export type Position = {
  epoch: Epoch;
  serial: Serial;
};

/** How far back to begin: that many messages, or that many seconds. */
export type Rewind = {
  messages?: number;
  seconds?: number;
};

export type WireError = {
  code: ErrorCode;
  /** What happened, for people. */
  message: string;
  /** What to do about it. */
  remedy?: string;
  /** How long to wait before trying again, in milliseconds. */
  retry_after_ms?: number;
};

/** A stable code of the error table. */
export type ErrorCode = string;

/** The client's own choice; the answer carries it. */
export type RequestId = number;

/** Its namespace is what stands before the first `:`. */
export type ChannelName = string;

/** 1 to 128 bytes of UTF-8 without control characters. */
export type ClientName = string;

/** 0 to 200 bytes of UTF-8 without control characters. */
export type EventName = string;

/** Short strings that travel with a message; names of 1 to 64 bytes, values of 256 bytes at most. */
export type Headers = Record<string, string>;

/** A place in a channel; 0 is before the first message. */
export type Serial = number;

/** A message's place in its channel, 1, 2, 3 … without holes. */
export type MessageSerial = number;

/** Which life of the channel's history a serial belongs to. */
export type Epoch = string;

/** When the message was accepted, in milliseconds since the epoch of Unix. */
export type Time = number;

export type MessageId = string;

export type AppId = string;

export type Jwt = string;

export type Request = Connect | Subscribe | Unsubscribe | Publish | History | PresenceRequest | Token | Pong;

export type Event = Message | PresenceEvent | Gap | Skip | Occupancy | Unsubscribed | TokenExpiring | Ping | Reconnect | Error;

/** A message to be published. */
export type HttpNewMessage = {
  /** On whose behalf a backend publishes. A client may only name itself. */
  client?: string | null;
  /** Any JSON value; subscribers get it as it was sent, numbers and all. */
  data: unknown;
  /** Lowest latency, but no serial and no history. */
  ephemeral?: boolean;
  /** A connection that is not to receive the message. */
  exclude?: string | null;
  /** Short strings that travel with the message: at most 16, names of 64 bytes, values of 256. */
  headers?: Record<string, string> | null;
  /** Makes retries safe: the same key gives the first answer again for 24 h. 1 to 200 bytes; the header `Idempotency-Key` serves as well. */
  idempotency_key?: string | null;
  /** The event's name: 0 to 200 bytes. */
  name?: string | null;
};

/** A message that was taken. */
export type HttpPublished = {
  /** With `?ack=persisted`: the channel's epoch. */
  epoch?: string | null;
  /** Its id. */
  message: string;
  /** With `?ack=persisted`: the message's place in the channel. */
  serial?: number | null;
};

/** Why a request was refused. */
export type HttpProblem = {
  /** The stable code; programs read this. */
  code: string;
  /** What happened this time. */
  detail: string;
  /** The fields that are wrong. */
  errors?: HttpFieldProblem[];
  /** What to do about it. */
  remedy: string;
  /** The id of this request, as in `X-Request-Id`. */
  request_id?: string | null;
  /** The HTTP status. */
  status: number;
  /** What the code means, in short. */
  title: string;
  /** Where the code is explained, on this server. */
  type: string;
};

/** A field that is wrong. */
export type HttpFieldProblem = {
  /** What is wrong with it. */
  detail: string;
  /** A JSON pointer (RFC 6901) into the body, or `/` and the name of a query parameter. */
  pointer: string;
};

/** A page of a channel's past. */
export type HttpHistoryPage = {
  /** The channel's epoch; serials of another one mean nothing here. */
  epoch: string;
  /** The messages, in the order asked for. */
  items: HttpHistoryItem[];
  /** Whether there is more in that direction. */
  more: boolean;
};

/** A message as history lists it. */
export type HttpHistoryItem = {
  /** Who published it. */
  client?: string | null;
  /** The publisher's JSON. */
  data: unknown;
  /** Short strings that travel with it. */
  headers?: Record<string, string> | null;
  /** Its id. */
  id: string;
  /** The event's name. */
  name?: string | null;
  /** Its place in the channel. */
  serial: number;
  /** When it was accepted. */
  time: number;
};

/** A page of a channel's members. */
export type HttpMemberList = {
  /** How many members the channel has. */
  count: number;
  /** The members, by client. */
  items: HttpMember[];
  /** Given as `?next=`, it continues the list; `null` at its end. */
  next?: string | null;
};

/** A member of a channel. */
export type HttpMember = {
  /** The client. */
  client: string;
  /** The connection that entered or updated last. */
  connection: string;
  /** What the client said of itself then; `null` if it said nothing. */
  data: unknown;
  /** What its token says of it. */
  info?: unknown;
  /** When it entered. */
  since: number;
};

/** A page of what came on a stream's channels. */
export type HttpPolled = {
  /** Where to go on: the `cursor` of the next poll, or of a stream of events. */
  cursor: string;
  /** Objects as a WebSocket carries them: `message`, `gap`, `skip`, `presence`, `unsubscribed`. */
  messages: unknown[];
  /** Where each channel began: what `subscribe` answers on a socket. The page follows it. */
  positions: HttpPolledPosition[];
};

/** Where a channel of a poll began. */
export type HttpPolledPosition = {
  /** How many messages follow that were there already. */
  backlog: number;
  /** The channel. */
  channel: string;
  /** Its epoch. */
  epoch: string;
  lost?: HttpLostRange | null;
  /** Where a position was given: whether everything after it follows. */
  resumed?: boolean | null;
  /** Its head. */
  serial: number;
};

/** Serials that will not come; without `to`, everything up to the head is unknown. */
export type HttpLostRange = {
  /** The first of them. */
  from: number;
  /** The last of them. */
  to?: number | null;
};
