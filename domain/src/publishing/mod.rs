//! Publishing: from a request to a message in a durable queue, the same for REST and sockets.

use std::{num::NonZeroU32, sync::Arc, time::Duration, time::Instant};

use async_trait::async_trait;
use fanfare_protocol::{
    ChannelName, ClientName, Epoch, ErrorCode, EventName, Serial, requests::Ack, requests::Headers,
};
use serde_json::value::RawValue;

use crate::{
    Clock, Refusal,
    bus::{Broadcast, Bus},
    deliveries::Recorder,
    grants::Grant,
    history::Appended,
    ids::{AppId, ConnectionId, MessageId},
    limits::{AppLimits, Quota},
    messages::{Envelope, Message},
    metrics::Metric,
    partitions::Partition,
    revocations::Enforcement,
    rules::Retention,
    traces::TraceParent,
};

mod drafts;
mod spans;

/// How long a key makes retries safe.
pub const IDEMPOTENCY_WINDOW: Duration = Duration::from_secs(86_400);

/// What a publisher asks for.
#[derive(Debug)]
pub struct NewPublish {
    /// The channel.
    pub channel: ChannelName,
    /// The JSON, as sent.
    pub data: Box<RawValue>,
    /// The event's name.
    pub name: Option<EventName>,
    /// Short strings that travel with it.
    pub headers: Option<Headers>,
    /// On whose behalf a backend publishes.
    pub client: Option<ClientName>,
    /// Lowest latency, no serial, no history.
    pub ephemeral: bool,
    /// The connection that is to see a `skip` in its stead.
    pub exclude: Option<ConnectionId>,
    /// Makes retries safe.
    pub idempotency_key: Option<String>,
    /// The trace that the caller's request belongs to.
    pub trace: Option<TraceParent>,
    /// The data is on one line already, and its spaces are the publisher's own.
    pub keep_spaces: bool,
}

/// A checked message that is to be appended.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// The app.
    pub app: AppId,
    /// The channel.
    pub channel: ChannelName,
    /// The message; its time is that of acceptance.
    pub message: Message,
    /// Whether the id was derived from an idempotency key, so that it may be stored already.
    pub keyed: bool,
    /// Tells the same message from another one under the same key.
    pub fingerprint: [u8; 16],
    /// The connection that is to see a `skip` in its stead.
    pub exclude: Option<ConnectionId>,
    /// How long it is kept.
    pub retention: Retention,
    /// The trace that it belongs to.
    pub trace: Option<TraceParent>,
    /// Whether it may be stored already without a key, since the queue handed it out before.
    pub redelivered: bool,
}

/// The answer to a publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The message's id.
    pub id: MessageId,
    /// Its place, once it is known.
    pub place: Option<(Epoch, Serial)>,
}

/// Why the queue did not take a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// The queue is full; nothing was accepted.
    #[error("the queue is full")]
    Full,
    /// It may or may not have been accepted.
    #[error("the queue did not confirm the message")]
    Unconfirmed,
    /// The queue is away; nothing was accepted.
    #[error("the queue is not available")]
    Unavailable,
    /// Another message has the same idempotency key.
    #[error("another message has the same idempotency key")]
    Conflict,
    /// The app is gone.
    #[error("the app is gone")]
    NoApp,
    /// It can never be stored.
    #[error("the message can never be stored")]
    Rejected,
}

impl From<IntakeError> for Refusal {
    fn from(error: IntakeError) -> Self {
        match error {
            IntakeError::Full => Refusal::plain(ErrorCode::BacklogFull).retry_after(Duration::from_secs(1)),
            IntakeError::Unconfirmed => Refusal::plain(ErrorCode::Unconfirmed).retry_after(Duration::from_secs(1)),
            IntakeError::Unavailable => Refusal::plain(ErrorCode::Unavailable).retry_after(Duration::from_secs(1)),
            IntakeError::Conflict => Refusal::plain(ErrorCode::IdempotencyConflict),
            IntakeError::Rejected => Refusal::plain(ErrorCode::Internal),
            IntakeError::NoApp => Refusal::plain(ErrorCode::NotFound),
        }
    }
}

/// The durable queue, as publishers see it.
#[async_trait]
pub trait Intake: Send + Sync {
    /// Accepts messages durably, in the order given; one answer each. With `persisted`, answers carry the place.
    async fn submit(&self, messages: Vec<Accepted>, ack: Ack) -> Vec<Result<Receipt, IntakeError>>;
    /// Sends something that changes nothing the way that publishes go, and waits until the queue has it.
    async fn probe(&self) -> Result<(), IntakeError>;
}

