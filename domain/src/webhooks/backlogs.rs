//! What waits durably to be worked on, and what posts to an address.

use std::time::Duration;

use async_trait::async_trait;

use super::Request;

/// A backlog did not take something for certain: it may have it, or not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the backlog is not available: {0}")]
pub struct BacklogAway(pub String);

/// By what a backlog knows something that it handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// Within which life of its connection.
    pub life: u64,
    /// Which one.
    pub number: u64,
}

/// Something that was handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// What it is settled by.
    pub receipt: Receipt,
    /// What was put in.
    pub body: Vec<u8>,
}

/// What waits to be worked on. Handed out in the order in which it was put in, and again, to whoever comes next, unless it was settled.
#[async_trait]
pub trait Backlog: Send + Sync {
    /// Puts things in; durable once it returns.
    async fn put(&self, bodies: Vec<Vec<u8>>) -> Result<(), BacklogAway>;
    /// Hands out what comes next; waits until there is something, also while the engine is away. Nothing is lost if it is given up.
    async fn take(&self) -> Vec<Taken>;
    /// Lets go of what was worked on. Where that cannot be done now, it is handed out again at some time.
    async fn settle(&self, receipts: &[Receipt]);
}

/// Posts to addresses that tenants name, guarded as every such call.
#[async_trait]
pub trait Poster: Send + Sync {
    /// Posts, and gives the status of the answer, of which nothing more is read; or why there is none, without the address.
    async fn post(&self, url: &str, request: Request, patience: Duration) -> Result<u16, String>;
}
