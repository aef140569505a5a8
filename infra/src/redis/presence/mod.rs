//! Presence shared by all nodes: each channel's members lie under keys of one hash tag, and a script changes them and tells of it at once.
//!
//! A node holds its sessions under a *tenure*, a name that it uses as long as its lease lasts and never again. Who survives a node takes its
//! sessions out, and fences its tenure off in every channel that it may have written to, so that whatever it still sends is refused. It
//! then takes a new tenure and names the sessions again that it still has.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use fanfare_domain::{
    ids::ConnectionId,
    presence::{Entry, GRACE, MemberPage, Place, Presence, PresenceError, Snapshot, views::SETTLING},
};
use fanfare_protocol::ClientName;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tracing::warn;

use super::{Redis, RedisFault, links::Task};
use calls::Word;
use node::Node;

mod calls;
mod local;
mod mending;
mod node;
mod reading;
mod reaping;
mod tenures;

/// The times that presence goes by.
#[derive(Debug, Clone, Copy)]
pub struct PresenceTimes {
    /// How long a node counts as alive that is not heard of.
    pub lease: Duration,
    /// How often a node is heard of, and looks for others that are gone.
    pub round: Duration,
    /// For so long after Redis came back nobody counts as gone.
    pub settling: Duration,
    /// How long a client may be away after its last connection ended.
    pub grace: Duration,
}

impl Default for PresenceTimes {
    fn default() -> Self {
        Self { lease: Duration::from_secs(10), round: Duration::from_secs(1), settling: SETTLING, grace: GRACE }
    }
}

/// Presence of all nodes together. Memory is held only for what this node's connections have entered. Dropped, it is as if the node had died.
pub struct RedisPresence {
    node: Arc<Node>,
    _renewing: Task,
    _rounds: Task,
}

impl RedisPresence {
    /// The presence of this node, whose name no other node may have. Called inside a runtime.
    pub fn new(redis: Redis, name: &str) -> Arc<Self> {
        Self::with_times(redis, name, PresenceTimes::default())
    }

    /// The same, with other times.
    pub fn with_times(redis: Redis, name: &str, times: PresenceTimes) -> Arc<Self> {
        let node = Node::new(redis, name, times);
        let runtime = node.redis.runtime();
        let renewing = Task::spawn(runtime, tenures::renew(Arc::clone(&node)));
        let rounds = Task::spawn(runtime, rounds(Arc::clone(&node)));
        Arc::new(Self { node, _renewing: renewing, _rounds: rounds })
    }
}

/// Puts right what is in doubt and takes out who is gone, for ever.
async fn rounds(node: Arc<Node>) {
    let mut round = 0u64;
    loop {
        let begun = Instant::now();
        // What it could not tell now it tells in the next round.
        let _ = node.are_named_again().await;
        if round.is_multiple_of(VERIFY_EVERY) {
            node.verify().await;
        }
        node.mend().await;
        node.reap().await;
        round += 1;
        tokio::select! {
            () = tokio::time::sleep_until(begun + node.times.round) => {}
            () = node.doubt.notified() => {}
        }
    }
}

/// What this node has is compared with what Redis has once in so many rounds.
const VERIFY_EVERY: u64 = 5;

impl From<RedisFault> for PresenceError {
    fn from(fault: RedisFault) -> Self {
        Self::Unavailable(fault.to_string())
    }
}

#[async_trait]
impl Presence for RedisPresence {
    async fn enter(&self, place: &Place, entry: Entry, most: u32) -> Result<(), PresenceError> {
        let node = &self.node;
        let holder = node.tenure().await?;
        let connection = entry.connection.clone();
        let before = node.lock().begin(place, &entry);
        let entered = match node.note(&holder, place).await {
            Ok(()) => node.call_enter(place, &holder, &entry, most).await,
            Err(failure) => Err(failure),
        };
        match entered {
            Ok(Word::Ok { said, since }) => {
                if !node.lock().confirm(place, entry, said, since) {
                    // It was taken out meanwhile.
                    node.let_go(place, &connection, Duration::ZERO);
                }
                Ok(())
            }
            Ok(Word::Full) => {
                node.lock().undo(place, &connection, before);
                Err(PresenceError::Full(most))
            }
            other => {
                node.lock().undo(place, &connection, before);
                Err(node.failed(place, &holder, other))
            }
        }
    }

    async fn update(&self, place: &Place, entry: Entry) -> Result<(), PresenceError> {
        let node = &self.node;
        if !node.lock().has(place, &entry.connection) {
            return Err(PresenceError::NotEntered);
        }
        let holder = node.tenure().await?;
        match node.call_update(place, &holder, &entry).await {
            Ok(Word::Ok { said, since }) => {
                node.lock().confirm(place, entry, said, since);
                Ok(())
            }
            other => Err(node.failed(place, &holder, other)),
        }
    }

    async fn leave(
        &self,
        place: &Place,
        connection: &ConnectionId,
        data: Option<Box<RawValue>>,
    ) -> Result<(), PresenceError> {
        let node = &self.node;
        if !node.lock().has(place, connection) {
            return Err(PresenceError::NotEntered);
        }
        let holder = node.tenure().await?;
        match node.call_leave(place, &holder, connection, Duration::ZERO, data).await {
            Ok(Word::Ok { .. }) => {
                node.lock().remove(place, connection);
                Ok(())
            }
            // It was not named again yet after Redis had forgotten it.
            Ok(Word::Absent) => {
                node.lock().remove(place, connection);
                node.doubt(place);
                Ok(())
            }
            other => Err(node.failed(place, &holder, other)),
        }
    }

    fn withdraw(&self, place: &Place, connection: &ConnectionId) {
        if self.node.lock().remove(place, connection) {
            self.node.let_go(place, connection, Duration::ZERO);
        }
    }

    fn ended(&self, connection: &ConnectionId) {
        let places = self.node.lock().remove_all(connection);
        for place in places {
            self.node.let_go(&place, connection, self.node.times.grace);
        }
    }

    async fn page(&self, place: &Place, after: Option<&ClientName>, limit: u32) -> Result<MemberPage, PresenceError> {
        Ok(self.node.page(place, after, limit).await?)
    }

    async fn count(&self, place: &Place) -> Result<u64, PresenceError> {
        Ok(self.node.count(place).await?)
    }

    async fn snapshot(&self, place: &Place) -> Result<Snapshot, PresenceError> {
        Ok(self.node.snapshot(place).await?)
    }

    async fn retire(&self) {
        if let Err(fault) = self.node.retire().await {
            warn!(error = %fault, "The node could not say that it ends; its members leave when its lease is over");
        }
    }
}
