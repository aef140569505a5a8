//! The bus between processes: pub/sub, with the heads that show what was lost on the way.
//!
//! A process has one subscriber connection to each master, made by the first listener and shared by all. What was lost on it (a
//! reconnect, another master, a listener that was too slow) is told as [`Heard::Interrupted`](fanfare_domain::bus::Heard::Interrupted).

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use async_trait::async_trait;
use fanfare_domain::bus::{Ahead, Broadcast, Bus, BusError, Listener};

use super::{Redis, RedisFault, links::Task};
use hub::Hub;

mod comparing;
mod hub;
mod sending;
mod stations;
mod subscribing;

/// What may wait for one listener before it is interrupted.
const DEFAULT_CAPACITY: usize = 4_096;

/// Hands broadcasts to the listeners of all processes.
pub struct RedisBus {
    redis: Redis,
    hub: Arc<Hub>,
    /// Begun by the first listener.
    work: OnceLock<[Task; 2]>,
}

impl RedisBus {
    /// The bus on that Redis.
    pub fn new(redis: Redis) -> Arc<Self> {
        Self::with_capacity(redis, DEFAULT_CAPACITY)
    }

    /// The same, on which that much may wait for each listener.
    pub fn with_capacity(redis: Redis, capacity: usize) -> Arc<Self> {
        let hub = Hub::new(redis.clone(), capacity);
        Arc::new(Self { redis, hub, work: OnceLock::new() })
    }
}

impl From<RedisFault> for BusError {
    fn from(fault: RedisFault) -> Self {
        Self(fault.to_string())
    }
}

#[async_trait]
impl Bus for RedisBus {
    async fn send(&self, broadcasts: Vec<Broadcast>) -> Result<Vec<Ahead>, BusError> {
        Ok(sending::send(&self.redis, &broadcasts).await?)
    }

    async fn listen(&self) -> Result<Listener, BusError> {
        self.work.get_or_init(|| {
            let runtime = self.redis.runtime();
            let subscribing = Task::spawn(runtime, subscribing::supervise(self.hub.clone()));
            [subscribing, Task::spawn(runtime, comparing::compare(self.hub.clone()))]
        });
        self.hub.settled().await;
        Ok(self.hub.clone().listen())
    }

    fn last_beat(&self) -> Option<Instant> {
        self.hub.last_beat()
    }
}
