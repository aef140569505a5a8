//! What waits, by app: each app's messages in their order, and apps in turn.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use fanfare_domain::{ids::AppId, publishing::Accepted};

use super::{QueueBounds, waiters::Waiter};

/// For how long after two apps have published each has only its share of a batch.
const SHARED_FOR: Duration = Duration::from_secs(1);

/// A message that waits.
pub(super) struct Entry {
    pub(super) accepted: Accepted,
    pub(super) bytes: usize,
    pub(super) waiter: Waiter,
}

/// All that waits.
#[derive(Default)]
pub(super) struct Waiting {
    /// Never empty ones.
    by_app: HashMap<AppId, VecDeque<Entry>>,
    /// The apps of whom something waits, each once; the first has the next turn.
    turns: VecDeque<AppId>,
    last: Option<AppId>,
    shared_until: Option<Instant>,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Adds messages behind those of their apps.
    pub(super) fn extend(&mut self, entries: impl Iterator<Item = Entry>, now: Instant) {
        for entry in entries {
            let app = &entry.accepted.app;
            if self.last.as_ref() != Some(app) && self.last.replace(app.clone()).is_some() {
                self.shared_until = Some(now + SHARED_FOR);
            }
            if !self.by_app.contains_key(app) {
                self.turns.push_back(app.clone());
            }
            self.by_app.entry(app.clone()).or_default().push_back(entry);
        }
    }

    /// The next batch: up to its bounds, but at least one message.
    pub(super) fn take(&mut self, bounds: &QueueBounds, now: Instant) -> Vec<Entry> {
        let is_shared = self.turns.len() > 1 || self.shared_until.is_some_and(|until| now < until);
        let share = if is_shared { bounds.share_messages } else { bounds.batch_messages };
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for _ in 0..self.turns.len() {
            let Some(app) = self.turns.pop_front() else { break };
            let Some(queue) = self.by_app.get_mut(&app) else { continue };
            let mut taken = 0;
            while let Some(entry) = queue.pop_front_if(|entry| {
                let fits = batch.len() < bounds.batch_messages && bytes + entry.bytes <= bounds.batch_bytes;
                batch.is_empty() || (taken < share && fits)
            }) {
                taken += 1;
                bytes += entry.bytes;
                batch.push(entry);
            }
            match (queue.is_empty(), taken) {
                (true, _) => drop(self.by_app.remove(&app)),
                // There was no room for anything of it: its turn is the next.
                (false, 0) => self.turns.push_front(app),
                (false, _) => self.turns.push_back(app),
            }
            if taken == 0 {
                break;
            }
        }
        batch
    }
}
