//! History: the log of every channel, and how a page of it is read.

use async_trait::async_trait;
use fanfare_protocol::{ChannelName, Epoch, Serial, requests::Range};

use crate::{
    StoreError, Timestamp,
    ids::{AppId, MessageId},
    messages::Message,
    partitions::Fence,
    publishing::Accepted,
    rules::Retention,
};

/// A page of anything ends at this many bytes.
pub const PAGE_BYTES: usize = 1024 * 1024;
/// A page of history ends at this many messages.
pub const PAGE_ITEMS: u32 = 1_000;

/// Where a channel stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The channel's epoch; the app's for a channel that has no message yet.
    pub epoch: Epoch,
    /// The last serial; 0 before the first message.
    pub serial: Serial,
}

/// Which messages a reader may see: those younger than the retention and within the last `max_messages`.
#[derive(Debug, Clone, Copy)]
pub struct Visible {
    /// The rule's retention.
    pub retention: Retention,
    /// The time now.
    pub now: Timestamp,
}

impl Visible {
    /// Messages accepted before this are not shown.
    pub fn not_before(&self) -> Timestamp {
        self.now.before(self.retention.duration())
    }
}

/// A page of a channel's past.
#[derive(Debug, Clone)]
pub struct HistoryPage {
    /// The channel's head when the page was read.
    pub head: Head,
    /// The serial below the oldest visible one: everything after it can be read. The head's where nothing can.
    pub floor: Serial,
    /// The messages, in the order asked for.
    pub items: Vec<(Serial, Message)>,
    /// Whether there is more in that direction.
    pub more: bool,
}

/// Where a message lies in its channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The channel's epoch.
    pub epoch: Epoch,
    /// Its serial.
    pub serial: Serial,
    /// When it was accepted.
    pub time: Timestamp,
    /// The serial below the oldest visible one; where the message's is not above it, the message is past retention.
    pub floor: Serial,
}

/// What became of one message of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// It took this place.
    Stored {
        /// The channel's epoch.
        epoch: Epoch,
        /// Its serial.
        serial: Serial,
        /// Its time: that of acceptance, but never less than the channel's last.
        time: Timestamp,
    },
    /// The same message was stored before, at this place.
    Repeated {
        /// The channel's epoch.
        epoch: Epoch,
        /// The serial it took then.
        serial: Serial,
        /// The time it has had since then.
        time: Timestamp,
    },
    /// Another message was stored under the same idempotency key.
    Conflict,
    /// The app is gone.
    NoApp,
    /// It can never be stored; said by whoever tried it alone.
    Rejected,
}

/// The log of messages. Appends of one call are one transaction; when it returns, they are on disk.
#[async_trait]
pub trait MessageLog: Send + Sync {
    /// Appends messages in the order given, giving each new one the next serial of its channel. With a fence, only if it still holds;
    /// else [`StoreError::Fenced`].
    async fn append(&self, fence: Option<Fence>, messages: &[Accepted]) -> Result<Vec<Appended>, StoreError>;
    /// Where a channel stands; `None` if the app is gone.
    async fn head(&self, app: &AppId, channel: &ChannelName) -> Result<Option<Head>, StoreError>;
    /// Where channels stand, in the order asked for; `None` for those whose app is gone.
    async fn heads(&self, channels: &[(AppId, ChannelName)]) -> Result<Vec<Option<Head>>, StoreError>;
    /// Reads a page of at most `limit` messages and [`PAGE_BYTES`]; `None` if the app is gone.
    async fn read(
        &self,
        app: &AppId,
        channel: &ChannelName,
        range: Range,
        limit: u32,
        visible: Visible,
    ) -> Result<Option<HistoryPage>, StoreError>;
    /// Looks a message up by its id; of several under one idempotency key the last. `None` if it is not stored, or no more.
    async fn find(
        &self,
        app: &AppId,
        channel: &ChannelName,
        message: &MessageId,
        visible: Visible,
    ) -> Result<Option<Found>, StoreError>;
    /// Removes what nobody can need any more: at most `limit` rows, and, where messages lie in partitions by lifetime, whole partitions; how many
    /// rows and partitions there were.
    async fn sweep(&self, now: Timestamp, limit: u32) -> Result<usize, StoreError>;
}
