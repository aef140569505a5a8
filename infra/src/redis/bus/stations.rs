//! Stations: what is subscribed to on each shard, compared with what is wanted there.
//!
//! Whoever follows or leaves a channel only notes that it is to be looked at. The shard's subscriber takes those notes one round after
//! the other and does what is to be done by then, so that a channel left and followed again in between ends right.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use tokio::sync::{Notify, oneshot};

use super::hub::Followed;
use crate::{
    names::Names,
    redis::layouts::{Shard, Topology},
};

/// So many channels are looked at in a round.
const ROUND: usize = 1_000;

/// The stations of all shards.
pub(super) struct Stations {
    names: Names,
    topology: Topology,
    by_shard: HashMap<Shard, Station>,
}

/// What a process wants and has of a shard.
struct Station {
    beats: Arc<str>,
    /// Whether its connection stands and everything wanted was subscribed to on it.
    is_live: bool,
    /// Whether a first connection was made, or failed.
    is_tried: bool,
    subscribed: HashSet<Arc<str>>,
    notes: Vec<Note>,
    wake: Arc<Notify>,
    last_beat: Option<Instant>,
}

/// A channel to be looked at, and who waits for that.
struct Note {
    name: Arc<str>,
    waiter: Option<oneshot::Sender<()>>,
}

/// What is to be done in a round.
#[derive(Default)]
pub(super) struct Round {
    pub subscribe: Vec<Arc<str>>,
    pub unsubscribe: Vec<Arc<str>>,
    waiters: Vec<oneshot::Sender<()>>,
}

impl Stations {
    /// None yet; channels have these names.
    pub fn new(names: Names) -> Self {
        Self { names, topology: Topology::default(), by_shard: HashMap::new() }
    }

    /// Takes up the shards that there are now; those that stay are left as they are.
    pub fn arrange(&mut self, topology: Topology) {
        self.by_shard.retain(|shard, _| topology.shards.contains(shard));
        for shard in &topology.shards {
            self.by_shard.entry(shard.clone()).or_insert_with(|| Station::new(shard, &self.names));
        }
        self.topology = topology;
    }

    pub fn is_cluster(&self) -> bool {
        self.topology.is_cluster
    }

    /// Wakes the shard's subscriber when there are notes.
    pub fn wake(&self, shard: &Shard) -> Arc<Notify> {
        self.by_shard.get(shard).map(|station| station.wake.clone()).unwrap_or_default()
    }

    /// Notes that a channel is wanted. A receiver, where there is something to wait for.
    pub fn want(&mut self, name: Arc<str>) -> Option<oneshot::Receiver<()>> {
        let station = self.station_of(&name)?;
        if station.subscribed.contains(&name) {
            return None;
        }
        let (waiter, made) = oneshot::channel();
        let is_live = station.is_live;
        station.note(Note { name, waiter: is_live.then_some(waiter) });
        is_live.then_some(made)
    }

    /// Notes that nobody wants a channel any more.
    pub fn want_no_longer(&mut self, name: Arc<str>) {
        if let Some(station) = self.station_of(&name) {
            station.note(Note { name, waiter: None });
        }
    }

    /// Begins anew on a new connection: everything that is wanted is to be looked at. Returns what is always subscribed to.
    pub fn begin(&mut self, shard: &Shard, channels: &HashMap<Arc<str>, Followed>) -> Vec<Arc<str>> {
        self.end(shard);
        let Some(station) = self.by_shard.get_mut(shard) else { return Vec::new() };
        let wanted = channels.keys().filter(|name| shard.serves(name));
        station.notes = wanted.map(|name| Note { name: name.clone(), waiter: None }).collect();
        let control = Some(self.names.control()).filter(|name| shard.serves(name));
        station.subscribed = control.map(Arc::from).into_iter().chain([station.beats.clone()]).collect();
        station.subscribed.iter().cloned().collect()
    }

    /// The connection is gone, and whoever waits for a subscription on it waits no longer.
    pub fn end(&mut self, shard: &Shard) {
        if let Some(station) = self.by_shard.get_mut(shard) {
            station.is_live = false;
            station.subscribed.clear();
            station.notes.clear();
        }
    }

    /// What is to be done next; with nothing left to do, the station is live.
    pub fn round(&mut self, shard: &Shard, channels: &HashMap<Arc<str>, Followed>) -> Option<Round> {
        let station = self.by_shard.get_mut(shard)?;
        if station.notes.is_empty() {
            station.is_live = true;
            return None;
        }
        let mut round = Round::default();
        let mut seen = HashSet::new();
        for note in station.notes.drain(..station.notes.len().min(ROUND)) {
            round.waiters.extend(note.waiter);
            if !seen.insert(note.name.clone()) {
                continue;
            }
            match (channels.contains_key(&note.name), station.subscribed.contains(&note.name)) {
                (true, false) => round.subscribe.push(note.name),
                (false, true) => {
                    station.subscribed.remove(&note.name);
                    round.unsubscribe.push(note.name);
                }
                _ => {}
            }
        }
        Some(round)
    }

    /// The round is done, and confirmed by the server.
    pub fn done(&mut self, shard: &Shard, round: Round) {
        if let Some(station) = self.by_shard.get_mut(shard) {
            station.subscribed.extend(round.subscribe);
        }
        for waiter in round.waiters {
            let _ = waiter.send(());
        }
    }

    /// The shard was tried; whether all have been now.
    pub fn tried(&mut self, shard: &Shard) -> bool {
        if let Some(station) = self.by_shard.get_mut(shard) {
            station.is_tried = true;
        }
        self.by_shard.values().all(|station| station.is_tried)
    }

    pub fn is_subscribed(&self, shard: &Shard, name: &str) -> bool {
        self.by_shard.get(shard).is_some_and(|station| station.subscribed.contains(name))
    }

    pub fn beat(&mut self, shard: &Shard) {
        if let Some(station) = self.by_shard.get_mut(shard) {
            station.last_beat = Some(Instant::now());
        }
    }

    /// The last beat of the shard where that is longest ago.
    pub fn last_beat(&self) -> Option<Instant> {
        let beats: Option<Vec<_>> = self.by_shard.values().map(|station| station.last_beat).collect();
        beats?.into_iter().min()
    }

    fn station_of(&mut self, name: &str) -> Option<&mut Station> {
        let shard = self.topology.shard_of(name).ok()?;
        self.by_shard.get_mut(&self.topology.shards[shard])
    }
}

impl Station {
    fn new(shard: &Shard, names: &Names) -> Self {
        Self {
            beats: shard.beats(names).into(),
            is_live: false,
            is_tried: false,
            subscribed: HashSet::new(),
            notes: Vec::new(),
            wake: Arc::default(),
            last_beat: None,
        }
    }

    fn note(&mut self, note: Note) {
        self.notes.push(note);
        self.wake.notify_one();
    }
}
