//! The log with hot windows before it: what was published lately is read from Redis, and every doubt goes to the log.

use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};

use async_trait::async_trait;
use fanfare_domain::{
    StoreError, Timestamp,
    bus::Broadcast,
    history::{Appended, Found, Head, HistoryPage, MessageLog, Visible},
    ids::{AppId, MessageId},
    messages::Message,
    metrics::Metric,
    partitions::Fence,
    publishing::Accepted,
};
use fanfare_protocol::{ChannelName, Serial, requests::Range};
use redis::Value;

use super::{Call, Redis, Script, heads, within};
use crate::envelopes::sent;

/// What Redis does not answer within this is read from the log.
const PATIENCE: Duration = Duration::from_millis(500);

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("window.lua")));

/// A log whose latest messages and heads are read from Redis where it knows them. Its answers may be as old as what is on the bus.
pub struct WindowedLog {
    log: Arc<dyn MessageLog>,
    redis: Redis,
}

impl WindowedLog {
    /// Puts the hot windows before a log.
    #[expect(clippy::new_ret_no_self, reason = "it is only ever used as the log that it decorates")]
    pub fn new(log: Arc<dyn MessageLog>, redis: Redis) -> Arc<dyn MessageLog> {
        Arc::new(Self { log, redis })
    }

    async fn window(
        &self,
        app: &AppId,
        channel: &ChannelName,
        after: Serial,
        limit: u32,
        visible: Visible,
    ) -> Option<HistoryPage> {
        if limit == 0 || after > Serial::MAX {
            return None;
        }
        let mut call = Call::on(self.redis.names().head(app, channel)).number(after.0).number(u64::from(limit));
        call.keys.push(self.redis.names().window(app, channel));
        let Value::Array(answer) = within(PATIENCE, self.redis.script(&SCRIPT, call)).await.ok()? else { return None };
        let [.., Value::Array(envelopes)] = answer.as_slice() else { return None };
        let head = heads::read_fields(&answer)?;
        if visible.retention.max_messages.is_some_and(|most| after.0 < head.serial.0.saturating_sub(most)) {
            return None;
        }
        let mut items = Vec::with_capacity(envelopes.len());
        let mut serial = after;
        for envelope in envelopes {
            serial = serial.next();
            let message = read(envelope, app, channel, &head, serial)?;
            if message.time < visible.not_before() {
                return None;
            }
            items.push((serial, message));
        }
        let more = serial < head.serial;
        (!items.is_empty()).then_some(HistoryPage { head, floor: after, items, more })
    }
}

/// The message of an envelope, if it is the one that it should be.
fn read(envelope: &Value, app: &AppId, channel: &ChannelName, head: &Head, serial: Serial) -> Option<Message> {
    let Value::BulkString(envelope) = envelope else { return None };
    let Broadcast::Message(envelope) = sent::decode(envelope).ok()? else { return None };
    let place = envelope.place.as_ref()?;
    let is_right = envelope.app == *app && envelope.channel == *channel && place.0 == head.epoch && place.1 == serial;
    is_right.then(|| Arc::unwrap_or_clone(envelope).message)
}

#[async_trait]
impl MessageLog for WindowedLog {
    async fn append(&self, fence: Option<Fence>, messages: &[Accepted]) -> Result<Vec<Appended>, StoreError> {
        self.log.append(fence, messages).await
    }

    async fn head(&self, app: &AppId, channel: &ChannelName) -> Result<Option<Head>, StoreError> {
        let names = self.redis.names();
        let asked = self.redis.run(vec![(names.head(app, channel), heads::ask(names, app, channel))]);
        let answers = within(PATIENCE, asked).await.unwrap_or_default();
        match answers.first().and_then(heads::read) {
            Some(head) => Ok(Some(head)),
            None => self.log.head(app, channel).await,
        }
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
        if let Range::After(after) = range
            && let Some(page) = self.window(app, channel, after, limit, visible).await
        {
            Metric::WindowReads.add_labelled("window", 1);
            return Ok(Some(page));
        }
        Metric::WindowReads.add_labelled("log", 1);
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