/// The partitions of the durable queue, as their owners see them.
#[async_trait]
pub trait Queues: Send + Sync {
    /// Begins to take from a partition's queue. Fails while somebody else still takes from it, or while the queue is away.
    async fn open(&self, partition: Partition) -> Result<Arc<dyn Queue>, QueueError>;
}

/// Why a partition's queue cannot be taken from, or a message not be set aside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// The partition's last owner still takes from it.
    #[error("the partition's last owner still takes from it")]
    Busy,
    /// The queue is away, or does not confirm.
    #[error("the queue is not available: {0}")]
    Unavailable(String),
    /// The next message was written by a newer version than this one, which must not judge it.
    #[error("a message was written by a newer version of Fanfare")]
    Newer,
}

/// The durable queue, as workers see it; one partition of it where there are several.
#[async_trait]
pub trait Queue: Send + Sync {
    /// The next batch, in order per channel; `None` when nothing more comes: the queue was closed and is empty, or it went away.
    async fn next(&self) -> Option<Box<dyn Batch>>;
    /// Takes no more. What was handed out can still be settled; what was not goes back to a queue that outlives the process, and is still
    /// handed out by one that does not.
    async fn close(&self);
}

/// Messages taken from the queue and not yet settled.
#[async_trait]
pub trait Batch: Send {
    /// The messages, in order.
    fn messages(&self) -> &[Accepted];
    /// Tells whoever waits what became of each message. Called once, after the append is on disk.
    fn answer(&mut self, outcomes: &[Appended]);
    /// Whether somebody waits to be told the place of a message.
    fn is_awaited(&self, at: usize) -> bool;
    /// Sets a message aside for good among the dead letters, with the reason in one word and in full; returns when it is there.
    async fn bury(&mut self, at: usize, reason: &str, detail: &str) -> Result<(), QueueError>;
    /// The engine is away: gives back what can be handed out again, and tells whoever waits otherwise that nothing is known to be stored.
    fn fail(self: Box<Self>);
    /// Settles the batch, after it is on the bus.
    async fn ack(self: Box<Self>);
}

/// Room that a request to publish has taken from its app's rate.
#[derive(Debug)]
pub struct Admitted {
    quota: Quota,
    begun: Instant,
}

/// What came of a request to publish.
#[derive(Debug)]
pub struct Published {
    /// One result each, in order.
    pub results: Vec<Result<Receipt, Refusal>>,
    /// What is left of the app's rate.
    pub quota: Quota,
}

/// Publishes for REST and sockets alike.
#[derive(Clone)]
pub struct Publisher {
    /// The durable queue.
    pub intake: Arc<dyn Intake>,
    /// Where ephemeral messages go straight.
    pub bus: Arc<dyn Bus>,
    /// The app's rates.
    pub limits: Arc<dyn AppLimits>,
    /// What is revoked: who was let in a while ago, with a body that came slowly, may be cut off by now.
    pub enforcement: Arc<Enforcement>,
    /// The time of acceptance.
    pub clock: Arc<dyn Clock>,
    /// Takes note of what was accepted, for apps that keep a trace.
    pub recorder: Recorder,
}

impl Publisher {
    /// Publishes one message; the refusal is the message's own.
    pub async fn publish_one(&self, grant: &Grant, publish: NewPublish, ack: Ack) -> Result<(Receipt, Quota), Refusal> {
        let mut published = self.publish(grant, vec![Ok(publish)], ack).await?;
        let receipt = published.results.pop().unwrap_or_else(|| Err(Refusal::plain(ErrorCode::Internal)))?;
        Ok((receipt, published.quota))
    }

    /// Publishes messages in order. `Err` refuses them all: the app's rate is used up.
    pub async fn publish(
        &self,
        grant: &Grant,
        wanted: Vec<Result<NewPublish, Refusal>>,
        ack: Ack,
    ) -> Result<Published, Refusal> {
        let admitted = self.admit(grant, wanted.len()).await?;
        Ok(self.publish_admitted(grant, admitted, wanted, ack).await)
    }

    /// Takes from the app's rate for so many messages, before anybody reads them: what is refused is to cost next to nothing.
    pub async fn admit(&self, grant: &Grant, count: usize) -> Result<Admitted, Refusal> {
        let begun = Instant::now();
        self.enforcement.require_good(grant).await?;
        Ok(Admitted { quota: self.take_rate(grant, count)?, begun })
    }

    /// Publishes the messages that room was taken for, in order.
    pub async fn publish_admitted(
        &self,
        grant: &Grant,
        admitted: Admitted,
        mut wanted: Vec<Result<NewPublish, Refusal>>,
        ack: Ack,
    ) -> Published {
        let span = spans::begin(&grant.profile.app.id, &mut wanted);
        let published = self.publish_now(grant, admitted, wanted, ack).await;
        spans::end(span, &published);
        published
    }

