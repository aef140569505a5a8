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
    limits::{Allowed, AppLimits, ConnectionPermit, Exceeded, Quota, Rate},
    plans::Limits,
};
use governor::{DefaultDirectRateLimiter, RateLimiter, clock::Clock, middleware::StateInformationMiddleware};

/// How often apps that have nothing to remember are looked for.
const PRUNE_EVERY: Duration = Duration::from_secs(10);

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
    publishes: Option<Meter>,
    history_reads: Option<Meter>,
    connections: u32,
}

struct Meter {
    allowed: Allowed,
    limiter: DefaultDirectRateLimiter<StateInformationMiddleware>,
    /// How long an unused bucket takes to be full again.
    refill: Duration,
    used_at: Instant,
}

impl Meter {
    fn new(allowed: Allowed, now: Instant) -> Self {
        let count = |number| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = governor::Quota::per_second(count(allowed.per_s)).allow_burst(count(allowed.burst));
        Self {
            allowed,
            limiter: RateLimiter::direct(quota).with_middleware(),
            refill: quota.burst_size_replenished_in(),
            used_at: now,
        }
    }

    /// A full bucket is the same as none.
    fn is_idle(&self, now: Instant) -> bool {
        now.duration_since(self.used_at) > self.refill
    }

    fn take(&mut self, count: NonZeroU32, now: Instant) -> Result<Quota, Exceeded> {
        self.used_at = now;
        let limit = self.allowed.per_s;
        let exceeded = |retry_after| Exceeded { limit, retry_after };
        if limit == 0 {
            return Err(exceeded(self.refill));
        }
        match self.limiter.check_n(count) {
            Ok(Ok(left)) => Ok(Quota { limit, remaining: left.remaining_burst_capacity().min(limit) }),
            Ok(Err(until)) => Err(exceeded(until.wait_time_from(self.limiter.clock().now()))),
            Err(_more_than_the_bucket_holds) => Err(exceeded(self.refill)),
        }
    }
}

impl AppState {
    fn is_idle(&self, now: Instant) -> bool {
        let meters = [&self.publishes, &self.history_reads];
        self.connections == 0 && meters.into_iter().flatten().all(|meter| meter.is_idle(now))
    }
}

impl GovernorLimits {
    /// How many apps are remembered now.
    pub fn remembered(&self) -> usize {
        self.lock().states.len()
    }

    /// Takes from a rate as it is, or afresh where the plan has changed.
    fn take(&self, app: &AppId, rate: Rate, limits: &Limits, count: NonZeroU32) -> Result<Quota, Exceeded> {
        let (now, allowed) = (Instant::now(), rate.allowed(limits));
        let mut apps = self.lock();
        let state = apps.state(app, now);
        let slot = match rate {
            Rate::Publishes => &mut state.publishes,
            Rate::HistoryReads => &mut state.history_reads,
        };
        let meter = slot.take().filter(|meter| meter.allowed == allowed);
        slot.insert(meter.unwrap_or_else(|| Meter::new(allowed, now))).take(count, now)
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
        self.take(app, Rate::Publishes, limits, count)
    }

    fn history(&self, app: &AppId, limits: &Limits) -> Result<Quota, Exceeded> {
        self.take(app, Rate::HistoryReads, limits, NonZeroU32::MIN)
    }

    async fn connect(&self, app: &AppId, limits: &Limits) -> Result<Box<dyn ConnectionPermit>, Exceeded> {
        let mut apps = self.lock();
        let state = apps.state(app, Instant::now());
        if state.connections >= limits.connections {
            return Err(Exceeded::connections(limits.connections));
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
