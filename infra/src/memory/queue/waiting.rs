//! What waits, by app: each app's messages in their order, and apps in turn.
//!
//! Whoever publishes a message at a time waits for the commit that is under way. So that this is seldom one of another app's bulk, bulk rides with the
//! commits of those who publish so: while they do, it waits for their next message, for a moment.

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use fanfare_domain::{ids::AppId, publishing::Accepted};

use super::{QueueBounds, waiters::Waiter};

/// For how long after two apps have published each has only its share of a batch.
const SHARED_FOR: Duration = Duration::from_secs(1);
/// An app of which more waits than this has bulk, until all of that is taken.
const FEW: usize = 8;
/// How long after another app's few messages its next ones are waited for.
const COMPANY: Duration = Duration::from_millis(25);
/// What has waited for so long waits for nobody any more.
const LONGEST: Duration = Duration::from_millis(200);

/// A message that waits.
pub(super) struct Entry {
    pub(super) accepted: Accepted,
    pub(super) bytes: usize,
    pub(super) waiter: Waiter,
    /// Since when it waits.
    pub(super) since: Instant,
}

/// All that waits.
#[derive(Default)]
pub(super) struct Waiting {
    /// Never empty ones.
    by_app: HashMap<AppId, Line>,
    /// The apps of whom something waits, each once; the first has the next turn.
    turns: VecDeque<AppId>,
    last: Option<AppId>,
    shared_until: Option<Instant>,
    /// Who published few messages last, and when.
    few: Option<(AppId, Instant)>,
}

/// What waits of one app.
#[derive(Default)]
struct Line {
    entries: VecDeque<Entry>,
    is_bulk: bool,
}

impl Waiting {
    /// Adds messages of one submission behind those of their apps.
    pub(super) fn extend(&mut self, entries: impl Iterator<Item = Entry>, now: Instant) {
        for entry in entries {
            let app = &entry.accepted.app;
            if self.last.as_ref() != Some(app) && self.last.replace(app.clone()).is_some() {
                self.shared_until = Some(now + SHARED_FOR);
            }
            if !self.by_app.contains_key(app) {
                self.turns.push_back(app.clone());
            }
            let line = self.by_app.entry(app.clone()).or_default();
            line.entries.push_back(entry);
            line.is_bulk |= line.entries.len() > FEW;
        }
        if let Some(app) = self.last.as_ref().filter(|app| self.by_app.get(app).is_some_and(|line| !line.is_bulk)) {
            self.few = Some((app.clone(), now));
        }
    }

    /// When the next batch is to be taken, unless something comes before; `None` while nothing waits.
    pub(super) fn due(&self, now: Instant) -> Option<Instant> {
        let mut lines = self.by_app.values();
        let oldest = lines.clone().filter_map(|line| line.entries.front()).map(|entry| entry.since).min()?;
        let Some((few, at)) = &self.few else { return Some(now) };
        let waits = lines.all(|line| line.is_bulk) && !self.by_app.contains_key(few);
        Some(if waits { (*at + COMPANY).min(oldest + LONGEST) } else { now })
    }

    /// The next batch: up to its bounds, but at least one message.
    pub(super) fn take(&mut self, bounds: &QueueBounds, now: Instant) -> Vec<Entry> {
        let is_shared = self.turns.len() > 1 || self.shared_until.is_some_and(|until| now < until);
        let share = if is_shared { bounds.share_messages } else { bounds.batch_messages };
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for _ in 0..self.turns.len() {
            let Some(app) = self.turns.pop_front() else { break };
            let Some(line) = self.by_app.get_mut(&app) else { continue };
            let mut taken = 0;
            while let Some(entry) = line.entries.pop_front_if(|entry| {
                let fits = batch.len() < bounds.batch_messages && bytes + entry.bytes <= bounds.batch_bytes;
                batch.is_empty() || (taken < share && fits)
            }) {
                taken += 1;
                bytes += entry.bytes;
                batch.push(entry);
            }
            match (line.entries.is_empty(), taken) {
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

#[cfg(test)]
mod tests;
