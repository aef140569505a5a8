//! Views: what those who watch a channel have been told of it, so that they are told each difference once, however it came to be known.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use fanfare_protocol::{ClientName, presence::PresenceAction};

use super::{Entry, Place, PresenceEvent, Snapshot};
use crate::{Timestamp, ids::ConnectionId};

/// For so long after everything was forgotten, nobody counts as gone who has only not been named again.
pub const SETTLING: Duration = Duration::from_secs(15);

/// What is known of a channel's members. It holds names and marks, not what members say of themselves.
#[derive(Debug, Default)]
pub struct View {
    version: u64,
    life: Option<u64>,
    is_read: bool,
    members: HashMap<ClientName, Seen>,
    /// Since when who is missing may only not have been named again.
    unsettled_since: Option<Timestamp>,
}

/// A member as it was told.
#[derive(Debug)]
struct Seen {
    connection: ConnectionId,
    /// Of its data and info.
    mark: u64,
}

/// What comes of an event.
#[derive(Debug)]
pub enum Outcome {
    /// It is told.
    Tell(Box<PresenceEvent>),
    /// It is no news.
    Known,
    /// Something before it was missed: the channel is to be read.
    Hole,
}

impl View {
    /// Whether the channel was ever read.
    pub fn is_read(&self) -> bool {
        self.is_read
    }

    /// The version up to which it is known.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether nobody is there.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Takes an event from the bus.
    pub fn take(&mut self, event: PresenceEvent) -> Outcome {
        if event.version <= self.version {
            return Outcome::Known;
        }
        if event.version != self.version + 1 {
            return Outcome::Hole;
        }
        self.version = event.version;
        self.tell(event).map_or(Outcome::Known, |event| Outcome::Tell(Box::new(event)))
    }

    /// Takes the whole channel as it was read; the differences as events, and how soon it is to be read again, if it is.
    pub fn replace(
        &mut self,
        place: &Place,
        snapshot: Snapshot,
        now: Timestamp,
    ) -> (Vec<PresenceEvent>, Option<Duration>) {
        let life = snapshot.life.map(|life| life.number);
        let is_young = snapshot.life.is_none_or(|life| life.age < SETTLING);
        if is_young && (self.life != life || !self.is_read) {
            self.unsettled_since = Some(now);
        }
        (self.life, self.is_read) = (life, true);
        let left = self.unsettled_since.map(|since| SETTLING.saturating_sub(now.since(since)));
        let is_settled = left.is_none_or(|left| left.is_zero());
        let again = left.filter(|_| !is_settled);
        let mut events = Vec::new();
        if is_settled {
            self.unsettled_since = None;
            events.extend(self.missing(place, &snapshot, now));
        }
        for member in snapshot.members {
            let (action, time) = match self.members.contains_key(&member.entry.client) {
                true => (PresenceAction::Update, now),
                false => (PresenceAction::Enter, member.since),
            };
            let is_news = self.members.get(&member.entry.client).is_none_or(|seen| seen.mark != mark(&member.entry));
            let version = snapshot.version;
            let event = PresenceEvent { place: place.clone(), version, action, entry: member.entry, time };
            if is_news {
                events.extend(self.tell(event));
            }
        }
        self.version = snapshot.version;
        (events, again)
    }

    /// Those who are not there any more.
    fn missing(&mut self, place: &Place, snapshot: &Snapshot, now: Timestamp) -> Vec<PresenceEvent> {
        let there: HashSet<_> = snapshot.members.iter().map(|member| &member.entry.client).collect();
        let gone = self.members.keys().filter(|client| !there.contains(client)).cloned().collect::<Vec<_>>();
        let leave = |client: ClientName| {
            let connection = self.members.remove(&client)?.connection;
            let entry = Entry { connection, client, data: None, info: None };
            let (place, action) = (place.clone(), PresenceAction::Leave);
            Some(PresenceEvent { place, version: snapshot.version, action, entry, time: now })
        };
        gone.into_iter().filter_map(leave).collect()
    }

    /// The event as it is news to those who watch, if it is.
    fn tell(&mut self, mut event: PresenceEvent) -> Option<PresenceEvent> {
        let Entry { client, connection, .. } = &event.entry;
        if event.action == PresenceAction::Leave {
            return self.members.remove(client).map(|_| event);
        }
        let seen = Seen { connection: connection.clone(), mark: mark(&event.entry) };
        let mark = seen.mark;
        match self.members.insert(client.clone(), seen) {
            None => event.action = PresenceAction::Enter,
            Some(before) if event.action == PresenceAction::Enter && before.mark == mark => return None,
            Some(_) => event.action = PresenceAction::Update,
        }
        Some(event)
    }
}

/// A mark by which one sees that a member says something else.
fn mark(entry: &Entry) -> u64 {
    let mut hasher = DefaultHasher::new();
    for part in [&entry.data, &entry.info] {
        part.as_ref().map(|value| value.get()).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests;
