//! What a client asks over a socket: one JSON object a frame, with `id` and `op`, read in one pass.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    errors::ErrorCode,
    names::{ChannelName, EventName},
    positions::{Position, Serial},
};

mod reading;

/// An object of short strings that travels with a message.
pub type Headers = BTreeMap<String, String>;

/// A frame that was understood.
#[derive(Debug)]
pub enum Incoming {
    /// A request that is to be answered exactly once.
    Request {
        /// The client's own choice, 1 … 2^31−1.
        id: u32,
        /// What is asked.
        request: Request,
    },
    /// The answer to a ping; it has no `id` and gets no answer.
    Pong,
}

/// A request by its `op`.
#[derive(Debug)]
pub enum Request {
    /// Say who is here; must come first.
    Connect(Connect),
    /// Follow a channel.
    Subscribe(Subscribe),
    /// Stop following a channel.
    Unsubscribe {
        /// The channel.
        channel: ChannelName,
    },
    /// Publish to a channel.
    Publish(Publish),
    /// Read a channel's past.
    History(History),
    /// Enter, update, leave or list a channel's presence.
    Presence(Presence),
    /// Replace the connection's token.
    Token {
        /// The fresh JWT.
        token: String,
    },
}

/// `connect`: the credentials of the connection.
#[derive(Debug)]
pub struct Connect {
    /// A JWT.
    pub token: Option<String>,
    /// A key id, for public channels only.
    pub key: Option<String>,
    /// The app, needed with a token signed by the tenant's own keys.
    pub app: Option<String>,
    /// The SDK's name and version.
    pub client: Option<String>,
}

/// `subscribe`: a channel and where to start in it.
#[derive(Debug)]
pub struct Subscribe {
    /// The channel.
    pub channel: ChannelName,
    /// Where delivery starts.
    pub start: Start,
    /// Whether presence events are wanted too.
    pub presence: bool,
    /// Whether the channel's counts are wanted too.
    pub occupancy: bool,
}

/// Where a subscription starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// At the head: only what comes from now on.
    Live,
    /// After a position.
    Since(Position),
    /// That many messages back.
    RewindMessages(u64),
    /// That many seconds back.
    RewindSeconds(u64),
}

/// `publish`: a message for a channel.
#[derive(Debug)]
pub struct Publish {
    /// The channel.
    pub channel: ChannelName,
    /// Any JSON value, as sent.
    pub data: Box<RawValue>,
    /// The event's name.
    pub name: Option<EventName>,
    /// Short strings that travel with the message.
    pub headers: Option<Headers>,
    /// Makes retries safe: the same key gives the first answer again for 24 h.
    pub idempotency_key: Option<String>,
    /// Lowest latency, no serial, no history.
    pub ephemeral: bool,
    /// Whether the sender's own subscription receives it too.
    pub echo: bool,
    /// What the answer waits for.
    pub ack: Ack,
}

/// What the answer to a publish waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ack {
    /// The message is in a durable queue.
    #[default]
    Accepted,
    /// The message is in history and the answer carries its serial.
    Persisted,
}

/// `presence`: a channel, and what is asked of its presence.
#[derive(Debug)]
pub struct Presence {
    /// The channel.
    pub channel: ChannelName,
    /// What is asked.
    pub ask: PresenceAsk,
}

/// What is asked of a channel's presence, by `action`.
#[derive(Debug)]
pub enum PresenceAsk {
    /// Become a member.
    Enter {
        /// What others see.
        data: Option<Box<RawValue>>,
    },
    /// Change what others see.
    Update {
        /// What others see from now on.
        data: Option<Box<RawValue>>,
    },
    /// Be a member no longer.
    Leave {
        /// What others see of the leave, in place of what they saw last.
        data: Option<Box<RawValue>>,
    },
    /// A page of the members.
    List {
        /// Where the page before ended.
        next: Option<String>,
    },
}

/// `history`: a page of a channel's past.
#[derive(Debug)]
pub struct History {
    /// The channel.
    pub channel: ChannelName,
    /// Which page.
    pub range: Range,
    /// How many items at most; 100 where absent, 1,000 at most.
    pub limit: Option<u32>,
}

/// Which part of a channel's past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// Ascending from the serial after this one.
    After(Serial),
    /// Descending from the serial before this one.
    Before(Serial),
    /// Descending from the head.
    Newest,
}

/// A frame that could not be read.
#[derive(Debug)]
pub enum Unreadable {
    /// It cannot be answered, since it has no usable `id`; the connection closes as `malformed`.
    Malformed(String),
    /// It is answered with an error.
    Refused {
        /// The request's id.
        id: u32,
        /// The error's code.
        code: ErrorCode,
        /// What is wrong.
        message: String,
    },
}
