//! A batch of messages of one partition, and its requests.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use fanfare_domain::{
    history::Appended,
    publishing::{Accepted, Batch, QueueError},
};
use lapin::Acker;
use tokio::runtime::Handle;

use super::{
    dead_letters::{self, Cause},
    publishing::Publishing,
    taking::Taking,
};
use crate::envelopes::{answered, queued};

/// Where an answer goes, and what it is known by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReplyTo {
    pub queue: String,
    pub correlation: String,
}

/// Whole messages of the queue, each with the messages of one request. Dropped without an ack, they go back to the queue, and nothing that
/// came after them is handed out before them.
pub(super) struct RabbitBatch {
    taking: Arc<Taking>,
    publishing: Arc<Publishing>,
    messages: Vec<Accepted>,
    /// The requests that somebody waits for, by their messages.
    awaited: Vec<(Range<usize>, ReplyTo)>,
    /// Of the last message; an ack of it covers all before it.
    last: Acker,
    /// How many messages of the queue it has.
    handed_out: usize,
    settled: bool,
}

impl RabbitBatch {
    /// A batch that counts as in hand already.
    pub fn new(taking: Arc<Taking>, publishing: Arc<Publishing>, last: Acker) -> Self {
        Self { taking, publishing, messages: Vec::new(), awaited: Vec::new(), last, handed_out: 0, settled: false }
    }

    /// Adds the next message of the queue.
    pub fn push(&mut self, messages: Vec<Accepted>, reply_to: Option<ReplyTo>, acker: Acker) {
        let begin = self.messages.len();
        self.messages.extend(messages);
        self.awaited.extend(reply_to.map(|reply_to| (begin..self.messages.len(), reply_to)));
        self.cover(acker);
    }

    /// Lets the ack cover a message that holds nothing.
    pub fn cover(&mut self, acker: Acker) {
        self.last = acker;
        self.handed_out += 1;
    }

    pub fn len(&self) -> usize {
        self.messages.len()
    }
}

#[async_trait]
impl Batch for RabbitBatch {
    fn messages(&self) -> &[Accepted] {
        &self.messages
    }

    fn answer(&mut self, outcomes: &[Appended]) {
        for (range, reply_to) in &self.awaited {
            if let Some(outcomes) = outcomes.get(range.clone()) {
                let ReplyTo { queue, correlation } = reply_to.clone();
                self.publishing.post(queue, correlation, answered::encode(outcomes));
            }
        }
    }

    fn is_awaited(&self, at: usize) -> bool {
        self.awaited.iter().any(|(range, _)| range.contains(&at))
    }

    async fn bury(&mut self, at: usize, reason: &str, detail: &str) -> Result<(), QueueError> {
        let body = queued::encode(&self.messages[at..=at]);
        let cause = Cause { reason, detail: Some(detail), partition: self.taking.partition };
        dead_letters::bury(&self.publishing, cause, body, None).await
    }

    fn fail(self: Box<Self>) {}

    async fn ack(mut self: Box<Self>) {
        self.taking.ack(self.last.clone(), self.handed_out).await;
        self.settled = true;
        self.taking.take_back();
        self.taking.close_when_idle().await;
    }
}

impl Drop for RabbitBatch {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        self.taking.end();
        self.taking.take_back();
        let taking = self.taking.clone();
        // Without a runtime the process ends, and its connections with it.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { taking.close_when_idle().await });
        }
    }
}
