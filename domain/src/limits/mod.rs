//! Limits: what an app may still do now, on one node or shared among several.
//!
//! Nodes share a rate by *shares*: each admits by a bucket of its own ([`shares`]) that is refilled at its share of the rate. Four times a
//! second it reports what it took to the app's *allotter* ([`allotments`]), which keeps the one bucket that counts, grants shares by
//! demand, and answers how full that bucket is. So what all nodes admit together follows one bucket, however demand moves among them; what
//! they took too much of in between is a debt that is paid back first.
//!
//! A quota of connections is exact: a node asks for each place ([`places`]), and says again and again how many it holds.

pub mod allotments;
mod buckets;
pub mod places;
pub mod shares;
#[cfg(test)]
mod tests;

use std::{num::NonZeroU32, time::Duration};

use async_trait::async_trait;
use fanfare_protocol::ErrorCode;

use crate::{
    Refusal,
    ids::AppId,
    plans::{BATCH_ITEMS, Limits},
};

/// When a place among an app's connections is worth asking for again.
const CONNECT_AGAIN: Duration = Duration::from_secs(5);

/// A rate, by what it counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rate {
    /// Messages published.
    Publishes,
    /// Pages of history read.
    HistoryReads,
}

/// What a plan allows of a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed {
    /// How many each second.
    pub per_s: u32,
    /// How many at once.
    pub burst: u32,
}

impl Rate {
    /// What these limits allow: a second's worth at once, and of publishes never less than the largest batch.
    pub fn allowed(self, limits: &Limits) -> Allowed {
        let (per_s, least) = match self {
            Rate::Publishes => (limits.publishes_per_s, BATCH_ITEMS as u32),
            Rate::HistoryReads => (limits.history_reads_per_s, 0),
        };
        Allowed { per_s, burst: per_s.max(least) }
    }
}

/// What is left of a limit, as the `RateLimit` headers tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// How many fit into one window.
    pub limit: u32,
    /// How many are left.
    pub remaining: u32,
}

/// A limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// How many fit into one window.
    pub limit: u32,
    /// When the same request would be admitted.
    pub retry_after: Duration,
}

impl Exceeded {
    /// All places among an app's connections are taken.
    pub fn connections(limit: u32) -> Self {
        Self { limit, retry_after: CONNECT_AGAIN }
    }

    /// The refusal that says so; `what` is counted each second.
    pub fn refusal(&self, what: &str) -> Refusal {
        let message = format!("the app is allowed {} {what} a second", self.limit);
        Refusal::new(ErrorCode::RateLimited, message).retry_after(self.retry_after)
    }
}

/// A connection's place in its app's quota, given back when it is dropped.
pub trait ConnectionPermit: std::fmt::Debug + Send + Sync {}

/// Decides, on this node, what apps may do; a cluster's nodes share each limit. Rates never wait; a place among connections may.
#[async_trait]
pub trait AppLimits: Send + Sync {
    /// Takes `count` publishes from the app's rate: one second's worth, and never less than the largest batch, may come at once.
    fn publish(&self, app: &AppId, limits: &Limits, count: NonZeroU32) -> Result<Quota, Exceeded>;
    /// Takes a page from the app's rate of reading history, over REST and sockets together: one second's worth may come at once.
    fn history(&self, app: &AppId, limits: &Limits) -> Result<Quota, Exceeded>;
    /// Takes a place among the app's connections.
    async fn connect(&self, app: &AppId, limits: &Limits) -> Result<Box<dyn ConnectionPermit>, Exceeded>;
}
