//! Occupancy: how many subscriptions and presence members a channel has, over all nodes together.
//!
//! A channel is occupied while somebody subscribes to it. A connection counts once in each channel that it subscribes to, whatever transport
//! it came by.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use fanfare_protocol::{ChannelName, ErrorCode};
use futures::future::try_join_all;
use tracing::warn;

use crate::{
    Refusal,
    ids::AppId,
    presence::{self, Presence},
};

mod book;

pub use book::{Book, Word};

/// How long the subscriptions of a node that is not heard of are counted on: a node that was killed is gone from the counts within this.
pub const COUNTS_LAST: Duration = Duration::from_secs(10);
/// How often a node says that it is alive.
pub const ALIVE_EVERY: Duration = Duration::from_secs(2);
/// How long after the shared counts were away nobody reads them: by then every node has told again what it counts.
pub const COUNTS_SETTLE: Duration = Duration::from_secs(5);
/// A channel of an app.
pub type Place = (AppId, ChannelName);

/// The counts cannot be told now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("occupancy cannot be counted now: {0}")]
pub struct Uncounted(pub String);

impl From<Uncounted> for Refusal {
    /// The reader is told little; the log is told the cause.
    fn from(failure: Uncounted) -> Self {
        warn!(error = %failure, "A count was refused");
        Refusal::new(ErrorCode::Unavailable, "occupancy cannot be counted now").retry_after(Duration::from_secs(1))
    }
}

/// Which occupied channels are wanted: those whose names begin with a prefix, ordered by name as bytes.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// What the names begin with.
    pub prefix: String,
    /// Only names after this one.
    pub after: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// Occupied channels, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listed {
    /// The channels, each with its subscriptions. There may be fewer than were wanted although there are more.
    pub channels: Vec<(ChannelName, u64)>,
    /// The name after which the list goes on; `None` at its end.
    pub next: Option<String>,
}

/// Counts of subscriptions, summed over all nodes. Exact as soon as every node has told its changes, which takes milliseconds; a node that
/// was killed is no longer counted after [`COUNTS_LAST`].
#[async_trait]
pub trait Occupancy: Send + Sync {
    /// A subscription of the channel began on this node. Returns at once; the others are told in the background.
    fn enter(&self, app: &AppId, channel: &ChannelName);
    /// A subscription of the channel ended on this node. Returns at once; the others are told in the background.
    fn leave(&self, app: &AppId, channel: &ChannelName);
    /// The subscriptions of each channel, in the order asked for.
    async fn subscribers(&self, places: &[Place]) -> Result<Vec<u64>, Uncounted>;
    /// A page of an app's occupied channels. Those that are occupied throughout the pages of a list are in it once.
    async fn list(&self, app: &AppId, wanted: &Wanted) -> Result<Listed, Uncounted>;
    /// This node ends: what it counted is counted no more.
    async fn withdraw(&self);
}

/// Counts of presence members, over all nodes.
#[async_trait]
pub trait Members: Send + Sync {
    /// The members of each channel, in the order asked for.
    async fn members(&self, places: &[Place]) -> Result<Vec<u64>, Uncounted>;
}

/// The members that presence has.
#[derive(Clone)]
pub struct PresentMembers(pub Arc<dyn Presence>);

#[async_trait]
impl Members for PresentMembers {
    async fn members(&self, places: &[Place]) -> Result<Vec<u64>, Uncounted> {
        let counted = try_join_all(places.iter().map(async |(app, channel)| {
            let place = presence::Place { app: app.clone(), channel: channel.clone() };
            self.0.count(&place).await
        }));
        counted.await.map_err(|failure| Uncounted(failure.to_string()))
    }
}

/// How occupied a channel is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Its subscriptions.
    pub subscribers: u64,
    /// Its presence members.
    pub members: u64,
}

/// Both counts together.
#[derive(Clone)]
pub struct Census {
    /// Counts of subscriptions.
    pub occupancy: Arc<dyn Occupancy>,
    /// Counts of members.
    pub members: Arc<dyn Members>,
}

impl Census {
    /// How occupied each channel is, in the order asked for.
    pub async fn counts(&self, places: &[Place]) -> Result<Vec<Counts>, Uncounted> {
        let (subscribers, members) = (self.occupancy.subscribers(places).await?, self.members.members(places).await?);
        let both = subscribers.into_iter().zip(members);
        Ok(both.map(|(subscribers, members)| Counts { subscribers, members }).collect())
    }

    /// A page of an app's occupied channels, each with its counts, and where the list goes on.
    pub async fn list(
        &self,
        app: &AppId,
        wanted: &Wanted,
    ) -> Result<(Vec<(ChannelName, Counts)>, Option<String>), Uncounted> {
        let Listed { mut channels, next } = self.occupancy.list(app, wanted).await?;
        channels.retain(|(channel, _)| !channel.is_of_service());
        let places: Vec<Place> = channels.iter().map(|(channel, _)| (app.clone(), channel.clone())).collect();
        let members = self.members.members(&places).await?;
        let counted = channels.into_iter().zip(members);
        let counted =
            counted.map(|((channel, subscribers), members)| (channel, Counts { subscribers, members })).collect();
        Ok((counted, next))
    }
}
