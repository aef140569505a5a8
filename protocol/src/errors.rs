//! The one table of error codes: what went wrong, how each transport says it, and what the reader can do about it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// What a client should do after an error or a close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// The same request will fail again until something is changed.
    Never,
    /// The same request may succeed after a pause; back off.
    Backoff,
    /// Come back at once.
    Now,
}

impl Retry {
    /// The word for it in `docs/errors.md`.
    pub fn name(self) -> &'static str {
        match self {
            Retry::Never => "no",
            Retry::Backoff => "after a pause",
            Retry::Now => "at once",
        }
    }
}

/// One row of the table.
#[derive(Debug, Clone, Copy)]
pub struct ErrorRow {
    /// The stable name, as in `"code"`.
    pub name: &'static str,
    /// The HTTP status of an answer that carries it.
    pub status: u16,
    /// The WebSocket close code, where the error ends a connection.
    pub close: Option<u16>,
    /// Whether trying again can help.
    pub retry: Retry,
    /// The short, human title.
    pub title: &'static str,
    /// What the reader can do about it.
    pub remedy: &'static str,
}

macro_rules! error_codes {
    ($($variant:ident $name:literal $status:literal $close:expr, $retry:ident, $title:literal, $remedy:literal;)*) => {
        /// A stable code; every refusal of every transport carries one of these.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $(#[doc = $title] $variant,)*
        }

        impl ErrorCode {
            /// Every code, in the order of the documentation.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant,)*];

            /// The code's row of the table.
            pub const fn row(self) -> ErrorRow {
                match self {
                    $(ErrorCode::$variant => ErrorRow {
                        name: $name, status: $status, close: $close, retry: Retry::$retry, title: $title, remedy: $remedy,
                    },)*
                }
            }
        }
    };
}

