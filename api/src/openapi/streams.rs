//! The gateway's streams, as the document describes them. The gateway serves them; nothing here does.
#![expect(dead_code, reason = "what stands here is documentation, which only the document reads")]

use fanfare_protocol::ErrorCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::refusals::{ANY, refusals};

/// What the gateway serves and not the API.
pub(crate) const PATHS: [&str; 2] = ["/v1/sse", "/v1/poll"];

/// A page of what came on a stream's channels.
#[derive(Serialize, ToSchema)]
pub(crate) struct Polled {
    /// Objects as a WebSocket carries them: `message`, `gap`, `skip`, `presence`, `unsubscribed`.
    messages: Vec<serde_json::Value>,
    /// Where to go on: the `cursor` of the next poll, or of a stream of events.
    cursor: String,
    /// Where each channel began: what `subscribe` answers on a socket. The page follows it.
    positions: Vec<PolledPosition>,
}

/// Where a channel of a poll began.
#[derive(Serialize, ToSchema)]
pub(crate) struct PolledPosition {
    /// The channel.
    channel: String,
    /// Its epoch.
    epoch: String,
    /// Its head.
    serial: u64,
    /// How many messages follow that were there already.
    backlog: u64,
    /// Where a position was given: whether everything after it follows.
    resumed: Option<bool>,
    /// What will not come.
    lost: Option<LostRange>,
}

/// Serials that will not come; without `to`, everything up to the head is unknown.
#[derive(Serialize, ToSchema)]
pub(crate) struct LostRange {
    /// The first of them.
    from: u64,
    /// The last of them.
    to: Option<u64>,
}

const STREAM: &[ErrorCode] = &[
    ErrorCode::Unauthorized,
    ErrorCode::BadKey,
    ErrorCode::BadToken,
    ErrorCode::TokenExpired,
    ErrorCode::AppDisabled,
    ErrorCode::Forbidden,
    ErrorCode::OriginNotAllowed,
    ErrorCode::NotFound,
    ErrorCode::ChannelLimit,
    ErrorCode::BadChannel,
    ErrorCode::BadCursor,
    ErrorCode::InvalidBody,
    ErrorCode::ConnectionLimit,
    ErrorCode::Draining,
];

refusals!(StreamRefusals: STREAM, ANY);

/// Stream events
///
/// Server-sent events of 1 to 100 channels, for the browser's own `EventSource` and for `fetch`. The first event is `open`, with the positions;
/// then `message`, `gap`, `skip`, `presence`, `unsubscribed`, `reconnect` and `error`, whose `data` is the object that a WebSocket would carry. An
/// event's `id` is a cursor: what comes after it is had with `Last-Event-ID`, which browsers send by themselves, or with `cursor`. A comment is sent every
/// 15 s. Needs the right `subscribe` on every channel. `HEAD` is not answered.
#[utoipa::path(
    get,
    path = "/v1/sse",
    tag = "streams",
    params(
        ("channel" = Vec<String>, Query, description = "The channels, 1 to 100: the parameter is repeated.", example = json!(["chat:1"])),
        ("cursor" = Option<String>, Query, description = "Where to go on. Bound to the app and the channels, not to a token; the same for streams and polls, and for every node."),
        ("Last-Event-ID" = Option<String>, Header, description = "The same; it goes before `cursor`."),
        ("since" = Option<Vec<String>>, Query, description = "A position, `EPOCH:SERIAL`, of the `channel` that it stands after: where that channel goes on. `cursor` goes before it."),
        ("rewind" = Option<Vec<String>>, Query, description = "In the same place: how far back the channel begins, `20` messages or `30s`. Needs the right `history`."),
        ("presence" = Option<bool>, Query, description = "Whether presence events are wanted too."),
        ("occupancy" = Option<bool>, Query, description = "Whether occupancy events are wanted too."),
        ("token" = Option<String>, Query, description = "A client token, where no header can be set."),
        ("key" = Option<String>, Query, description = "A key's id, in place of a token: public channels only."),
        ("app" = Option<String>, Query, description = "The app, which the credential must be of.")
    ),
    responses(
        (status = 200, description = "The stream, which begins at once.", body = String, content_type = "text/event-stream",
            example = "retry: 2000\nevent: open\nid: AQp4\ndata: {\"op\":\"open\",\"connection\":\"con_01k2v3\",\"app\":\"app_01k2v3\",\"positions\":[{\"channel\":\"chat:1\",\"epoch\":\"x7Gq0bTz1A\",\"serial\":7,\"backlog\":0}]}\n\n"),
        StreamRefusals
    ),
    security(("clientToken" = []))
)]
pub(crate) fn stream_events() {}

/// Poll for events
///
/// Without a cursor the answer comes at once: no messages, and the cursor of the channels' heads. With one it comes at once if anything is past it, else when
/// something comes, else empty after `wait_ms`. A page ends at 1 MiB. Ephemeral messages and presence events that come between two polls are not kept. A poll
/// that waits takes a place among the app's connections. Needs the right `subscribe` on every channel.
#[utoipa::path(
    get,
    path = "/v1/poll",
    tag = "streams",
    params(
        ("channel" = Vec<String>, Query, description = "The channels, 1 to 100: the parameter is repeated.", example = json!(["chat:1"])),
        ("cursor" = Option<String>, Query, description = "The `cursor` of the answer before, or the `id` of a stream's event."),
        ("wait_ms" = Option<u32>, Query, description = "How long to wait: 0 to 60,000, 25,000 where it is absent."),
        ("since" = Option<Vec<String>>, Query, description = "A position, `EPOCH:SERIAL`, of the `channel` that it stands after: where that channel goes on. `cursor` goes before it."),
        ("rewind" = Option<Vec<String>>, Query, description = "In the same place: how far back the channel begins, `20` messages or `30s`. Needs the right `history`."),
        ("presence" = Option<bool>, Query, description = "Whether presence events are wanted too."),
        ("occupancy" = Option<bool>, Query, description = "Whether occupancy events are wanted too."),
        ("token" = Option<String>, Query, description = "A client token, where no header can be set."),
        ("key" = Option<String>, Query, description = "A key's id, in place of a token: public channels only."),
        ("app" = Option<String>, Query, description = "The app, which the credential must be of.")
    ),
    responses(
        (status = 200, description = "What there is.", body = Polled, example = json!({
            "messages": [{"op": "message", "channel": "chat:1", "serial": 8, "id": "msg_01k2v3", "time": 1_764_000_000_000u64, "data": {"text": "hi"}}],
            "cursor": "AQp4N0dxMGJUejFBCA",
            "positions": [{"channel": "chat:1", "epoch": "x7Gq0bTz1A", "serial": 8, "resumed": true, "backlog": 1}]
        })),
        StreamRefusals
    ),
    security(("clientToken" = []))
)]
pub(crate) fn poll() {}
