//! Presence: who is in a channel, and what those who watch are told of it.
//!
//! A member is a client. It enters with its first connection and leaves with its last; a connection that ends without a word leaves a
//! moment in which the client may come back unnoticed. Each event gives its channel the next version, so that whoever listens knows a hole.

use std::time::Duration;

use async_trait::async_trait;
use fanfare_protocol::{
    ChannelName, ClientName, ErrorCode,
    presence::{MemberItem, PresenceAction, PresenceSaid},
};
use serde_json::value::RawValue;

use crate::{
    Refusal, Timestamp,
    ids::{AppId, ConnectionId},
};

pub mod cursors;
pub mod rosters;
pub mod views;

/// The most bytes that a member's data may have.
pub const DATA_BYTES: usize = 1_024;
/// How long a client may be away without leaving, after its last connection ended without a word.
pub const GRACE: Duration = Duration::from_secs(5);
/// How many members a page has.
pub const PAGE_MEMBERS: u32 = 100;

/// A channel of an app.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The app.
    pub app: AppId,
    /// The channel.
    pub channel: ChannelName,
}

/// What a connection says of its client as it enters or updates.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The connection.
    pub connection: ConnectionId,
    /// Its client.
    pub client: ClientName,
    /// What others see, on one line.
    pub data: Option<Box<RawValue>>,
    /// What the client's token says of it.
    pub info: Option<Box<RawValue>>,
}

/// A member.
#[derive(Debug, Clone)]
pub struct Member {
    /// The client, and the connection that entered or updated last, with what they said.
    pub entry: Entry,
    /// When the client entered.
    pub since: Timestamp,
}

impl Member {
    /// The shape that clients see.
    pub fn to_item(&self) -> MemberItem {
        MemberItem {
            client: self.entry.client.clone(),
            connection: self.entry.connection.as_str().to_owned(),
            data: self.entry.data.clone(),
            info: self.entry.info.clone(),
            since: self.since.0,
        }
    }
}

/// What is told of a member.
#[derive(Debug, Clone)]
pub struct PresenceEvent {
    /// Where.
    pub place: Place,
    /// The channel's version from here on: one more than before.
    pub version: u64,
    /// What the member did.
    pub action: PresenceAction,
    /// Who, and what was said last.
    pub entry: Entry,
    /// When.
    pub time: Timestamp,
}

impl PresenceEvent {
    /// The text that watchers are sent.
    pub fn to_text(&self) -> String {
        let Entry { connection, client, data, info } = &self.entry;
        let said = PresenceSaid {
            op: "presence",
            channel: &self.place.channel,
            action: self.action,
            client,
            connection: connection.as_str(),
            data: data.as_deref(),
            info: info.as_deref(),
            time: self.time.0,
        };
        said.to_text()
    }
}

/// A page of a channel's members, by client.
#[derive(Debug, Clone, Default)]
pub struct MemberPage {
    /// The members.
    pub items: Vec<Member>,
    /// How many members the channel has.
    pub count: u64,
    /// The client after whom the next page begins; `None` at the end.
    pub next: Option<ClientName>,
}

/// Everything about a channel at a version. What came after it may be in here already.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The version at least.
    pub version: u64,
    /// Since when what is known of the channel is known; `None` if nothing is, for who keeps it may have forgotten everything.
    pub life: Option<Life>,
    /// The members.
    pub members: Vec<Member>,
    /// Whether nobody is missing because they were forgotten and have not been named again yet.
    pub is_whole: bool,
}

/// How long an engine has known a channel without a break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// Tells it from other lives.
    pub number: u64,
    /// How old it is.
    pub age: Duration,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum PresenceError {
    /// The channel has as many members as it may.
    #[error("a channel may have {0} members")]
    Full(u32),
    /// The connection is not in the channel.
    #[error("the connection has not entered the channel")]
    NotEntered,
    /// What keeps presence is away. What was asked may or may not have been done; it is put right when it is back.
    #[error("presence is not available: {0}")]
    Unavailable(String),
}

impl From<PresenceError> for Refusal {
    fn from(error: PresenceError) -> Self {
        match error {
            PresenceError::Full(_) => Refusal::new(ErrorCode::PresenceLimit, error.to_string()),
            PresenceError::NotEntered => Refusal::plain(ErrorCode::NotEntered),
            PresenceError::Unavailable(_) => {
                tracing::warn!(%error, "Presence could not be changed or read");
                Refusal::plain(ErrorCode::Unavailable).retry_after(Duration::from_secs(1))
            }
        }
    }
}

/// Who is in the channels. What is done for one connection in one channel is to be asked one after the other. Every event crosses the bus,
/// in the order of its versions, exactly once; of connections whose node died, within 15 s.
#[async_trait]
pub trait Presence: Send + Sync {
    /// Makes a connection's client a member: an `enter` if it was none, an `update` if it was one and says something else. A new member needs
    /// that there are fewer than `most`.
    async fn enter(&self, place: &Place, entry: Entry, most: u32) -> Result<(), PresenceError>;
    /// Changes what others see of a connection's client, which must have entered.
    async fn update(&self, place: &Place, entry: Entry) -> Result<(), PresenceError>;
    /// Takes a connection out; a `leave`, with that data if there is some, if it was its client's last.
    async fn leave(
        &self,
        place: &Place,
        connection: &ConnectionId,
        data: Option<Box<RawValue>>,
    ) -> Result<(), PresenceError>;
    /// Takes a connection out of a channel as [`Presence::leave`] does, for good, and also if it takes a while.
    fn withdraw(&self, place: &Place, connection: &ConnectionId);
    /// The connection has ended: its client leaves what it had entered by it, unless it comes back within [`GRACE`].
    fn ended(&self, connection: &ConnectionId);
    /// A page of a channel's members, from the one after that client.
    async fn page(&self, place: &Place, after: Option<&ClientName>, limit: u32) -> Result<MemberPage, PresenceError>;
    /// How many members a channel has, as far as is known: those who were forgotten by what keeps them count again once they are named again.
    async fn count(&self, place: &Place) -> Result<u64, PresenceError>;
    /// All members of a channel, for who then follows its events.
    async fn snapshot(&self, place: &Place) -> Result<Snapshot, PresenceError>;
    /// The node ends in good order, all its connections with it.
    async fn retire(&self);
}
