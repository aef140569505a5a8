//! Presence of a single process: rosters in memory, whose events are sent in the order in which they came about.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Weak},
    time::Duration,
};

use async_trait::async_trait;
use fanfare_domain::{
    Clock, Timestamp,
    bus::{Broadcast, Bus},
    ids::ConnectionId,
    presence::{
        Entry, Life, MemberPage, Place, Presence, PresenceError, PresenceEvent, Snapshot,
        rosters::{Change, Roster},
    },
};
use fanfare_protocol::ClientName;
use serde_json::value::RawValue;
use tokio::{runtime::Handle, sync::Mutex};
use tracing::error;

/// This process forgets nothing while it lives, and nobody remembers it after.
const LIFE: Life = Life { number: 1, age: Duration::MAX };

/// Presence inside the process. Memory is held only for channels that somebody is in.
pub struct MemoryPresence {
    bus: Arc<dyn Bus>,
    clock: Arc<dyn Clock>,
    runtime: Handle,
    state: Arc<Mutex<State>>,
    this: Weak<Self>,
}

#[derive(Default)]
struct State {
    rosters: HashMap<Place, Roster>,
    by_connection: HashMap<ConnectionId, HashSet<Place>>,
    /// Channels on which somebody waits for the next one that does not come back.
    reaped: HashSet<Place>,
    /// The latest version of all channels that were forgotten.
    forgotten: u64,
}

impl State {
    fn roster(&mut self, place: &Place, now: Timestamp) -> &mut Roster {
        let version = self.forgotten.max(now.0);
        self.rosters.entry(place.clone()).or_insert_with(|| Roster::new(version))
    }

    fn forget_if_empty(&mut self, place: &Place) {
        if self.rosters.get(place).is_some_and(Roster::is_empty)
            && let Some(roster) = self.rosters.remove(place)
        {
            self.forgotten = self.forgotten.max(roster.version());
        }
    }

    fn forget(&mut self, place: &Place, connection: &ConnectionId) {
        if let Some(places) = self.by_connection.get_mut(connection) {
            places.remove(place);
            if places.is_empty() {
                self.by_connection.remove(connection);
            }
        }
    }
}

impl MemoryPresence {
    /// Presence whose events go to that bus. Called inside a runtime, which then carries what is done in the background.
    pub fn new(bus: Arc<dyn Bus>, clock: Arc<dyn Clock>) -> Arc<Self> {
        let runtime = Handle::current();
        Arc::new_cyclic(|this| Self { bus, clock, runtime, state: Arc::default(), this: this.clone() })
    }

    /// Changes a channel, unless its caller goes away before, and sends what comes of it, even if its caller goes away then.
    async fn change<T: Send + 'static>(
        &self,
        place: &Place,
        change: impl FnOnce(&mut State) -> Result<(T, Vec<Change>), PresenceError>,
    ) -> Result<T, PresenceError> {
        let mut state = Arc::clone(&self.state).lock_owned().await;
        let changed = change(&mut state);
        state.forget_if_empty(place);
        let (done, changes) = changed?;
        if !changes.is_empty() {
            let (this, place) = (self.this.upgrade().expect("it is being used"), place.clone());
            let sending = self.runtime.spawn(async move {
                this.send(&place, changes).await;
                drop(state);
            });
            // It can only have been cut short by the end of the process.
            let _ = sending.await;
        }
        Ok(done)
    }

    /// Called with the state locked, so that the bus has the order of the versions.
    async fn send(&self, place: &Place, changes: Vec<Change>) {
        let time = self.clock.now();
        let event = |Change { version, action, entry }| {
            Broadcast::Presence(Arc::new(PresenceEvent { place: place.clone(), version, action, entry, time }))
        };
        let broadcasts: Vec<_> = changes.into_iter().map(event).collect();
        if !broadcasts.is_empty()
            && let Err(failure) = self.bus.send(broadcasts).await
        {
            error!(error = %failure, "The bus inside the process did not take an event");
        }
    }

    /// Has those taken out of a channel who do not come back in time.
    fn reap_later(self: &Arc<Self>, state: &mut State, place: &Place) {
        if !state.reaped.insert(place.clone()) {
            return;
        }
        let (this, place) = (Arc::clone(self), place.clone());
        self.runtime.spawn(async move {
            loop {
                let mut state = this.state.lock().await;
                let now = this.clock.now();
                let changes = state.rosters.get_mut(&place).map(|roster| roster.reap(now)).unwrap_or_default();
                let next = state.rosters.get(&place).and_then(Roster::next_leave);
                state.forget_if_empty(&place);
                this.send(&place, changes).await;
                let Some(next) = next else {
                    state.reaped.remove(&place);
                    return;
                };
                drop(state);
                tokio::time::sleep(next.since(now) + Duration::from_millis(1)).await;
            }
        });
    }
}

