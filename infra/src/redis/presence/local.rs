//! What this node's connections have entered, and what of it is in doubt.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use fanfare_domain::{
    ids::ConnectionId,
    presence::{Entry, Place},
};

/// The state of this node.
#[derive(Default)]
pub(super) struct Local {
    places: HashMap<Place, HashMap<ConnectionId, Session>>,
    by_connection: HashMap<ConnectionId, HashSet<Place>>,
    /// Channels of which the registry knows that this tenure may have sessions there.
    pub noted: HashSet<Place>,
    /// Channels where Redis may have something else than this node.
    pub doubted: HashSet<Place>,
    /// Channels on which a task waits for the next one that does not come back.
    pub swept: HashSet<Place>,
    /// Tenures that are over, whose sessions are to be taken out where the new one has named them again.
    pub former: Vec<Arc<str>>,
}

/// A connection in a channel, with what it said last.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub entry: Entry,
    /// When its client entered, by the clock of Redis in milliseconds.
    pub since: u64,
    /// When it said what it said.
    pub said: u64,
}

impl Local {
    pub fn has(&self, place: &Place, connection: &ConnectionId) -> bool {
        self.places.get(place).is_some_and(|sessions| sessions.contains_key(connection))
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// A connection begins to enter; what it had said before, if it was there.
    pub fn begin(&mut self, place: &Place, entry: &Entry) -> Option<Session> {
        let sessions = self.places.entry(place.clone()).or_default();
        let before = sessions.get(&entry.connection).cloned();
        if before.is_none() {
            sessions.insert(entry.connection.clone(), Session { entry: entry.clone(), since: 0, said: 0 });
            self.by_connection.entry(entry.connection.clone()).or_default().insert(place.clone());
        }
        before
    }

    /// It has not entered: what was before stands.
    pub fn undo(&mut self, place: &Place, connection: &ConnectionId, before: Option<Session>) {
        if before.is_none() {
            self.remove(place, connection);
        }
    }

    /// It has entered or was updated; whether it is still wanted.
    pub fn confirm(&mut self, place: &Place, entry: Entry, said: u64, since: u64) -> bool {
        let found = self.places.get_mut(place).and_then(|sessions| sessions.get_mut(&entry.connection));
        let is_wanted = found.is_some();
        if let Some(session) = found {
            *session = Session { entry, since, said };
        }
        is_wanted
    }

    /// A connection is no longer in a channel; whether it was.
    pub fn remove(&mut self, place: &Place, connection: &ConnectionId) -> bool {
        let Some(sessions) = self.places.get_mut(place) else { return false };
        let was_there = sessions.remove(connection).is_some();
        if sessions.is_empty() {
            self.places.remove(place);
        }
        if let Some(places) = self.by_connection.get_mut(connection) {
            places.remove(place);
            if places.is_empty() {
                self.by_connection.remove(connection);
            }
        }
        was_there
    }

    /// A connection is nowhere any more; where it was.
    pub fn remove_all(&mut self, connection: &ConnectionId) -> Vec<Place> {
        let places: Vec<_> = self.by_connection.get(connection).into_iter().flatten().cloned().collect();
        places.iter().for_each(|place| _ = self.remove(place, connection));
        places
    }

    /// The sessions in a channel.
    pub fn sessions(&self, place: &Place) -> Vec<Session> {
        self.places.get(place).into_iter().flat_map(HashMap::values).cloned().collect()
    }

    /// Every channel with how many sessions are there.
    pub fn counts(&self) -> Vec<(Place, usize)> {
        self.places.iter().map(|(place, sessions)| (place.clone(), sessions.len())).collect()
    }

    /// The tenure is over: everything is to be named again.
    pub fn doubt_all(&mut self) {
        self.noted.clear();
        self.doubted.extend(self.places.keys().cloned());
    }

    /// Channels that are noted for nothing.
    pub fn idle(&self) -> Vec<Place> {
        let is_idle = |place: &&Place| !self.places.contains_key(*place) && !self.swept.contains(*place);
        self.noted.iter().filter(is_idle).cloned().collect()
    }
}
