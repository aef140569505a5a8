//! Deliveries: what became of a message for a client, told from a bounded trace.
//!
//! The trace keeps no deliveries, which would cost something for each message and subscriber. It keeps a *course* for each subscription: after
//! which serial it delivers, up to which serial it has written, what it passed over, and how it ended. A message is looked up in the log; its serial
//! and the courses of a client then say whether the client got it, and if not, why ([`judge`]). Courses never hold payloads, tokens or rights.
//!
//! Only apps that switch the trace on have courses, and only their clients that have a name.

use std::time::Duration;

use async_trait::async_trait;
use fanfare_protocol::{ChannelName, ClientName, Epoch, ErrorCode, Serial};
use serde::{Deserialize, Serialize};
use tracing::warn;

use crate::{
    Refusal, Timestamp,
    ids::{AppId, ConnectionId, MessageId},
};

mod judging;
mod ledger;
mod receipts;
mod recorder;

pub use judging::{Asked, Doubt, Judged, Outcome, Verdict, judge};
pub use ledger::{Ledger, Lot};
pub use receipts::{Beginning, Receipts};
pub use recorder::Recorder;

/// How often a node tells the trace what has changed. Nothing waits for that but who asks.
pub const TOLD_EVERY: Duration = Duration::from_secs(1);
/// By when what happened is in the trace. Of a younger message nothing is said but what the trace knows for certain.
pub const LAG: Duration = Duration::from_secs(3);
/// How long a course is kept after it was last told.
pub const KEPT: Duration = Duration::from_secs(24 * 3_600);
/// Courses that are kept of one client in one channel; the oldest go first.
pub const COURSES_OF_CLIENT: usize = 64;
/// Courses that are kept of an app; the oldest go first.
pub const COURSES_OF_APP: usize = 20_000;
/// Publishes of an app that are remembered, so that one that is not stored yet can be told from one that there never was.
pub const PUBLISHES_OF_APP: usize = 20_000;
/// How often an open course is told although nothing has changed, so that it is not among the oldest.
pub const TOLD_AGAIN: Duration = Duration::from_secs(600);
/// A node that has not told anything for this long is lost, and what its courses say last is all that is known.
pub const NODE_LASTS: Duration = Duration::from_secs(10);

/// A client of an app in one of its channels.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The app.
    pub app: AppId,
    /// The channel.
    pub channel: ChannelName,
    /// The client.
    pub client: ClientName,
}

/// The course of one subscription, or the refusal of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Course {
    /// Tells it from the others of its client in its channel. Polls from the same position share one, the last one's.
    pub id: String,
    /// The connection.
    pub connection: ConnectionId,
    /// What carries it: `websocket`, `pusher`, `sse` or `poll`.
    pub transport: String,
    /// The channel's epoch; `None` where the subscription was refused.
    pub epoch: Option<Epoch>,
    /// Everything after this serial is to be delivered.
    pub from: Serial,
    /// Whether the subscription was there before its course: what it delivered up to `from` is not known.
    #[serde(default)]
    pub is_late: bool,
    /// Everything up to this serial was put into the connection's outbox.
    pub queued: Serial,
    /// Everything up to this serial has left the outbox for the network.
    pub written: Serial,
    /// By when how much had been written; the older, the fewer are kept.
    #[serde(default)]
    pub steps: Vec<(Serial, Timestamp)>,
    /// Serials that were passed over, ascending; the last of them.
    #[serde(default)]
    pub passed: Vec<Passed>,
    /// Up to this serial it is forgotten what was passed over.
    #[serde(default)]
    pub passed_before: Serial,
    /// When it began.
    pub began_at: Timestamp,
    /// When this was last told.
    pub told_at: Timestamp,
    /// Nothing is delivered for now: the token has expired.
    #[serde(default)]
    pub is_held: bool,
    /// How it ended.
    #[serde(default)]
    pub end: Option<End>,
}

/// Serials that were passed over, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// The first.
    pub from: Serial,
    /// The last.
    pub to: Serial,
    /// Why.
    pub why: Passing,
}

/// Why a subscription that goes on does not get a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Passing {
    /// The connection was excluded: by the publisher, or since it was the publisher.
    Filtered,
    /// It was past retention when it would have been read.
    PastRetention,
}

/// How a course ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct End {
    /// When.
    pub at: Timestamp,
    /// Why: an error code, or one of [`End::UNSUBSCRIBED`], [`End::LEFT`] and [`End::ANSWERED`].
    pub reason: String,
    /// It never began: the subscription was refused.
    #[serde(default)]
    pub is_refusal: bool,
}

impl End {
    /// The client unsubscribed.
    pub const UNSUBSCRIBED: &'static str = "unsubscribed";
    /// The client closed the connection, or it was lost.
    pub const LEFT: &'static str = "client";
    /// The poll has its answer.
    pub const ANSWERED: &'static str = "answered";
}

/// That a message was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The app.
    pub app: AppId,
    /// The channel.
    pub channel: ChannelName,
    /// The message.
    pub message: MessageId,
    /// Whether it has no serial and no history.
    pub is_ephemeral: bool,
}

/// What a trace keeps of a client in a channel, and of a message.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// The courses, and of each whether its node may still tell more of it.
    pub courses: Vec<(Course, bool)>,
    /// What came before this may be forgotten.
    pub reaches_back_to: Timestamp,
    /// Times, both ends included, of which a node has not told everything, or will not, since it is lost.
    pub gaps: Vec<(Timestamp, Timestamp)>,
    /// Where the message is remembered as accepted: whether it is ephemeral.
    pub publish: Option<bool>,
}

/// Whether a trace still has what this node told it before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// As far as is known.
    Whole,
    /// It may have lost everything.
    Doubtful,
}

/// The trace cannot be read or written now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the trace of deliveries is not available: {0}")]
pub struct Untraceable(pub String);

impl From<Untraceable> for Refusal {
    /// The reader is told little; the log is told the cause.
    fn from(failure: Untraceable) -> Self {
        warn!(error = %failure, "A delivery could not be explained");
        let why = "the trace of deliveries cannot be read now";
        Refusal::new(ErrorCode::Unavailable, why).retry_after(Duration::from_secs(1))
    }
}

/// Where courses are kept, for all nodes together. Bounded as the constants of this module say; what goes for lack of room goes oldest first, and is
/// never mistaken for what was not there: [`Kept::reaches_back_to`] moves on.
#[async_trait]
pub trait DeliveryTrace: Send + Sync {
    /// An app's trace begins, with nothing in it.
    async fn begin(&self, app: &AppId, now: Timestamp) -> Result<(), Untraceable>;
    /// Everything of an app is forgotten.
    async fn forget(&self, app: &AppId) -> Result<(), Untraceable>;
    /// Keeps what is told, courses in place of what was told of them before; a lot with nothing in it says that the node is alive. Called by one caller at
    /// a time.
    async fn write(&self, lot: &Lot, now: Timestamp) -> Result<Memory, Untraceable>;
    /// This node ends, and has told everything.
    async fn retire(&self) -> Result<(), Untraceable>;
    /// What is kept of a client in a channel, oldest first, and of a message.
    async fn read(&self, place: &Place, message: &MessageId, now: Timestamp) -> Result<Kept, Untraceable>;
}
