//! What the server says over a socket: answers to requests, and events that nobody asked for.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{
    errors::WireError,
    names::{ChannelName, ClientName, EventName},
    positions::{Epoch, Serial},
    requests::Headers,
};

/// A message as history lists it and as `message` carries it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Item {
    /// The channel.
    pub channel: ChannelName,
    /// The place in the channel; absent for an ephemeral message.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub serial: Option<Serial>,
    /// The message id, `msg_…`.
    pub id: String,
    /// When it was accepted, in milliseconds since the epoch of Unix.
    pub time: u64,
    /// The event's name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<EventName>,
    /// Who published it; absent for anonymous clients and API keys.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub client: Option<ClientName>,
    /// Short strings that travel with it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub headers: Option<Headers>,
    /// The publisher's JSON, without whitespace outside strings.
    pub data: Box<RawValue>,
}

/// The limits that a connection lives under, told in the answer to `connect`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ConnectionLimits {
    /// The largest `data` of a message, in bytes.
    pub message_bytes: u64,
    /// Channels that one connection may subscribe to.
    pub channels: u64,
    /// Requests that one connection may send each second.
    pub requests_per_s: u64,
}

/// The answer to `connect`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Connected {
    /// The connection's id, `con_…`.
    pub connection: String,
    /// The app.
    pub app: String,
    /// The client id of the token; absent for anonymous connections.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub client: Option<ClientName>,
    /// A connection that is silent for this long is pinged, in milliseconds.
    pub ping_ms: u64,
    /// How long the token is still good, in milliseconds; absent for a key.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub token_ttl_ms: Option<u64>,
    /// What the connection may do.
    pub limits: ConnectionLimits,
}

/// A range of serials that a subscription will not see; without `to`, everything up to the live head is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// The first lost serial.
    pub from: Serial,
    /// The last lost serial.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<Serial>,
}

/// The answer to `subscribe`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribed {
    /// The channel.
    pub channel: ChannelName,
    /// The channel's epoch.
    pub epoch: Epoch,
    /// The channel's head.
    pub serial: Serial,
    /// Only with `since`: whether everything after it follows.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub resumed: Option<bool>,
    /// How many messages follow before live ones.
    pub backlog: u64,
    /// What will not come.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lost: Option<Lost>,
}

/// The answer to `publish`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Published {
    /// The message id.
    pub message: String,
    /// With `persisted`: the channel's epoch.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub epoch: Option<Epoch>,
    /// With `persisted`: the message's serial.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub serial: Option<Serial>,
}

/// The answer to `history`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HistoryPage {
    /// The channel's epoch.
    pub epoch: Epoch,
    /// The messages, in the order asked for.
    pub items: Vec<Item>,
    /// Whether there is more in that direction.
    pub more: bool,
}

/// The answer to `token`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TokenAccepted {
    /// How long the token is good, in milliseconds.
    pub token_ttl_ms: u64,
}

/// What the server says unasked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Event {
    /// Serials that will never come, being past retention.
    Gap {
        /// The channel.
        channel: ChannelName,
        /// The first serial of the range.
        from: Serial,
        /// The last serial of the range, and the position to resume from.
        to: Serial,
    },
    /// A message that this connection is excluded from took this serial.
    Skip {
        /// The channel.
        channel: ChannelName,
        /// The serial.
        serial: Serial,
    },
    /// How occupied a channel is, for a subscription that asked for it.
    Occupancy {
        /// The channel.
        channel: ChannelName,
        /// Its subscriptions, over all nodes.
        subscribers: u64,
        /// Its presence members, over all nodes.
        members: u64,
        /// When it was counted, in milliseconds since the epoch of Unix.
        time: u64,
    },
    /// A subscription was ended by the server.
    Unsubscribed {
        /// The channel.
        channel: ChannelName,
        /// Why.
        error: WireError,
    },
    /// The token runs out soon.
    TokenExpiring {
        /// How soon, in milliseconds.
        in_ms: u64,
    },
    /// Answer with `pong` within 10 s.
    Ping,
    /// The socket is served that long and then closed.
    Reconnect {
        /// How long, in milliseconds.
        after_ms: u64,
        /// Why, as an error code.
        reason: String,
    },
    /// Why a close follows.
    Error {
        /// The reason.
        error: WireError,
    },
}