    async fn publish_now(
        &self,
        grant: &Grant,
        Admitted { quota, begun }: Admitted,
        wanted: Vec<Result<NewPublish, Refusal>>,
        ack: Ack,
    ) -> Published {
        let now = self.clock.now();
        let mut results: Vec<Option<Result<Receipt, Refusal>>> = Vec::with_capacity(wanted.len());
        let (mut durable, mut durable_at, mut ephemeral) = (Vec::new(), Vec::new(), Vec::new());
        let is_traced = grant.profile.app.traced_since.is_some();
        let mut noted: Vec<Option<(ChannelName, bool)>> = Vec::new();
        for (at, publish) in wanted.into_iter().enumerate() {
            let draft = publish.and_then(|publish| drafts::draft(grant, publish, ack, now));
            if is_traced {
                noted.push(draft.as_ref().ok().map(drafts::Draft::channel));
            }
            match draft {
                Ok(drafts::Draft::Durable(accepted)) => {
                    durable_at.push(at);
                    durable.push(accepted);
                    results.push(None);
                }
                Ok(drafts::Draft::Ephemeral(envelope)) => {
                    results.push(Some(Ok(Receipt { id: envelope.message.id.clone(), place: None })));
                    ephemeral.push(envelope);
                }
                Err(refusal) => results.push(Some(Err(refusal))),
            }
        }
        self.send_ephemeral(ephemeral, &mut results).await;
        if !durable.is_empty() {
            for (at, answer) in durable_at.into_iter().zip(self.intake.submit(durable, ack).await) {
                results[at] = Some(answer.map_err(Refusal::from));
            }
        }
        let results: Vec<_> = results
            .into_iter()
            .map(|result| result.unwrap_or_else(|| Err(Refusal::plain(ErrorCode::Internal))))
            .collect();
        self.recorder.publish(grant, accepted(noted, &results));
        for result in &results {
            Metric::Publishes
                .add_labelled(result.as_ref().map_or_else(|refusal| refusal.code.name(), |_| "accepted"), 1);
        }
        Metric::PublishSeconds.observe(begun.elapsed());
        Published { results, quota }
    }

    /// Sends what a client says to the others straight to them, and takes from the app's rate. Whether it may say it was looked at before.
    pub async fn relay(&self, grant: &Grant, envelope: Envelope) -> Result<(), Refusal> {
        self.enforcement.require_good(grant).await?;
        self.take_rate(grant, 1)?;
        let sent = self.bus.send(vec![Broadcast::Message(Arc::new(envelope))]).await;
        let outcome = sent.map_err(|_| Refusal::plain(ErrorCode::Unavailable).retry_after(Duration::from_secs(1)));
        let counted = outcome.as_ref().map_or_else(|refusal| refusal.code.name(), |_| "accepted");
        Metric::Publishes.add_labelled(counted, 1);
        outcome.map(drop)
    }

    fn take_rate(&self, grant: &Grant, count: usize) -> Result<Quota, Refusal> {
        let count = NonZeroU32::new(count as u32)
            .ok_or_else(|| Refusal::new(ErrorCode::InvalidBody, "there is nothing to publish"))?;
        self.limits.publish(&grant.profile.app.id, &grant.profile.limits, count).map_err(|exceeded| {
            Metric::Publishes.add_labelled(ErrorCode::RateLimited.name(), u64::from(count.get()));
            let message = format!("the app may publish {} messages a second", exceeded.limit);
            Refusal::new(ErrorCode::RateLimited, message).retry_after(exceeded.retry_after)
        })
    }

    async fn send_ephemeral(&self, envelopes: Vec<Envelope>, results: &mut [Option<Result<Receipt, Refusal>>]) {
        if envelopes.is_empty() {
            return;
        }
        let ids: Vec<_> = envelopes.iter().map(|envelope| envelope.message.id.clone()).collect();
        let broadcasts = envelopes.into_iter().map(|envelope| Broadcast::Message(Arc::new(envelope))).collect();
        if self.bus.send(broadcasts).await.is_err() {
            for result in results.iter_mut() {
                if matches!(result, Some(Ok(receipt)) if ids.contains(&receipt.id)) {
                    *result = Some(Err(Refusal::plain(ErrorCode::Unavailable).retry_after(Duration::from_secs(1))));
                }
            }
        }
    }
}

/// Which messages of a request were accepted.
fn accepted(
    noted: Vec<Option<(ChannelName, bool)>>,
    results: &[Result<Receipt, Refusal>],
) -> impl Iterator<Item = (ChannelName, MessageId, bool)> {
    noted.into_iter().zip(results).filter_map(|(noted, result)| {
        let ((channel, is_ephemeral), receipt) = (noted?, result.as_ref().ok()?);
        Some((channel, receipt.id.clone(), is_ephemeral))
    })
}
