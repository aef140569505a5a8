//! The queue of a single process: a publish waits here until the append that takes it is on disk.
//!
//! A batch is one commit, and whoever publishes alone waits for the commit that is under way. So while several apps publish, each has only its share
//! of a batch, and apps take turns; an app that is alone fills the batch.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use async_trait::async_trait;
use fanfare_domain::{
    history::Appended,
    publishing::{Accepted, Batch, Intake, IntakeError, Queue, QueueError, Receipt},
};
use fanfare_protocol::requests::Ack;
use tokio::sync::Notify;

use waiting::{Entry, Waiting};

mod waiters;
mod waiting;

/// What a message costs beside its own bytes.
const OVERHEAD_BYTES: usize = 512;

/// How much may wait, and how much is taken at once.
#[derive(Debug, Clone)]
pub struct QueueBounds {
    /// Bytes of all messages that are not settled yet.
    pub bytes: usize,
    /// Messages that are not settled yet.
    pub messages: usize,
    /// The most messages of one batch.
    pub batch_messages: usize,
    /// A batch ends at this many bytes.
    pub batch_bytes: usize,
    /// The most messages of one app in a batch, while others publish too.
    pub share_messages: usize,
}

impl Default for QueueBounds {
    fn default() -> Self {
        Self {
            bytes: 64 * 1024 * 1024,
            messages: 100_000,
            batch_messages: 1_000,
            batch_bytes: 4 * 1024 * 1024,
            share_messages: 32,
        }
    }
}

/// A bounded queue in memory. `submit` answers when the batch is answered, so nothing is accepted before it is on disk.
#[derive(Clone, Default)]
pub struct MemoryQueue(Arc<Shared>);

#[derive(Default)]
struct Shared {
    bounds: QueueBounds,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    waiting: Waiting,
    /// Of what waits and of what was taken and is not settled.
    bytes: usize,
    messages: usize,
    closed: bool,
}

impl MemoryQueue {
    /// A queue of those bounds.
    pub fn new(bounds: QueueBounds) -> Self {
        Self(Arc::new(Shared { bounds, ..Shared::default() }))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next batch of what waits.
    fn take(self: &Arc<Self>, state: &mut State) -> MemoryBatch {
        let mut batch = MemoryBatch { queue: self.clone(), messages: Vec::new(), waiters: Vec::new(), bytes: 0 };
        for entry in state.waiting.take(&self.bounds, Instant::now()) {
            batch.bytes += entry.bytes;
            batch.messages.push(entry.accepted);
            batch.waiters.push(entry.waiter);
        }
        batch
    }
}

#[async_trait]
impl Intake for MemoryQueue {
    async fn submit(&self, messages: Vec<Accepted>, ack: Ack) -> Vec<Result<Receipt, IntakeError>> {
        let count = messages.len();
        let sizes: Vec<usize> = messages.iter().map(size_bytes).collect();
        let bytes: usize = sizes.iter().sum();
        let answers = {
            let mut state = self.0.lock();
            let bounds = &self.0.bounds;
            if state.closed || state.bytes + bytes > bounds.bytes || state.messages + count > bounds.messages {
                return vec![Err(IntakeError::Full); count];
            }
            state.bytes += bytes;
            state.messages += count;
            let ids = messages.iter().map(|accepted| accepted.message.id.clone()).collect();
            let (waiters, answers) = waiters::waiters(ids, ack);
            let entries = messages.into_iter().zip(sizes).zip(waiters);
            let entries = entries.map(|((accepted, bytes), waiter)| Entry { accepted, bytes, waiter });
            state.waiting.extend(entries, Instant::now());
            answers
        };
        self.0.changed.notify_one();
        answers.all().await
    }

    async fn probe(&self) -> Result<(), IntakeError> {
        if self.0.lock().closed { Err(IntakeError::Unavailable) } else { Ok(()) }
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn next(&self) -> Option<Box<dyn Batch>> {
        loop {
            let changed = self.0.changed.notified();
            {
                let mut state = self.0.lock();
                if !state.waiting.is_empty() {
                    return Some(Box::new(self.0.take(&mut state)));
                }
                if state.closed {
                    return None;
                }
            }
            changed.await;
        }
    }

    /// Refuses what comes from now on; what waits is still handed out, and then `next` gives `None`.
    async fn close(&self) {
        self.0.lock().closed = true;
        self.0.changed.notify_waiters();
        self.0.changed.notify_one();
    }
}

/// Dropped in any way, it gives its room back, and whoever still waits is told that the outcome is not known.
struct MemoryBatch {
    queue: Arc<Shared>,
    messages: Vec<Accepted>,
    waiters: Vec<waiters::Waiter>,
    bytes: usize,
}

#[async_trait]
impl Batch for MemoryBatch {
    fn messages(&self) -> &[Accepted] {
        &self.messages
    }

    fn answer(&mut self, outcomes: &[Appended]) {
        for (waiter, outcome) in self.waiters.drain(..).zip(outcomes) {
            waiter.answer(outcome);
        }
    }

    fn is_awaited(&self, _: usize) -> bool {
        true
    }

    /// Nothing was accepted yet, so there is nothing to set aside: whoever waits is told that it is not known to be stored.
    async fn bury(&mut self, at: usize, reason: &str, detail: &str) -> Result<(), QueueError> {
        let id = &self.messages[at].message.id;
        tracing::error!(message = %id, reason, detail, "A message could not be stored, and was not accepted");
        Ok(())
    }

    fn fail(self: Box<Self>) {}

    async fn ack(self: Box<Self>) {}
}

impl Drop for MemoryBatch {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.bytes -= self.bytes;
        state.messages -= self.messages.len();
    }
}

fn size_bytes(accepted: &Accepted) -> usize {
    let headers = accepted.message.headers.iter().flatten().map(|(name, value)| name.len() + value.len());
    OVERHEAD_BYTES + accepted.message.data.get().len() + headers.sum::<usize>()
}
