//! A partition's queue, as its owner sees it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use fanfare_domain::{
    metrics::Metric,
    publishing::{Accepted, Batch, Queue, QueueError},
};
use futures::{FutureExt, StreamExt};
use lapin::{Acker, BasicProperties, Consumer, message::Delivery, options::BasicAckOptions};
use tokio::{runtime::Handle, sync::Mutex, time::timeout};
use tracing::{error, warn};

use super::{
    batches::{RabbitBatch, ReplyTo},
    connections::within,
    consuming::PREFETCH,
    dead_letters::{self, Cause},
    publishing::Publishing,
    taking::Taking,
};
use crate::envelopes::{EnvelopeError, queued};

/// A batch ends at about this many messages.
const BATCH_MESSAGES: usize = 1_000;
/// A batch ends at about this many bytes.
const BATCH_BYTES: usize = 1024 * 1024;

/// Takes from one queue. Batches are to be settled one after the other.
pub(super) struct RabbitQueue {
    taking: Arc<Taking>,
    publishing: Arc<Publishing>,
    reader: Mutex<Reader>,
}

/// What the broker hands out, opened.
struct Reader {
    consumer: Consumer,
    /// Looked at, and not done with yet.
    ahead: Option<Taken>,
    delivered: u64,
}

enum Taken {
    Request { messages: Vec<Accepted>, bytes: usize, reply_to: Option<ReplyTo>, acker: Acker },
    Canary(Acker),
    Malformed { delivery: Box<Delivery>, problem: String },
    Newer(u32),
    Ended,
}

impl RabbitQueue {
    pub fn new(taking: Arc<Taking>, publishing: Arc<Publishing>, consumer: Consumer) -> Self {
        let reader = Mutex::new(Reader { consumer, ahead: None, delivered: 0 });
        Self { taking, publishing, reader }
    }

    pub fn taking(&self) -> &Arc<Taking> {
        &self.taking
    }

    /// Looks at the first message, which must be one that this build can read; one that does not come in time is looked at later.
    pub async fn look_ahead(&self, patience: Duration) -> Result<(), QueueError> {
        let mut reader = self.reader.lock().await;
        if let Ok(Taken::Newer(version)) = timeout(patience, reader.peek()).await {
            let version = *version;
            drop(reader);
            self.stop_before(version).await;
            return Err(QueueError::Newer);
        }
        Ok(())
    }

    /// Leaves a message of a newer version where it is.
    async fn stop_before(&self, version: u32) {
        error!(
            partition = self.taking.partition,
            version,
            "A message in the queue was written by a newer Fanfare, and waits there; upgrade this worker, or stop it and let newer ones take over"
        );
        self.close().await;
    }

    /// Sets a message aside that nobody can read; `false` if it could not be.
    async fn bury(&self, delivery: &Delivery, problem: &str) -> bool {
        let cause = Cause { reason: "malformed", detail: Some(problem), partition: self.taking.partition };
        let buried =
            dead_letters::bury(&self.publishing, cause, delivery.data.clone(), Some(&delivery.properties)).await;
        match buried {
            Ok(()) => {
                error!(
                    partition = self.taking.partition,
                    problem, "A message of the queue cannot be read; it was set aside"
                );
                Metric::DeadLetters.add_labelled("malformed", 1);
                true
            }
            Err(failure) => {
                warn!(partition = self.taking.partition, error = %failure, "A message could not be set aside");
                false
            }
        }
    }