error_codes! {
    Malformed "malformed" 400 Some(4000), Never, "The request is not well-formed", "Send one JSON object, UTF-8 encoded.";
    BadRequest "bad_request" 400 None, Never, "The request cannot be understood", "Compare the request with the documentation of its operation.";
    InvalidBody "invalid_body" 422 None, Never, "A field of the request is wrong", "Mend the fields listed in `errors`, or named in the message.";
    BadChannel "bad_channel" 422 None, Never, "The channel name is not valid", "Use 1 to 200 bytes of A–Z a–z 0–9 _ - = @ , . ; :";
    BadCursor "bad_cursor" 422 None, Never, "The cursor is not of these channels", "Name the channels as in the request that gave the cursor; or load the current state, and begin without a cursor.";
    UnsupportedMediaType "unsupported_media_type" 415 None, Never, "The content type is not supported", "Send the body as `Content-Type: application/json`.";
    BinaryFrame "binary_frame" 400 Some(4001), Never, "Binary frames are not part of the protocol", "Send text frames, one JSON object each.";
    NotConnected "not_connected" 400 Some(4002), Never, "The first request must be `connect`", "Send `connect` with a token or a key, and wait for nothing else first.";
    AlreadyConnected "already_connected" 400 Some(4003), Never, "The connection has sent `connect` twice", "Send `connect` once; use `token` to refresh a token.";
    Unauthorized "unauthorized" 401 Some(4010), Never, "No credentials were given", "Give an API key (`Authorization: Bearer fk_….fs_…`), a client token, or sign in.";
    BadKey "bad_key" 401 Some(4011), Never, "The API key is not valid", "Check the key and its secret; it may have been revoked, rotated or expired.";
    BadToken "bad_token" 401 Some(4012), Never, "The token is not valid", "Mint a new token with a live API key; see the documentation of tokens.";
    Revoked "revoked" 401 Some(4013), Never, "The token was revoked", "Get a fresh token, if the app's backend still gives one.";
    TokenExpired "token_expired" 401 Some(4110), Backoff, "The token has expired", "Get a fresh token, then connect again or send it with `token`.";
    TokenMismatch "token_mismatch" 409 None, Never, "The token is for another app or client", "Refresh with a token of the same app and the same `sub`.";
    BadCredentials "bad_credentials" 401 None, Never, "The email address or the password is wrong", "Check both, and try again.";
    SessionExpired "session_expired" 401 None, Never, "The session is over", "Log in again.";
    ForeignOrigin "foreign_origin" 403 None, Never, "A change by cookie must come from our own pages", "Send the same `Origin` as the server's, or use the session token as a bearer.";
    TlsRequired "tls_required" 403 None, Never, "Credentials do not cross a network in the clear", "Use https:// or wss://. Where something in front ends TLS, the operator names it in `trusted_proxies` (FANFARE_TRUSTED_PROXIES) and has it send `X-Forwarded-For` and `X-Forwarded-Proto`, or sets `plain_http` (FANFARE_PLAIN_HTTP) to `allow`.";
    Forbidden "forbidden" 403 None, Never, "The right for this is missing", "Ask for a role, key or token that carries the right named in the message.";
    OriginNotAllowed "origin_not_allowed" 403 Some(4030), Never, "The app does not allow this origin", "Add the page's origin to the app's `origins`.";
    AppDisabled "app_disabled" 403 Some(4020), Never, "The app is disabled", "Enable the app, or use another.";
    SignupClosed "signup_closed" 403 None, Never, "Sign-up is closed on this server", "Ask the operator for an account.";
    NotFound "not_found" 404 None, Never, "There is no such thing", "Check the address; what belongs to others is not shown.";
    MethodNotAllowed "method_not_allowed" 405 None, Never, "The method is not allowed here", "Use one of the methods in the `Allow` header.";
    EmailTaken "email_taken" 409 None, Never, "The email address has an account already", "Log in, or sign up with another address.";
    IdempotencyConflict "idempotency_conflict" 409 None, Never, "The idempotency key was used for another message", "Use a new key for a new message; repeat a key only with the same name, headers and data.";
    AlreadySubscribed "already_subscribed" 409 None, Never, "The channel is subscribed already", "Unsubscribe first, or use the subscription there is.";
    NotSubscribed "not_subscribed" 409 None, Never, "The channel is not subscribed", "Subscribe to the channel first.";
    NotEntered "not_entered" 409 None, Never, "The connection has not entered the channel", "Enter the channel's presence first.";
    PresenceLimit "presence_limit" 409 None, Never, "The channel has as many members as the plan allows", "Wait until somebody leaves, use several channels, or raise the plan.";
    HistoryOff "history_off" 409 None, Never, "The channel keeps no history", "Leave out `since`, `rewind` and `ack: persisted`, or give its namespace a rule with history.";
    TraceOff "trace_off" 409 None, Never, "The app keeps no trace of deliveries", "Switch on `delivery_trace` of the app; what is published from then on can be explained.";
    EpochChanged "epoch_changed" 409 None, Backoff, "The channel's history was replaced", "Load the current state, then subscribe without `since`.";
    MessageTooLarge "message_too_large" 413 None, Never, "The message is larger than the app allows", "Send less data, or send a reference to it.";
    BodyTooLarge "body_too_large" 413 None, Never, "The request body is too large", "Split the request.";
    RequestTimeout "request_timeout" 408 None, Backoff, "The request body did not arrive in time", "Send the body without pauses.";
    ChannelLimit "channel_limit" 409 None, Never, "The connection has as many channels as its plan allows", "Unsubscribe from a channel, open a second connection, or raise the plan.";
    PlanLimit "plan_limit" 409 None, Never, "The plan does not allow more of these", "Remove some, or raise the plan.";
    ConnectionLimit "connection_limit" 429 Some(4120), Backoff, "The app has as many connections as its plan allows", "Come back later, or raise the plan.";
    RateLimited "rate_limited" 429 Some(4121), Backoff, "Too many requests", "Wait as long as `Retry-After` or `retry_after_ms` says.";
    SlowConsumer "slow_consumer" 429 Some(4122), Backoff, "The connection reads more slowly than messages arrive", "Resume from the last serial received; read faster or subscribe to less.";
    ConnectTimeout "connect_timeout" 408 Some(4123), Backoff, "`connect` did not arrive in time", "Send `connect` within 10 s of the handshake.";
    NoPong "no_pong" 408 Some(4201), Now, "The connection went silent", "Answer each `ping` with `pong` within 10 s, or send anything else.";
    Draining "draining" 503 Some(4200), Now, "The server is shutting down", "Connect again and resume.";
    Disconnected "disconnected" 503 Some(4202), Now, "The client was disconnected by the app's backend", "Connect again and resume.";
    Unconfirmed "unconfirmed" 503 None, Backoff, "The message may or may not have been accepted", "Send it again with the same idempotency key.";
    BacklogFull "backlog_full" 503 None, Backoff, "The queue of accepted messages is full", "Wait and send it again; nothing was accepted.";
    Unavailable "unavailable" 503 Some(4100), Backoff, "A part of the service is away", "Wait and try again.";
    Internal "internal" 500 Some(4101), Backoff, "Something went wrong on our side", "Try again; report it with the request id if it stays.";
}

