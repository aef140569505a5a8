//! What subscribers say to a server, and what they make of its answers.

use serde_json::{Value, json};

use super::{scenarios::channel_name, tokens::Key};

/// A way to follow channels.
#[derive(Debug, Clone)]
pub enum Dialect {
    /// Fanfare's own protocol over WebSocket; tokens are signed with the key.
    Native(Key),
    /// Fanfare's server-sent events.
    Sse(Key),
    /// Pusher's protocol, by the key's id.
    Pusher(String),
    /// A WebSocket for each channel below `/sub/`, which sends payloads as they are.
    Plain,
    /// `fanfare-limit`: frames without a handshake.
    Limit,
}

/// What a text was that is no message.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// One of the answers that are waited for.
    Answer,
    /// To be answered with this.
    Ping(&'static str),
    Refusal,
    Other,
}

impl Dialect {
    /// What its rows are called, beside the server's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Native(_) => "native",
            Self::Sse(_) => "sse",
            Self::Pusher(_) => "pusher",
            Self::Plain | Self::Limit => "plain",
        }
    }

    /// The HTTP request that a connection begins with; none for the limit.
    pub fn opening(&self, authority: &str, connection: usize, channels: &[usize]) -> String {
        let (path, more) = match self {
            Self::Limit => return String::new(),
            Self::Native(_) => ("/v1/connect".to_owned(), String::new()),
            Self::Pusher(key) => (format!("/app/{key}?protocol=7&client=bench&version=1"), String::new()),
            Self::Plain => {
                (format!("/sub/{}", channels.first().map_or_else(String::new, |it| channel_name(*it))), String::new())
            }
            Self::Sse(key) => {
                let query: Vec<_> = channels.iter().map(|it| format!("channel={}", channel_name(*it))).collect();
                let authorization = format!("Authorization: Bearer {}\r\n", key.token(connection));
                (format!("/v1/sse?{}", query.join("&")), format!("Accept: text/event-stream\r\n{authorization}"))
            }
        };
        let more = if self.is_websocket() {
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        } else {
            &more
        };
        format!("GET {path} HTTP/1.1\r\nHost: {authority}\r\n{more}\r\n")
    }

    /// The status of the answer to that.
    pub fn opened_by(&self) -> u16 {
        if self.is_websocket() { 101 } else { 200 }
    }

    fn is_websocket(&self) -> bool {
        matches!(self, Self::Native(_) | Self::Pusher(_) | Self::Plain)
    }

    /// What is said once the opening is answered; requests have numbers from 1.
    pub fn greeting(&self, connection: usize, channels: &[usize]) -> Vec<String> {
        let mut said = match self {
            Self::Native(key) => {
                vec![json!({"id": 1, "op": "connect", "token": key.token(connection)}).to_string()]
            }
            _ => Vec::new(),
        };
        said.extend(self.subscribing(2, channels));
        said
    }

    /// What is said to follow channels, where one asks for them by themselves.
    pub fn subscribing(&self, first_id: usize, channels: &[usize]) -> Vec<String> {
        let one = |(at, channel): (usize, &usize)| match self {
            Self::Native(_) => {
                Some(json!({"id": first_id + at, "op": "subscribe", "channel": channel_name(*channel)}).to_string())
            }
            Self::Pusher(_) => {
                Some(json!({"event": "pusher:subscribe", "data": {"channel": channel_name(*channel)}}).to_string())
            }
            Self::Sse(_) | Self::Plain | Self::Limit => None,
        };
        channels.iter().enumerate().filter_map(one).collect()
    }

    /// Answers that come to the opening itself, beside the head.
    pub fn answers_to_opening(&self) -> usize {
        match self {
            Self::Pusher(_) | Self::Sse(_) | Self::Limit => 1,
            Self::Native(_) | Self::Plain => 0,
        }
    }

    /// What a text was that is no message.
    pub fn hear(&self, text: &[u8]) -> Heard {
        if matches!(self, Self::Plain | Self::Limit) {
            return Heard::Answer;
        }
        let Ok(said) = serde_json::from_slice::<Value>(text) else { return Heard::Refusal };
        if let Self::Pusher(_) = self {
            return match said["event"].as_str() {
                Some("pusher:connection_established" | "pusher_internal:subscription_succeeded") => Heard::Answer,
                Some("pusher:ping") => Heard::Ping(r#"{"event":"pusher:pong","data":{}}"#),
                Some("pusher:error" | "pusher:subscription_error") => Heard::Refusal,
                _ => Heard::Other,
            };
        }
        match said["op"].as_str() {
            None if !said["ok"].is_null() => Heard::Answer,
            None | Some("error" | "unsubscribed" | "gap") => Heard::Refusal,
            Some("open") => Heard::Answer,
            Some("ping") => Heard::Ping(r#"{"op":"pong"}"#),
            Some(_) => Heard::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_pings_and_refusals_are_told_apart() {
        let key = Key { id: "fk_1".to_owned(), secret: "fs_1".to_owned() };
        let (native, pusher) = (Dialect::Native(key.clone()), Dialect::Pusher("fk_1".to_owned()));
        assert_eq!(native.hear(br#"{"id":1,"ok":{}}"#), Heard::Answer);
        assert_eq!(native.hear(br#"{"id":1,"error":{"code":"bad_token"}}"#), Heard::Refusal);
        assert_eq!(native.hear(br#"{"op":"ping"}"#), Heard::Ping(r#"{"op":"pong"}"#));
        assert_eq!(native.hear(br#"{"op":"occupancy"}"#), Heard::Other);
        assert_eq!(pusher.hear(br#"{"event":"pusher_internal:subscription_succeeded","channel":"a"}"#), Heard::Answer);
        assert_eq!(pusher.hear(br#"{"event":"pusher:error","data":{}}"#), Heard::Refusal);
        assert_eq!(Dialect::Sse(key).hear(br#"{"op":"open"}"#), Heard::Answer);
    }
}
