//! The hub: who in this process listens to what, and the fan-out to them. Nothing here waits for a listener.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use async_trait::async_trait;
use fanfare_domain::{
    bus::{Broadcast, Following, Heard, Listener},
    history::Head,
    ids::AppId,
};
use fanfare_protocol::ChannelName;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::warn;

use super::stations::Stations;
use crate::{
    envelopes::sent,
    names::Names,
    redis::{Redis, layouts::Shard, links::PATIENCE},
};

/// All listeners of a process.
pub(super) struct Hub {
    pub redis: Redis,
    capacity: usize,
    state: Mutex<State>,
    /// Whether every shard was tried once.
    settled: watch::Sender<bool>,
}

pub(super) struct State {
    names: Names,
    listeners: HashMap<u64, Ear>,
    pub channels: HashMap<Arc<str>, Followed>,
    pub stations: Stations,
    next_listener: u64,
    /// Whether it was said that something on the bus cannot be read.
    has_complained: bool,
}

/// A listener, as the hub sees it.
struct Ear {
    sender: mpsc::Sender<Heard>,
    /// It had no room, and hears nothing more until it has heard that.
    is_full: bool,
}

/// A channel that somebody follows.
pub(super) struct Followed {
    pub app: AppId,
    pub channel: ChannelName,
    listeners: Vec<u64>,
    /// The head that was last heard or told.
    head: Option<Head>,
}

impl Hub {
    pub fn new(redis: Redis, capacity: usize) -> Arc<Self> {
        let state = Mutex::new(State::new(redis.names().clone()));
        Arc::new(Self { redis, capacity, state, settled: watch::Sender::new(false) })
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new listener, which is forgotten when it is dropped.
    pub fn listen(self: Arc<Self>) -> Listener {
        let (sender, heard) = mpsc::channel(self.capacity);
        let id = {
            let mut state = self.lock();
            state.next_listener += 1;
            let id = state.next_listener;
            state.listeners.insert(id, Ear { sender: sender.clone(), is_full: false });
            id
        };
        let hub = self.clone();
        self.redis.runtime().spawn(async move {
            sender.closed().await;
            hub.forget(id);
        });
        Listener { heard, following: Arc::new(Follower { hub: self, listener: id }) }
    }

    /// Waits until subscriptions can be made, or are known not to.
    pub async fn settled(&self) {
        let mut settled = self.settled.subscribe();
        let _ = tokio::time::timeout(PATIENCE, settled.wait_for(|settled| *settled)).await;
    }

    /// A shard was tried, whether it could be subscribed to or not.
    pub fn tried(&self, shard: &Shard) {
        if self.lock().stations.tried(shard) {
            self.settle();
        }
    }

    pub fn settle(&self) {
        self.settled.send_replace(true);
    }

    pub fn last_beat(&self) -> Option<Instant> {
        self.lock().stations.last_beat()
    }

    /// Hands on what came in on a channel of pub/sub.
    pub fn take(self: &Arc<Self>, shard: &Shard, name: &str, envelope: &[u8]) {
        let broadcast = match sent::decode(envelope) {
            Ok(broadcast) => broadcast,
            Err(error) => return self.complain(&error.to_string()),
        };
        let mut state = self.lock();
        let state = &mut *state;
        let heard = Heard::Sent(broadcast);
        match &heard {
            Heard::Sent(Broadcast::Message(envelope)) => {
                let Some(followed) = state.channels.get_mut(name) else { return };
                if let Some((epoch, serial)) = &envelope.place {
                    followed.learn(Head { epoch: epoch.clone(), serial: *serial });
                }
                for id in &followed.listeners {
                    self.tell(&mut state.listeners, *id, &heard);
                }
            }
            Heard::Sent(Broadcast::Presence(_)) => {
                let Some(followed) = state.channels.get(name) else { return };
                for id in &followed.listeners {
                    self.tell(&mut state.listeners, *id, &heard);
                }
            }
            other => {
                if matches!(other, Heard::Sent(Broadcast::Beat(_))) {
                    state.stations.beat(shard);
                }
                self.tell_all(state, &heard);
            }
        }
    }

    /// Tells everyone that something may have been lost.
    pub fn interrupt(self: &Arc<Self>) {
        self.tell_all(&mut self.lock(), &Heard::Interrupted);
    }

    /// Tells those who follow a channel that its head has moved, if that is news.
    pub fn moved(self: &Arc<Self>, name: &str, head: &Head) {
        let mut state = self.lock();
        let state = &mut *state;
        let Some(followed) = state.channels.get_mut(name) else { return };
        if followed.learn(head.clone()) {
            let (app, channel) = (followed.app.clone(), followed.channel.clone());
            let heard = Heard::Head { app, channel, head: head.clone() };
            for id in &followed.listeners {
                self.tell(&mut state.listeners, *id, &heard);
            }
        }
    }

    fn tell_all(self: &Arc<Self>, state: &mut State, heard: &Heard) {
        let ids: Vec<_> = state.listeners.keys().copied().collect();
        for id in ids {
            self.tell(&mut state.listeners, id, heard);
        }
    }

    /// Tells a listener, without waiting for it. One that has no room hears nothing more until it has room for being told so.
    fn tell(self: &Arc<Self>, listeners: &mut HashMap<u64, Ear>, id: u64, heard: &Heard) {
        let Some(ear) = listeners.get_mut(&id).filter(|ear| !ear.is_full) else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = ear.sender.try_send(heard.clone()) {
            ear.is_full = true;
            let (hub, room) = (self.clone(), ear.sender.clone().reserve_owned());
            self.redis.runtime().spawn(async move {
                let Ok(room) = room.await else { return };
                let mut state = hub.lock();
                if let Some(ear) = state.listeners.get_mut(&id) {
                    ear.is_full = false;
                    room.send(Heard::Interrupted);
                }
            });
        }
    }

    /// Says once that something cannot be read. The heads tell listeners what they have missed.
    fn complain(&self, error: &str) {
        if !std::mem::replace(&mut self.lock().has_complained, true) {
            warn!(error, "Something on the bus cannot be read; what it was is read from the log");
        }
    }

    fn forget(&self, listener: u64) {
        let mut state = self.lock();
        state.listeners.remove(&listener);
        let followed = state.channels.iter().filter(|(_, followed)| followed.listeners.contains(&listener));
        let names: Vec<_> = followed.map(|(name, _)| name.clone()).collect();
        for name in names {
            state.unfollow(&name, listener);
        }
    }
}

impl State {
    fn new(names: Names) -> Self {
        let stations = Stations::new(names.clone());
        let (listeners, channels) = Default::default();
        Self { names, listeners, channels, stations, next_listener: 0, has_complained: false }
    }