/// What stands before `data` in a `message` frame.
#[derive(Serialize)]
struct MessageHead<'a> {
    op: &'static str,
    channel: &'a ChannelName,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<Serial>,
    id: &'a str,
    time: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a EventName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a ClientName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    headers: Option<&'a Headers>,
}

/// The text of a `message` frame, written once for every subscriber.
pub fn message_text(item: &Item) -> String {
    let mut text = to_text(&MessageHead {
        op: "message",
        channel: &item.channel,
        serial: item.serial,
        id: &item.id,
        time: item.time,
        name: item.name.as_ref(),
        client: item.client.as_ref(),
        headers: item.headers.as_ref(),
    });
    text.pop();
    text.push_str(",\"data\":");
    text.push_str(item.data.get());
    text.push('}');
    text
}

/// The text of a stream's first event, `open`: what `connect` and every `subscribe` answer on a socket.
pub fn opened_text(connected: &Connected, positions: &[Subscribed]) -> String {
    #[derive(Serialize)]
    struct Opened<'a> {
        op: &'static str,
        connection: &'a str,
        app: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        client: Option<&'a ClientName>,
        #[serde(skip_serializing_if = "Option::is_none")]
        token_ttl_ms: Option<u64>,
        positions: &'a [Subscribed],
    }
    to_text(&Opened {
        op: "open",
        connection: &connected.connection,
        app: &connected.app,
        client: connected.client.as_ref(),
        token_ttl_ms: connected.token_ttl_ms,
        positions,
    })
}

/// The text of an answer: `{"id":…,"ok":{…}}`.
pub fn ok_text(id: u32, ok: &impl Serialize) -> String {
    format!("{{\"id\":{id},\"ok\":{}}}", to_text(ok))
}

/// The text of a refusal: `{"id":…,"error":{…}}`.
pub fn error_text(id: u32, error: &WireError) -> String {
    format!("{{\"id\":{id},\"error\":{}}}", to_text(error))
}

/// The text of an event.
pub fn event_text(event: &Event) -> String {
    to_text(event)
}

fn to_text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("wire types have string keys and finite numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_frame_holds_the_item_and_the_data_as_it_was() {
        let item = Item {
            channel: ChannelName::parse("chat:1").unwrap(),
            serial: Some(Serial(3)),
            id: "msg_1".into(),
            time: 5,
            name: None,
            client: Some(ClientName::parse("ann").unwrap()),
            headers: None,
            data: RawValue::from_string("{\"a\":1.0}".into()).unwrap(),
        };
        assert_eq!(
            message_text(&item),
            r#"{"op":"message","channel":"chat:1","serial":3,"id":"msg_1","time":5,"client":"ann","data":{"a":1.0}}"#
        );
    }

    #[test]
    fn answers_and_events_have_their_shapes() {
        assert_eq!(ok_text(1, &serde_json::json!({})), r#"{"id":1,"ok":{}}"#);
        assert_eq!(event_text(&Event::Ping), r#"{"op":"ping"}"#);
        assert_eq!(
            event_text(&Event::Gap { channel: ChannelName::parse("a").unwrap(), from: Serial(1), to: Serial(2) }),
            r#"{"op":"gap","channel":"a","from":1,"to":2}"#
        );
        let counted =
            Event::Occupancy { channel: ChannelName::parse("a").unwrap(), subscribers: 2, members: 1, time: 5 };
        assert_eq!(event_text(&counted), r#"{"op":"occupancy","channel":"a","subscribers":2,"members":1,"time":5}"#);
    }
}
