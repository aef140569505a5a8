//! When channels are looked at, and what is told of what is seen there: a machine without a clock.
//!
//! What is there is told at once. What is gone is held for a while, whether its client left or its connection broke, and if it is back by then neither
//! is told. Nothing that is held needs to outlive this machine: whoever looks for what is gone without a note finds it again.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use fanfare_protocol::ClientName;

use super::{Change, has_members};
use crate::{Timestamp, presence::Place};

/// How long what is gone is held.
pub const HOLD: Duration = Duration::from_secs(3);
/// How soon a channel is looked at after a note: other nodes' counts take milliseconds to be told.
const SOON: Duration = Duration::from_millis(50);
/// And again, in case they took longer.
const SETTLED: Duration = Duration::from_secs(1);
/// And a channel with members again, since a client whose connection broke has a moment to come back before it leaves.
const GRACE_OVER: Duration = Duration::from_millis(5_500);
/// Above so many subscribers, changes of their number are told only so often.
const CROWD: u64 = 100;
const CROWD_PAUSE: Duration = Duration::from_secs(5);
/// Channels that are kept an eye on at most; of more, those that look for what was missed take care.
const MOST: usize = 100_000;

/// What the machine is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// Subscriptions of a channel, or members, may have changed.
    Noted(Place),
    /// A channel was looked at.
    Looked {
        /// The channel.
        place: Place,
        /// What is.
        seen: Seen,
        /// What was told.
        known: Known,
        /// What its app wants to be told.
        wishes: Wishes,
    },
    /// A channel could not be looked at, or what was to be told of it could not be put down.
    Failed(Place),
    /// Time has passed.
    Tick,
}

/// What is the case in a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// How many subscribers it has.
    pub subscribers: u64,
    /// Its members.
    pub members: BTreeSet<ClientName>,
}

/// What was told of a channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// How many subscribers it was told to have last; `None` if it was told to be vacant, or nothing.
    pub subscribers: Option<u64>,
    /// The members that it was told to have.
    pub members: BTreeSet<ClientName>,
}

/// What an app's webhooks are told of who is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Whether channels are occupied.
    pub occupancy: bool,
    /// Who their members are.
    pub members: bool,
    /// How many subscribers they have.
    pub counts: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Look at a channel.
    Look(Place),
    /// Tell of a change.
    Tell(Place, Change),
}

#[derive(Debug, Default)]
struct Eye {
    /// When it is looked at.
    looks: BTreeSet<Timestamp>,
    /// Since when it has no subscribers.
    vacant_since: Option<Timestamp>,
    /// Since when its members are gone.
    gone_since: HashMap<ClientName, Timestamp>,
    /// When a crowd's number was told last.
    counted_at: Option<Timestamp>,
}

/// The machine.
#[derive(Debug, Default)]
pub struct Holder {
    eyes: HashMap<Place, Eye>,
    due: BTreeSet<(Timestamp, Place)>,
}

impl Holder {
    /// Takes an input.
    pub fn apply(&mut self, input: Input, now: Timestamp) -> Vec<Effect> {
        match input {
            Input::Noted(place) => self.noted(place, now),
            Input::Looked { place, seen, known, wishes } => return self.looked(place, seen, known, wishes, now),
            Input::Failed(place) => self.look_at(&place, now.after(SETTLED)),
            Input::Tick => return self.tick(now),
        }
        Vec::new()
    }