    /// A receiver, where there is somebody who will say that the subscription is made.
    fn follow(&mut self, app: &AppId, channel: &ChannelName, listener: u64) -> Option<oneshot::Receiver<()>> {
        if !self.listeners.contains_key(&listener) {
            return None;
        }
        let name: Arc<str> = self.names.messages(app, channel).into();
        let new = || Followed { app: app.clone(), channel: channel.clone(), listeners: Vec::new(), head: None };
        let followed = self.channels.entry(name.clone()).or_insert_with(new);
        if !followed.listeners.contains(&listener) {
            followed.listeners.push(listener);
        }
        self.stations.want(name)
    }

    fn unfollow(&mut self, name: &str, listener: u64) {
        let Some(followed) = self.channels.get_mut(name) else { return };
        followed.listeners.retain(|other| *other != listener);
        if followed.listeners.is_empty()
            && let Some((name, _)) = self.channels.remove_entry(name)
        {
            self.stations.want_no_longer(name);
        }
    }
}

impl Followed {
    /// Whether that is a head of which nothing was heard.
    fn learn(&mut self, head: Head) -> bool {
        let is_news = self.head.as_ref().is_none_or(|last| last.epoch != head.epoch || last.serial < head.serial);
        if is_news {
            self.head = Some(head);
        }
        is_news
    }
}

/// What a listener says of its channels.
struct Follower {
    hub: Arc<Hub>,
    listener: u64,
}

#[async_trait]
impl Following for Follower {
    async fn follow(&self, app: &AppId, channel: &ChannelName) {
        let made = self.hub.lock().follow(app, channel, self.listener);
        if let Some(made) = made {
            // Dropped where the bus goes away meanwhile.
            let _ = made.await;
        }
    }

    fn unfollow(&self, app: &AppId, channel: &ChannelName) {
        let name = self.hub.redis.names().messages(app, channel);
        self.hub.lock().unfollow(&name, self.listener);
    }
}
