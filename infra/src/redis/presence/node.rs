//! This node: what it has, its tenure, and what it does when something fails.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};

use fanfare_domain::{
    ids::ConnectionId,
    presence::{Place, PresenceError},
};
use tokio::sync::{Notify, watch};

use super::{PresenceTimes, calls::Word, local::Local, tenures::Tenure};
use crate::redis::{Redis, RedisFault, Script};

pub(super) struct Node {
    pub redis: Redis,
    pub name: String,
    pub times: PresenceTimes,
    pub channel: Script,
    pub registry: Script,
    local: Mutex<Local>,
    pub tenure: watch::Sender<Option<Tenure>>,
    /// Numbers the tenures.
    pub tenures: AtomicU64,
    /// Whether a tenure is wanted at all: a node without connections needs none.
    pub is_wanted: AtomicBool,
    pub has_retired: AtomicBool,
    /// Wakes the renewal.
    pub renewal: Notify,
    /// Wakes the rounds.
    pub doubt: Notify,
    /// Since when Redis knows anything, as this node heard last, in ms; 0 before.
    pub begun: AtomicU64,
    /// Notes in the registry are made and taken back one after the other.
    pub noting: tokio::sync::Mutex<()>,
}

impl Node {
    pub fn new(redis: Redis, name: &str, times: PresenceTimes) -> Arc<Self> {
        Arc::new(Self {
            redis,
            name: name.to_owned(),
            times,
            channel: Script::new(include_str!("channel.lua")),
            registry: Script::new(include_str!("registry.lua")),
            local: Mutex::default(),
            tenure: watch::Sender::new(None),
            tenures: AtomicU64::default(),
            is_wanted: AtomicBool::default(),
            has_retired: AtomicBool::default(),
            renewal: Notify::new(),
            doubt: Notify::new(),
            begun: AtomicU64::default(),
            noting: tokio::sync::Mutex::default(),
        })
    }

    pub fn lock(&self) -> MutexGuard<'_, Local> {
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What Redis has of a channel may not be what this node has.
    pub fn doubt(&self, place: &Place) {
        self.lock().doubted.insert(place.clone());
        self.doubt.notify_one();
    }

    /// What a caller is told of an answer that is no success.
    pub fn failed(&self, place: &Place, holder: &str, answer: Result<Word, RedisFault>) -> PresenceError {
        self.doubt(place);
        match answer {
            Err(fault) => fault.into(),
            Ok(Word::Fenced) => {
                self.lose_tenure(holder);
                PresenceError::Unavailable("this node is taking a new lease".to_owned())
            }
            Ok(_) => PresenceError::Unavailable("the channel is being put right".to_owned()),
        }
    }

    /// Takes a session out in the background; what fails is put right by the rounds.
    pub fn let_go(self: &Arc<Self>, place: &Place, connection: &ConnectionId, grace: Duration) {
        let (node, place, connection) = (Arc::clone(self), place.clone(), connection.clone());
        self.redis.runtime().spawn(async move {
            let holder = node.tenure.borrow().as_ref().map(|tenure| Arc::clone(&tenure.holder));
            let Some(holder) = holder else { return node.doubt(&place) };
            match node.call_leave(&place, &holder, &connection, grace, None).await {
                Ok(Word::Ok { .. }) if grace.is_zero() => {}
                Ok(Word::Ok { .. }) => node.sweep_after(&place, grace),
                Ok(Word::Fenced) => {
                    node.lose_tenure(&holder);
                    node.doubt(&place);
                }
                Ok(Word::Absent | Word::Full) | Err(_) => node.doubt(&place),
            }
        });
    }
}