#[async_trait]
impl Presence for MemoryPresence {
    async fn enter(&self, place: &Place, entry: Entry, most: u32) -> Result<(), PresenceError> {
        let enter = |state: &mut State| {
            let (now, connection) = (self.clock.now(), entry.connection.clone());
            let change = state.roster(place, now).enter(entry, most, now)?;
            state.by_connection.entry(connection).or_default().insert(place.clone());
            Ok(((), change.into_iter().collect()))
        };
        self.change(place, enter).await
    }

    async fn update(&self, place: &Place, entry: Entry) -> Result<(), PresenceError> {
        let update = |state: &mut State| {
            let roster = state.rosters.get_mut(place).ok_or(PresenceError::NotEntered)?;
            Ok(((), vec![roster.update(entry)?]))
        };
        self.change(place, update).await
    }

    async fn leave(
        &self,
        place: &Place,
        connection: &ConnectionId,
        data: Option<Box<RawValue>>,
    ) -> Result<(), PresenceError> {
        let leave = |state: &mut State| {
            state.forget(place, connection);
            let roster = state.rosters.get_mut(place).ok_or(PresenceError::NotEntered)?;
            Ok(((), roster.leave(connection, data)?.into_iter().collect()))
        };
        self.change(place, leave).await
    }

    fn withdraw(&self, place: &Place, connection: &ConnectionId) {
        let (this, place, connection) = (self.this.clone(), place.clone(), connection.clone());
        self.runtime.spawn(async move {
            if let Some(this) = this.upgrade() {
                // Whoever is not there needs no taking out.
                let _ = this.leave(&place, &connection, None).await;
            }
        });
    }

    fn ended(&self, connection: &ConnectionId) {
        let (this, connection) = (self.this.clone(), connection.clone());
        self.runtime.spawn(async move {
            let Some(this) = this.upgrade() else { return };
            let mut state = this.state.lock().await;
            let now = this.clock.now();
            for place in state.by_connection.remove(&connection).unwrap_or_default() {
                if state.rosters.get_mut(&place).and_then(|roster| roster.ended(&connection, now)).is_some() {
                    this.reap_later(&mut state, &place);
                }
            }
        });
    }

    async fn page(&self, place: &Place, after: Option<&ClientName>, limit: u32) -> Result<MemberPage, PresenceError> {
        let state = self.state.lock().await;
        Ok(state.rosters.get(place).map(|roster| roster.page(after, limit)).unwrap_or_default())
    }

    async fn count(&self, place: &Place) -> Result<u64, PresenceError> {
        let state = self.state.lock().await;
        Ok(state.rosters.get(place).map_or(0, |roster| roster.page(None, 0).count))
    }

    async fn snapshot(&self, place: &Place) -> Result<Snapshot, PresenceError> {
        let state = self.state.lock().await;
        let roster = state.rosters.get(place);
        let members = roster.map(|roster| roster.members().cloned().collect()).unwrap_or_default();
        Ok(Snapshot { version: roster.map_or(0, Roster::version), life: Some(LIFE), members, is_whole: true })
    }

    async fn retire(&self) {}
}