impl ErrorCode {
    /// The stable name.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// The code of that name, as clients read it back.
    pub fn from_name(name: &str) -> Option<ErrorCode> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }
}

/// An error as a socket carries it: `{"code","message","remedy"?,"retry_after_ms"?}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WireError {
    /// The stable code.
    pub code: Cow<'static, str>,
    /// What happened, for people.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub remedy: Option<Cow<'static, str>>,
    /// How long to wait before trying again, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry_after_ms: Option<u64>,
}

/// An error as HTTP carries it (RFC 9457).
#[derive(Debug, Clone, Serialize)]
pub struct Problem<'a> {
    /// The address of the code's row in the server's own error table.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code's title.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The stable code.
    pub code: &'static str,
    /// What happened this time.
    pub detail: &'a str,
    /// What to do about it.
    pub remedy: &'static str,
    /// The id of the request, as in `X-Request-Id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<&'a str>,
    /// The fields that are wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<[FieldProblem<'a>; 1]>,
}

/// A field that is wrong.
#[derive(Debug, Clone, Serialize)]
pub struct FieldProblem<'a> {
    /// A JSON pointer into the body, or `/` and the name of a query parameter.
    pub pointer: &'static str,
    /// What is wrong with it.
    pub detail: &'a str,
}

impl<'a> Problem<'a> {
    /// The problem of a code, with what happened.
    pub fn new(code: ErrorCode, detail: &'a str) -> Self {
        let row = code.row();
        let kind = format!("/errors#{}", row.name);
        Self {
            kind,
            title: row.title,
            status: row.status,
            code: row.name,
            detail,
            remedy: row.remedy,
            request_id: None,
            errors: None,
        }
    }

    /// Adds the id of the request.
    pub fn of_request(self, id: Option<&'a str>) -> Self {
        Self { request_id: id, ..self }
    }

    /// Adds which field is wrong, if one is.
    pub fn at(self, pointer: Option<&'static str>) -> Self {
        Self { errors: pointer.map(|pointer| [FieldProblem { pointer, detail: self.detail }]), ..self }
    }

    /// The problem as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a problem has string keys")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_codes_stand_in_the_range_of_their_retry_rule() {
        for code in ErrorCode::ALL {
            let row = code.row();
            let Some(close) = row.close else { continue };
            let range = match row.retry {
                Retry::Never => 4000..4100,
                Retry::Backoff => 4100..4200,
                Retry::Now => 4200..4300,
            };
            assert!(range.contains(&close), "{} closes with {close}", row.name);
        }
    }

    #[test]
    fn names_and_close_codes_are_unique() {
        let mut names: Vec<_> = ErrorCode::ALL.iter().map(|c| c.name()).collect();
        let mut closes: Vec<_> = ErrorCode::ALL.iter().filter_map(|c| c.row().close).collect();
        let (n, c) = (names.len(), closes.len());
        names.sort_unstable();
        names.dedup();
        closes.sort_unstable();
        closes.dedup();
        assert_eq!((names.len(), closes.len()), (n, c));
    }
}
