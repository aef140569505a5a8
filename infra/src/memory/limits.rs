//! The limits of apps on this node.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use fanfare_domain::{
    ids::AppId,
    limits::{AppLimits, ConnectionPermit, Exceeded, Quota},
    plans::{BATCH_ITEMS, Limits},
};
use governor::{
    DefaultDirectRateLimiter, RateLimiter,
    clock::{Clock, DefaultClock, QuantaInstant},
    middleware::StateInformationMiddleware,
};

/// How often apps that have nothing to remember are looked for.
const PRUNE_EVERY: Duration = Duration::from_secs(10);
/// When a place among an app's connections is worth asking for again.
const CONNECT_AGAIN: Duration = Duration::from_secs(5);

/// Rates by `governor`, and counts of connections. Memory is held only for apps that are not idle.
#[derive(Clone, Default)]
pub struct GovernorLimits(Arc<Mutex<Apps>>);

#[derive(Default)]
struct Apps {
    states: HashMap<AppId, AppState>,
    pruned_at: Option<Instant>,
}

#[derive(Default)]
struct AppState {
    publishes: Option<Rate>,
    history: Option<Rate>,
    connections: u32,
}

struct Rate {
    per_s: u32,
    limiter: DefaultDirectRateLimiter<StateInformationMiddleware>,
    /// How long an unused bucket takes to be full again.
    refill: Duration,
    used_at: Instant,
}

impl Rate {
    fn new(per_s: u32, burst: u32, now: Instant) -> Self {
        let count = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = governor::Quota::per_second(count(per_s)).allow_burst(count(burst));
        Self {
            per_s,
            limiter: RateLimiter::direct(quota).with_middleware(),
            refill: quota.burst_size_replenished_in(),
            used_at: now,
        }
    }

    /// The rate as it is, or afresh where the plan has changed.
    fn of(slot: &mut Option<Rate>, per_s: u32, burst: u32, now: Instant) -> &mut Rate {
        let rate = slot.take().filter(|rate| rate.per_s == per_s);
        slot.insert(rate.unwrap_or_else(|| Rate::new(per_s, burst, now)))
    }

    /// A full bucket is the same as none.
    fn is_idle(&self, now: Instant) -> bool {
        now.duration_since(self.used_at) > self.refill
    }

    fn take(&mut self, count: NonZeroU32, now: Instant) -> Result<Quota, Exceeded> {
        self.used_at = now;
        let limit = self.per_s;
        let exceeded = |retry_after| Exceeded { limit, retry_after };
        if limit == 0 {
            return Err(exceeded(self.refill));
        }
        match self.limiter.check_n(count) {
            Ok(Ok(left)) => Ok(Quota { limit, remaining: left.remaining_burst_capacity().min(limit) }),
            Ok(Err(until)) => Err(exceeded(until.wait_time_from(clock_now()))),
            Err(_more_than_the_bucket_holds) => Err(exceeded(self.refill)),
        }
    }
}

fn clock_now() -> QuantaInstant {
    DefaultClock::default().now()
}

impl AppState {
    fn is_idle(&self, now: Instant) -> bool {
        self.connections == 0 && [&self.publishes, &self.history].into_iter().flatten().all(|rate| rate.is_idle(now))
    }
}

impl GovernorLimits {
    /// How many apps are remembered now.
    pub fn remembered(&self) -> usize {
        self.lock().states.len()
    }

    fn lock(&self) -> MutexGuard<'_, Apps> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Apps {
    fn state(&mut self, app: &AppId, now: Instant) -> &mut AppState {
        if self.pruned_at.is_none_or(|at| now.duration_since(at) > PRUNE_EVERY) {
            self.pruned_at = Some(now);
            self.states.retain(|_, state| !state.is_idle(now));
        }
        self.states.entry(app.clone()).or_default()
    }
}

#[async_trait]
impl AppLimits for GovernorLimits {
    fn publish(&self, app: &AppId, limits: &Limits, count: NonZeroU32) -> Result<Quota, Exceeded> {
        let now = Instant::now();
        let mut apps = self.lock();
        let per_s = limits.publishes_per_s;
        Rate::of(&mut apps.state(app, now).publishes, per_s, per_s.max(BATCH_ITEMS as u32), now).take(count, now)
    }

    fn history(&self, app: &AppId, limits: &Limits) -> Result<Quota, Exceeded> {
        let now = Instant::now();
        let mut apps = self.lock();
        let per_s = limits.history_reads_per_s;
        Rate::of(&mut apps.state(app, now).history, per_s, per_s, now).take(NonZeroU32::MIN, now)
    }

    async fn connect(&self, app: &AppId, limits: &Limits) -> Result<Box<dyn ConnectionPermit>, Exceeded> {
        let mut apps = self.lock();
        let state = apps.state(app, Instant::now());
        if state.connections >= limits.connections {
            return Err(Exceeded { limit: limits.connections, retry_after: CONNECT_AGAIN });
        }
        state.connections += 1;
        Ok(Box::new(Place { app: app.clone(), apps: self.0.clone() }))
    }
}

/// A place among an app's connections.
struct Place {
    app: AppId,
    apps: Arc<Mutex<Apps>>,
}

impl ConnectionPermit for Place {}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").field("app", &self.app).finish_non_exhaustive()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut apps = self.apps.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(state) = apps.states.get_mut(&self.app) else { return };
        state.connections = state.connections.saturating_sub(1);
        if state.is_idle(Instant::now()) {
            apps.states.remove(&self.app);
        }
    }
}
