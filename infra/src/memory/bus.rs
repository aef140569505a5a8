//! The bus of a single process.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use fanfare_domain::bus::{Broadcast, Bus, BusError};
use tokio::sync::mpsc;

/// Broadcasts that may wait for one listener before the sender waits too.
const DEFAULT_CAPACITY: usize = 1_024;

/// Hands every broadcast to every listener of this process, in the order sent.
#[derive(Debug)]
pub struct MemoryBus {
    capacity: usize,
    listeners: Mutex<Vec<mpsc::Sender<Broadcast>>>,
    /// Held while broadcasts are handed out, so that all listeners see one order.
    turn: tokio::sync::Mutex<()>,
}

impl Default for MemoryBus {
    fn default() -> Self {
        Self::new(DEFAULT_CAPACITY)
    }
}

impl MemoryBus {
    /// A bus on which that many broadcasts may wait for each listener.
    pub fn new(capacity: usize) -> Self {
        Self { capacity, listeners: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    fn open_listeners(&self) -> Vec<mpsc::Sender<Broadcast>> {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| !listener.is_closed());
        listeners.clone()
    }
}

#[async_trait]
impl Bus for MemoryBus {
    async fn send(&self, broadcasts: Vec<Broadcast>) -> Result<(), BusError> {
        let _turn = self.turn.lock().await;
        let listeners = self.open_listeners();
        for broadcast in &broadcasts {
            for listener in &listeners {
                // A listener that went away meanwhile is dropped at the next turn.
                let _ = listener.send(broadcast.clone()).await;
            }
        }
        Ok(())
    }

    async fn listen(&self) -> Result<mpsc::Receiver<Broadcast>, BusError> {
        let (sender, receiver) = mpsc::channel(self.capacity);
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        Ok(receiver)
    }
}
