//! The log of messages, watched: whether what was appended last was stored.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use fanfare_domain::{
    StoreError, Timestamp,
    history::{Appended, Found, Head, HistoryPage, MessageLog, Visible},
    ids::{AppId, MessageId},
    partitions::Fence,
    publishing::Accepted,
};
use fanfare_protocol::{ChannelName, requests::Range};

/// How long a failure counts while nothing is appended: who is told that a process is not ready may send it no publish that could
/// prove the opposite.
const COUNTS: Duration = Duration::from_secs(30);

/// When an append failed after which none was stored.
#[derive(Debug, Clone, Default)]
pub struct Appends(Arc<Mutex<Option<Instant>>>);

impl Appends {
    /// The log, with the outcome of every append noted here.
    pub fn watch(&self, log: Arc<dyn MessageLog>) -> Arc<dyn MessageLog> {
        Arc::new(Watched { log, appends: self.clone() })
    }

    /// Whether the last append failed, and not long ago.
    pub fn fail(&self, now: Instant) -> bool {
        let failed = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failed.is_some_and(|failed| now.saturating_duration_since(failed) < COUNTS)
    }

    fn note(&self, stored: bool) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = (!stored).then(Instant::now);
    }
}

struct Watched {
    log: Arc<dyn MessageLog>,
    appends: Appends,
}

#[async_trait]
impl MessageLog for Watched {
    async fn append(&self, fence: Option<Fence>, messages: &[Accepted]) -> Result<Vec<Appended>, StoreError> {
        let outcome = self.log.append(fence, messages).await;
        self.appends.note(outcome.is_ok());
        outcome
    }

    async fn head(&self, app: &AppId, channel: &ChannelName) -> Result<Option<Head>, StoreError> {
        self.log.head(app, channel).await
    }

    async fn heads(&self, channels: &[(AppId, ChannelName)]) -> Result<Vec<Option<Head>>, StoreError> {
        self.log.heads(channels).await
    }

    async fn read(
        &self,
        app: &AppId,
        channel: &ChannelName,
        range: Range,
        limit: u32,
        visible: Visible,
    ) -> Result<Option<HistoryPage>, StoreError> {
        self.log.read(app, channel, range, limit, visible).await
    }

    async fn find(
        &self,
        app: &AppId,
        channel: &ChannelName,
        message: &MessageId,
        visible: Visible,
    ) -> Result<Option<Found>, StoreError> {
        self.log.find(app, channel, message, visible).await
    }

    async fn sweep(&self, now: Timestamp, limit: u32) -> Result<usize, StoreError> {
        self.log.sweep(now, limit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_counts_until_an_append_is_stored_or_it_is_old() {
        let appends = Appends::default();
        assert!(!appends.fail(Instant::now()));
        appends.note(false);
        assert!(appends.fail(Instant::now()));
        assert!(!appends.fail(Instant::now() + COUNTS));
        appends.note(true);
        assert!(!appends.fail(Instant::now()));
    }
}