    /// When it wants to be told the time.
    pub fn next(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// How many channels it keeps an eye on.
    pub fn len(&self) -> usize {
        self.eyes.len()
    }

    /// Whether it keeps an eye on none.
    pub fn is_empty(&self) -> bool {
        self.eyes.is_empty()
    }

    fn noted(&mut self, place: Place, now: Timestamp) {
        if place.channel.is_of_service() || (self.eyes.len() >= MOST && !self.eyes.contains_key(&place)) {
            return;
        }
        let is_soon = self.eyes.get(&place).and_then(|eye| eye.looks.first()).is_some_and(|at| *at <= now.after(SOON));
        if !is_soon {
            self.look_at(&place, now.after(SOON));
        }
        // Rounded, so that a busy channel does not collect a look for each note.
        self.look_at(&place, rounded(now.after(SETTLED)));
        if has_members(&place.channel) {
            self.look_at(&place, rounded(now.after(GRACE_OVER)));
        }
    }

    fn look_at(&mut self, place: &Place, at: Timestamp) {
        let eye = self.eyes.entry(place.clone()).or_default();
        if eye.looks.insert(at) {
            self.due.insert((at, place.clone()));
        }
    }

    fn tick(&mut self, now: Timestamp) -> Vec<Effect> {
        let mut places = HashSet::new();
        let mut effects = Vec::new();
        while let Some((at, place)) = self.due.first().cloned().filter(|(at, _)| *at <= now) {
            self.due.pop_first();
            if let Some(eye) = self.eyes.get_mut(&place) {
                eye.looks.remove(&at);
            }
            if places.insert(place.clone()) {
                effects.push(Effect::Look(place));
            }
        }
        effects
    }

    fn looked(&mut self, place: Place, seen: Seen, known: Known, wishes: Wishes, now: Timestamp) -> Vec<Effect> {
        let eye = self.eyes.entry(place.clone()).or_default();
        let mut later = BTreeSet::new();
        let mut changes = Vec::new();
        let is_told = known.subscribers.is_some();
        if (wishes.occupancy || wishes.counts) && seen.subscribers > 0 && !is_told {
            changes.push(Change::Occupied);
        }
        if wishes.members {
            let added = seen.members.difference(&known.members).cloned();
            changes.extend(added.map(Change::Added));
        }
        let counted = known.subscribers.unwrap_or(0);
        if wishes.counts && !has_members(&place.channel) && counted != seen.subscribers {
            let is_crowd = counted.max(seen.subscribers) > CROWD;
            match eye.counted_at.map(|at| at.after(CROWD_PAUSE)).filter(|until| is_crowd && *until > now) {
                Some(until) => _ = later.insert(until),
                None => {
                    eye.counted_at = is_crowd.then_some(now);
                    changes.push(Change::Counted { from: counted, to: seen.subscribers });
                }
            }
        }
        let gone: HashSet<&ClientName> = known.members.difference(&seen.members).filter(|_| wishes.members).collect();
        eye.gone_since.retain(|member, _| gone.contains(member));
        let mut gone: Vec<_> = gone.into_iter().collect();
        gone.sort();
        for member in gone {
            let since = *eye.gone_since.entry(member.clone()).or_insert(now);
            if now.since(since) >= HOLD {
                eye.gone_since.remove(member);
                changes.push(Change::Removed(member.clone()));
            } else {
                later.insert(since.after(HOLD));
            }
        }
        if is_told && seen.subscribers == 0 {
            let since = *eye.vacant_since.get_or_insert(now);
            if now.since(since) >= HOLD {
                eye.vacant_since = None;
                changes.push(Change::Vacated);
            } else {
                later.insert(since.after(HOLD));
            }
        } else {
            eye.vacant_since = None;
        }
        let is_counted_lately = eye.counted_at.is_some_and(|at| at.after(CROWD_PAUSE) > now);
        if is_counted_lately {
            later.extend(eye.counted_at.map(|at| at.after(CROWD_PAUSE)));
        }
        for at in later {
            self.look_at(&place, at);
        }
        let is_idle = |eye: &Eye| eye.looks.is_empty() && eye.vacant_since.is_none() && eye.gone_since.is_empty();
        if self.eyes.get(&place).is_some_and(is_idle) {
            self.eyes.remove(&place);
        }
        changes.into_iter().map(|change| Effect::Tell(place.clone(), change)).collect()
    }
}

/// Up to the next half second.
fn rounded(at: Timestamp) -> Timestamp {
    Timestamp(at.0.div_ceil(500) * 500)
}

#[cfg(test)]
mod tests;
