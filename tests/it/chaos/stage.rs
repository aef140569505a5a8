//! What publishers, subscribers and whoever makes the faults share.

use std::{
    collections::HashMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Notify, sync::watch};

use serde_json::json;

use super::presence::Presence;
use crate::harness::{
    tenants::Tenant,
    tokens::{every_right, now_s},
};

/// How far the run is.
#[derive(Debug, Clone, Default)]
pub enum Phase {
    /// Subscribers come, nothing is published.
    #[default]
    Before,
    /// Everything goes on.
    During,
    /// What was begun is published until it is answered, and no more.
    Ending,
    /// Everything is published; these are the heads to be reached.
    Over(HashMap<String, u64>),
}

/// The shared state of a run.
pub struct Stage {
    /// Who publishes over REST.
    pub tenant: Tenant,
    /// A token for whoever is no member.
    pub token: String,
    /// Where the API nodes are.
    pub apis: Vec<String>,
    /// Where the gateways are.
    pub gateways: Vec<String>,
    /// The channels.
    pub channels: Vec<String>,
    /// How far the run is.
    pub phase: watch::Sender<Phase>,
    /// Who is present.
    pub presence: Presence,
    /// Publishes that were answered.
    pub accepted: AtomicUsize,
    /// Stands in every message that is begun from now on.
    stamp: AtomicU64,
    /// The latest stamp that each subscriber has seen on each channel.
    seen: Vec<Vec<AtomicU64>>,
    news: Notify,
    complaint: Mutex<Option<String>>,
}

impl Stage {
    /// Before anything happens, with so many subscribers to come.
    pub fn new(tenant: Tenant, nodes: [Vec<String>; 2], channels: Vec<String>, subscribers: usize) -> Self {
        let unseen = || channels.iter().map(|_| AtomicU64::new(0)).collect();
        let seen = (0..subscribers).map(|_| unseen()).collect();
        let [apis, gateways] = nodes;
        Self {
            token: token_of(&tenant, "chaos"),
            tenant,
            apis,
            gateways,
            channels,
            phase: watch::Sender::default(),
            presence: Presence::new(),
            accepted: AtomicUsize::new(0),
            stamp: AtomicU64::new(1),
            seen,
            news: Notify::new(),
            complaint: Mutex::new(None),
        }
    }

    /// One of the gateways, counted around.
    pub fn gateway(&self, number: usize) -> &str {
        &self.gateways[number % self.gateways.len()]
    }

    /// One of the API nodes, counted around.
    pub fn api(&self, number: usize) -> &str {
        &self.apis[number % self.apis.len()]
    }

    /// A token of a client that is good for longer than any run.
    pub fn token_of(&self, client: &str) -> String {
        token_of(&self.tenant, client)
    }

    /// The stamp of a message that is begun now.
    pub fn stamp(&self) -> u64 {
        self.stamp.load(Ordering::SeqCst)
    }

    /// A subscriber has seen a stamp on a channel.
    pub fn saw(&self, subscriber: usize, channel: usize, stamp: u64) {
        if self.seen[subscriber][channel].fetch_max(stamp, Ordering::SeqCst) < stamp {
            self.news.notify_waiters();
        }
    }

    /// Waits until a message that is begun from now on has reached every subscriber on every channel.
    pub async fn delivers(&self) {
        let stamp = self.stamp.fetch_add(1, Ordering::SeqCst) + 1;
        self.wait(|stage| stage.seen.iter().flatten().all(|seen| seen.load(Ordering::SeqCst) >= stamp)).await;
    }

    /// Says what no client may ever see; the first one stands.
    pub fn complain(&self, what: String) {
        self.complaint.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).get_or_insert(what);
        self.news.notify_waiters();
    }

    /// What somebody complained of first.
    pub fn complaint(&self) -> Option<String> {
        self.complaint.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone()
    }

    /// Waits for a complaint.
    pub async fn complained(&self) -> String {
        self.wait(|stage| stage.complaint().is_some()).await;
        self.complaint().expect("it stands")
    }

    async fn wait(&self, is_so: impl Fn(&Self) -> bool) {
        loop {
            let news = self.news.notified();
            tokio::pin!(news);
            news.as_mut().enable();
            if is_so(self) {
                return;
            }
            news.await;
        }
    }
}

fn token_of(tenant: &Tenant, client: &str) -> String {
    let now = now_s();
    tenant.sign(&json!({"sub": client, "cap": every_right(), "iat": now, "exp": now + 86_000.0}))
}

/// Lets time pass, which is what a fault is made of.
pub async fn pass(time: Duration) {
    let never = std::future::pending::<()>();
    let _ = tokio::time::timeout(time, never).await;
}