    /// What is there now, behind a first request.
    fn gather(&self, reader: &mut Reader) -> Option<Box<dyn Batch>> {
        let mut batch: Option<RabbitBatch> = None;
        let mut size = 0;
        loop {
            let fits = |more: usize, bytes: usize| {
                batch.as_ref().is_none_or(|batch| batch.len() + more <= BATCH_MESSAGES && size + bytes <= BATCH_BYTES)
            };
            match reader.peek().now_or_never() {
                Some(Taken::Request { messages, bytes, .. }) if fits(messages.len(), *bytes) => size += *bytes,
                Some(Taken::Canary(_)) if batch.is_some() => {}
                _ => break,
            }
            match (reader.ahead.take(), &mut batch) {
                (Some(Taken::Request { messages, reply_to, acker, .. }), batch) => {
                    if batch.is_none() && !self.taking.hand_out() {
                        return None;
                    }
                    let new = || RabbitBatch::new(self.taking.clone(), self.publishing.clone(), acker.clone());
                    batch.get_or_insert_with(new).push(messages, reply_to, acker);
                }
                (Some(Taken::Canary(acker)), Some(batch)) => batch.cover(acker),
                _ => {}
            }
        }
        batch.map(|batch| Box::new(batch) as Box<dyn Batch>)
    }
}

#[async_trait]
impl Queue for RabbitQueue {
    async fn next(&self) -> Option<Box<dyn Batch>> {
        let mut reader = self.reader.lock().await;
        loop {
            let next = tokio::select! {
                biased;
                () = self.taking.ended() => break,
                next = reader.peek() => next,
            };
            let alone = match next {
                Taken::Request { .. } => return self.gather(&mut reader),
                Taken::Canary(acker) => acker.clone(),
                Taken::Malformed { delivery, problem } => {
                    if !self.bury(delivery, problem).await {
                        break;
                    }
                    delivery.acker.clone()
                }
                Taken::Newer(version) => {
                    let version = *version;
                    drop(reader);
                    self.stop_before(version).await;
                    return None;
                }
                Taken::Ended => break,
            };
            reader.ahead = None;
            // If this is lost, it comes again.
            if within(alone.ack(BasicAckOptions::default())).await.is_err() {
                break;
            }
        }
        drop(reader);
        self.close().await;
        None
    }

    async fn close(&self) {
        self.taking.end();
        self.taking.close_when_idle().await;
    }
}

impl Drop for RabbitQueue {
    /// Nobody takes from it any more, so nobody may be kept from it.
    fn drop(&mut self) {
        self.taking.end();
        if let Ok(runtime) = Handle::try_current() {
            let taking = Arc::clone(&self.taking);
            runtime.spawn(async move { taking.close_when_idle().await });
        }
    }
}

impl Reader {
    /// What comes next; it stays until it is taken.
    async fn peek(&mut self) -> &Taken {
        if self.ahead.is_none() {
            let next = match self.consumer.next().await {
                Some(Ok(delivery)) => self.open(delivery),
                Some(Err(_)) | None => Taken::Ended,
            };
            self.ahead = Some(next);
        }
        self.ahead.as_ref().expect("it was put there")
    }

    fn open(&mut self, delivery: Delivery) -> Taken {
        // The first ones may have been handed to another consumer before, and stored, even where the broker has forgotten it.
        let redelivered = delivery.redelivered
            || self.delivered < u64::from(PREFETCH)
            || dead_letters::is_replayed(&delivery.properties);
        self.delivered += 1;
        match queued::decode(&delivery.data) {
            Ok(messages) if messages.is_empty() => Taken::Canary(delivery.acker),
            Ok(mut messages) => {
                messages.iter_mut().for_each(|accepted| accepted.redelivered = redelivered);
                let reply_to = reply_to(&delivery.properties);
                Taken::Request { messages, bytes: delivery.data.len(), reply_to, acker: delivery.acker }
            }
            Err(EnvelopeError::Newer(version)) => Taken::Newer(version),
            Err(EnvelopeError::Malformed(problem)) => Taken::Malformed { delivery: Box::new(delivery), problem },
        }
    }
}

fn reply_to(properties: &BasicProperties) -> Option<ReplyTo> {
    let (queue, correlation) = (properties.reply_to().as_ref()?, properties.correlation_id().as_ref()?);
    Some(ReplyTo { queue: queue.to_string(), correlation: correlation.to_string() })
}
