//! The bus of a single process.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use async_trait::async_trait;
use fanfare_domain::{
    bus::{Ahead, Broadcast, Bus, BusError, Following, Heard, Listener},
    ids::AppId,
};
use fanfare_protocol::ChannelName;
use tokio::sync::mpsc;

/// Broadcasts that may wait for one listener before the sender waits too.
const DEFAULT_CAPACITY: usize = 1_024;

/// Hands every broadcast to every listener of this process that wants it, in the order sent. Nothing is ever lost on the way.
#[derive(Debug)]
pub struct MemoryBus {
    capacity: usize,
    listeners: Mutex<Vec<Entry>>,
    last_beat: Mutex<Option<Instant>>,
    /// Held while broadcasts are handed out, so that all listeners see one order.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone)]
struct Entry {
    sender: mpsc::Sender<Heard>,
    followed: Arc<Followed>,
}

/// The channels that a listener follows.
#[derive(Debug, Default)]
struct Followed(Mutex<HashSet<(AppId, ChannelName)>>);

impl Followed {
    fn lock(&self) -> MutexGuard<'_, HashSet<(AppId, ChannelName)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wants(&self, broadcast: &Broadcast) -> bool {
        match broadcast {
            Broadcast::Message(envelope) => self.lock().contains(&(envelope.app.clone(), envelope.channel.clone())),
            Broadcast::Presence(event) => self.lock().contains(&(event.place.app.clone(), event.place.channel.clone())),
            Broadcast::AppChanged(_) | Broadcast::KeyRevoked(_) | Broadcast::Revision(_) | Broadcast::Beat(_) => true,
        }
    }
}

#[async_trait]
impl Following for Followed {
    async fn follow(&self, app: &AppId, channel: &ChannelName) {
        self.lock().insert((app.clone(), channel.clone()));
    }

    fn unfollow(&self, app: &AppId, channel: &ChannelName) {
        self.lock().remove(&(app.clone(), channel.clone()));
    }
}

impl Default for MemoryBus {
    fn default() -> Self {
        Self::new(DEFAULT_CAPACITY)
    }
}

impl MemoryBus {
    /// A bus on which that many broadcasts may wait for each listener.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, listeners: Mutex::default(), last_beat: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    fn open_listeners(&self) -> Vec<Entry> {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| !listener.sender.is_closed());
        listeners.clone()
    }
}

#[async_trait]
impl Bus for MemoryBus {
    async fn send(&self, broadcasts: Vec<Broadcast>) -> Result<Vec<Ahead>, BusError> {
        let _turn = self.turn.lock().await;
        let listeners = self.open_listeners();
        for broadcast in &broadcasts {
            for listener in listeners.iter().filter(|listener| listener.followed.wants(broadcast)) {
                // A listener that went away meanwhile is dropped at the next turn.
                let _ = listener.sender.send(Heard::Sent(broadcast.clone())).await;
            }
            if matches!(broadcast, Broadcast::Beat(_)) {
                *self.last_beat.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            }
        }
        Ok(Vec::new())
    }

    async fn listen(&self) -> Result<Listener, BusError> {
        let (sender, heard) = mpsc::channel(self.capacity);
        let followed = Arc::new(Followed::default());
        let entry = Entry { sender, followed: Arc::clone(&followed) };
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
        Ok(Listener { heard, following: followed })
    }

    fn last_beat(&self) -> Option<Instant> {
        *self.last_beat.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
