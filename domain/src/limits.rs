//! Limits: what an app may still do now.

use std::{num::NonZeroU32, time::Duration};

use async_trait::async_trait;
use fanfare_protocol::ErrorCode;

use crate::{Refusal, ids::AppId, plans::Limits};

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
