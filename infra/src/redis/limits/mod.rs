//! The limits of apps, shared by all nodes: rates by shares that are leased, quotas of connections by a registry.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use async_trait::async_trait;
use fanfare_domain::{
    ids::AppId,
    limits::{
        AppLimits, ConnectionPermit, Exceeded, Quota, Rate,
        allotments::REPORT_EVERY,
        places::{PLACES_LAST, PLACES_TOLD_EVERY},
    },
    plans::Limits,
};
use redis::FromRedisValue;
use tokio::{runtime::Handle, time::MissedTickBehavior};
use tracing::{info, warn};

use super::{Call, Redis, RedisFault, Script, links::Task};
use places::Connections;
use rates::Rated;

mod places;
mod rates;

/// Limits that hold for all nodes together. While Redis is away each node goes on with what it had. Memory is held only for apps that are
/// not idle. Dropped, it no longer tells what its node holds, as if the node had died.
pub struct SharedLimits {
    node: Arc<Node>,
    _rounds: Task,
}

impl SharedLimits {
    /// The limits of this node, whose name no other node may have. Called inside a runtime.
    #[expect(clippy::new_ret_no_self, reason = "callers want the port")]
    pub fn new(redis: Redis, node: &str) -> Arc<dyn AppLimits> {
        Arc::new(Self::start(redis, node))
    }

    fn start(redis: Redis, node: &str) -> Self {
        let runtime = Handle::current();
        let node = Arc::new(Node {
            name: node.to_owned(),
            redis,
            runtime: runtime.clone(),
            calls: AtomicU64::default(),
            scripts: Scripts::default(),
            state: Mutex::new(State { apps: HashMap::default(), nodes: 1, fault: None }),
        });
        Self { node: node.clone(), _rounds: Task::spawn(&runtime, rounds(node)) }
    }
}

#[async_trait]
impl AppLimits for SharedLimits {
    fn publish(&self, app: &AppId, limits: &Limits, count: NonZeroU32) -> Result<Quota, Exceeded> {
        self.node.take(app, Rate::Publishes, limits, count)
    }

    fn history(&self, app: &AppId, limits: &Limits) -> Result<Quota, Exceeded> {
        self.node.take(app, Rate::HistoryReads, limits, NonZeroU32::MIN)
    }

    async fn connect(&self, app: &AppId, limits: &Limits) -> Result<Box<dyn ConnectionPermit>, Exceeded> {
        Ok(Box::new(self.node.connect(app, limits.connections).await?))
    }
}

struct Node {
    name: String,
    redis: Redis,
    runtime: Handle,
    /// Numbers the calls to the registry, so that a late one is known for what it is.
    calls: AtomicU64,
    scripts: Scripts,
    state: Mutex<State>,
}

struct Scripts {
    allot: Script,
    places: Script,
    nodes: Script,
}

impl Default for Scripts {
    fn default() -> Self {
        Self {
            allot: Script::new(include_str!("allot.lua")),
            places: Script::new(include_str!("places.lua")),
            nodes: Script::new(include_str!("nodes.lua")),
        }
    }
}

struct State {
    apps: HashMap<AppId, App>,
    /// How many nodes were alive when Redis last told, this one among them.
    nodes: u32,
    /// What went wrong since the last round.
    fault: Option<RedisFault>,
}

#[derive(Default)]
struct App {
    publishes: Option<Rated>,
    history_reads: Option<Rated>,
    connections: Connections,
}

impl App {
    fn rate(&mut self, rate: Rate) -> &mut Option<Rated> {
        match rate {
            Rate::Publishes => &mut self.publishes,
            Rate::HistoryReads => &mut self.history_reads,
        }
    }

    fn is_idle(&mut self, now: Instant) -> bool {
        let rates = [&mut self.publishes, &mut self.history_reads];
        self.connections.is_idle(now) && rates.into_iter().flatten().all(|rated| rated.is_idle(now))
    }
}

impl Node {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn number(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed) + 1
    }

    async fn ask<T: FromRedisValue>(&self, script: &Script, call: Call) -> Option<T> {
        let answer = self.redis.script(script, call).await;
        let read = |value| redis::from_redis_value(value).map_err(|error| RedisFault::Refused(error.to_string()));
        answer.and_then(read).inspect_err(|fault| self.lock().fault = Some(fault.clone())).ok()
    }

    fn count_nodes(self: &Arc<Self>) {
        let node = self.clone();
        self.runtime.spawn(async move {
            let call = Call::on(node.redis.names().limiting_nodes())
                .arg(node.name.as_str())
                .number(PLACES_LAST.as_millis() as u64);
            if let Some(nodes) = node.ask(&node.scripts.nodes, call).await {
                node.lock().nodes = nodes;
            }
        });
    }

    /// Tells once that limits are no longer shared, and once that they are again.
    fn log(&self, is_known_to_fail: &mut bool) {
        let fault = self.lock().fault.take();
        match &fault {
            Some(fault) if !*is_known_to_fail => {
                warn!(error = %fault, "Limits are no longer shared; this node goes on by itself");
            }
            None if *is_known_to_fail => info!("Limits are shared again"),
            _ => {}
        }
        *is_known_to_fail = fault.is_some();
    }
}

/// Forgets apps that are idle and tells Redis what this node takes and holds, for ever.
async fn rounds(node: Arc<Node>) {
    let mut ticks = tokio::time::interval(REPORT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut told_at, mut is_known_to_fail) = (None::<Instant>, false);
    loop {
        ticks.tick().await;
        let now = Instant::now();
        node.lock().apps.retain(|_, app| !app.is_idle(now));
        let is_time_for_all = told_at.is_none_or(|at| now.duration_since(at) >= PLACES_TOLD_EVERY);
        if is_time_for_all {
            told_at = Some(now);
            node.log(&mut is_known_to_fail);
            node.count_nodes();
        }
        node.tell_rates(now);
        node.tell_places(is_time_for_all, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Names;

    #[tokio::test]
    async fn apps_that_are_idle_are_forgotten_also_while_redis_is_away() {
        let nobody = Redis::connect("redis://127.0.0.1:1", Names::default()).unwrap();
        let (limits, plan) = (SharedLimits::start(nobody, "one"), Limits::default());
        let mut places = Vec::new();
        for _ in 0..100 {
            let app = AppId::generate();
            places.push(limits.connect(&app, &plan).await.unwrap());
            limits.publish(&app, &plan, NonZeroU32::MIN).unwrap();
        }
        assert_eq!(limits.node.lock().apps.len(), 100);
        drop(places);
        let mut ticks = tokio::time::interval(REPORT_EVERY);
        while !limits.node.lock().apps.is_empty() {
            ticks.tick().await;
        }
    }
}
