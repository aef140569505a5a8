//! What was told last of each channel, so that only differences are told.

use std::collections::BTreeSet;

use async_trait::async_trait;
use fanfare_protocol::{ChannelName, ClientName};

use super::{Known, Telling, Tidings};
use crate::{StoreError, ids::AppId, presence::Place};

/// Whether a channel's members are told: of those that Pusher's protocol gives members.
pub fn has_members(channel: &ChannelName) -> bool {
    channel.as_str().starts_with("presence-")
}

/// A difference between what is and what was told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It has subscribers, and was not told to.
    Occupied,
    /// Somebody is a member, and was not told to be.
    Added(ClientName),
    /// It has another number of subscribers than was told.
    Counted {
        /// What was told.
        from: u64,
        /// What is.
        to: u64,
    },
    /// Somebody was told to be a member, and is none.
    Removed(ClientName),
    /// It was told to have subscribers, and has none.
    Vacated,
}

impl Change {
    /// What is told of it.
    pub fn tidings(&self, channel: &ChannelName) -> Tidings {
        let channel = channel.clone();
        match self {
            Change::Occupied => Tidings::ChannelOccupied { channel },
            Change::Vacated => Tidings::ChannelVacated { channel },
            Change::Added(user_id) => Tidings::MemberAdded { channel, user_id: user_id.clone() },
            Change::Removed(user_id) => Tidings::MemberRemoved { channel, user_id: user_id.clone() },
            Change::Counted { to, .. } => Tidings::SubscriptionCount { channel, subscription_count: *to },
        }
    }
}

/// A change, and who is to be told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The channel.
    pub channel: ChannelName,
    /// What changed.
    pub change: Change,
    /// What is put into the backlog along with it.
    pub tellings: Vec<Telling>,
}

/// A channel of which something was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldPlace {
    /// Where.
    pub place: Place,
    /// Whether it was told to be occupied.
    pub is_occupied: bool,
    /// How many members it was told to have.
    pub members: u64,
}

/// What was told. A change is made, and what tells of it put into the backlog of tellings, in one: each change by one worker alone, however many
/// see it. A crash may put it into the backlog twice, but never not at all.
#[async_trait]
pub trait Told: Send + Sync {
    /// What was told of a channel.
    async fn read(&self, place: &Place) -> Result<Known, StoreError>;
    /// Makes those changes that nobody else has made; how many those were.
    async fn change(&self, app: &AppId, changes: Vec<Changed>) -> Result<usize, StoreError>;
    /// Channels of which something was told, in their order, after that one and at most so many.
    async fn places(&self, after: Option<&Place>, limit: u32) -> Result<Vec<ToldPlace>, StoreError>;
    /// Of these channels of an app, those that were told to be occupied.
    async fn occupied(&self, app: &AppId, channels: &[ChannelName]) -> Result<BTreeSet<ChannelName>, StoreError>;
    /// Forgets what was told of an app: nobody wants to know any more.
    async fn forget(&self, app: &AppId) -> Result<(), StoreError>;
}
