//! This node's own limits, and how answers tell them: the `RateLimit` fields of draft-ietf-httpapi-ratelimit-headers.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use actix_web::{
    HttpMessage, HttpRequest,
    http::header::{HeaderMap, HeaderName, HeaderValue},
};
use fanfare_domain::{Refusal, limits::Quota, plans};
use fanfare_protocol::ErrorCode;
use governor::{
    RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::keyed::DefaultKeyedStateStore,
};

use crate::{config::ApiConfig, problems::ApiError};

/// Callers whose rate is whole again are forgotten every so many checks.
const CHECKS_BETWEEN_SWEEPS: u32 = 1_024;

/// The gates of the API.
pub(crate) struct Gates {
    /// Requests to the control plane, by address.
    pub control: Gate,
    /// Sign-ups, by address.
    pub signups: Gate,
    /// Log-ins, by address.
    pub logins: Gate,
    /// Tries of a password, by account.
    pub passwords: Gate,
    /// Pages of history, by app.
    pub history: Gate,
}

impl Gates {
    pub fn new(config: &ApiConfig) -> Self {
        let minute = Duration::from_secs(60);
        let hour = Duration::from_secs(3_600);
        Self {
            control: Gate::new("control", config.control_requests_per_minute, minute, Callers::Strangers),
            signups: Gate::new("signups", config.signups_per_hour, hour, Callers::Strangers),
            logins: Gate::new("logins", config.logins_per_minute, minute, Callers::Strangers),
            passwords: Gate::new("passwords", config.password_tries_per_minute, minute, Callers::Strangers),
            history: Gate::new("history", config.history_reads_per_s, Duration::from_secs(1), Callers::Apps),
        }
    }
}

/// Who is counted, and so how much a gate may remember.
#[derive(Clone, Copy)]
enum Callers {
    /// Anyone can make up as many of these as they like, so they share 65,536 slots, by a hash that nobody outside can foresee.
    Strangers,
    /// There are as many as were made here; each has a slot of its own.
    Apps,
}

type Limiter = RateLimiter<u64, DefaultKeyedStateStore<u64>, DefaultClock, StateInformationMiddleware>;

/// A rate that each caller has for itself. Its memory is bounded.
pub(crate) struct Gate {
    name: &'static str,
    limit: NonZeroU32,
    window: Duration,
    callers: Callers,
    slots: RandomState,
    limiter: Limiter,
    checks: AtomicU32,
}

impl Gate {
    fn new(name: &'static str, limit: NonZeroU32, window: Duration, callers: Callers) -> Self {
        let quota = governor::Quota::with_period(window / limit.get())
            .unwrap_or_else(|| governor::Quota::per_second(limit))
            .allow_burst(limit);
        let limiter = RateLimiter::keyed(quota).with_middleware::<StateInformationMiddleware>();
        Self { name, limit, window, callers, slots: RandomState::new(), limiter, checks: AtomicU32::new(0) }
    }

    /// Lets a request in, or refuses it; either way its answer tells where the caller stands.
    pub fn admit(&self, request: &HttpRequest, caller: impl Hash) -> Result<(), ApiError> {
        self.sweep_at_times();
        let standing =
            |remaining| Standing { name: self.name, limit: self.limit.get(), remaining, window: self.window };
        match self.limiter.check_key(&self.slot(caller)) {
            Ok(state) => {
                standing(state.remaining_burst_capacity()).note(request);
                Ok(())
            }
            Err(not_until) => {
                standing(0).note(request);
                let allowed = format!("{} in {} s are allowed (`{}`)", self.limit, self.window.as_secs(), self.name);
                let wait = not_until.wait_time_from(DefaultClock::default().now());
                Err(Refusal::new(ErrorCode::RateLimited, allowed).retry_after(wait).into())
            }
        }
    }

    fn slot(&self, caller: impl Hash) -> u64 {
        let hash = self.slots.hash_one(caller);
        match self.callers {
            Callers::Strangers => hash & 0xffff,
            Callers::Apps => hash,
        }
    }

    fn sweep_at_times(&self) {
        if self.checks.fetch_add(1, Ordering::Relaxed).is_multiple_of(CHECKS_BETWEEN_SWEEPS) {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
    }
}

/// Where a caller stands under one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    name: &'static str,
    limit: u32,
    remaining: u32,
    window: Duration,
}

impl Standing {
    /// An app's publishes, after `quota` was left of them.
    pub fn of_publishes(limits: &plans::Limits, quota: Option<Quota>) -> Self {
        let rate = limits.publishes_per_s.max(1);
        let limit = quota.map_or(rate.max(plans::BATCH_ITEMS as u32), |quota| quota.limit);
        let window = Duration::from_secs(u64::from(limit.div_ceil(rate)));
        Self { name: "publishes", limit, remaining: quota.map_or(0, |quota| quota.remaining), window }
    }

    /// Has the answer to this request tell it.
    pub fn note(self, request: &HttpRequest) {
        let mut extensions = request.extensions_mut();
        match extensions.get_mut::<Standings>() {
            Some(all) => all.0.push(self),
            None => {
                extensions.insert(Standings(vec![self]));
            }
        }
    }

    fn policy(&self) -> String {
        format!("\"{}\";q={};w={}", self.name, self.limit, self.window.as_secs())
    }

    /// `t` is when the whole limit is there again.
    fn state(&self) -> String {
        let used = self.window.mul_f64(f64::from(self.limit - self.remaining.min(self.limit)) / f64::from(self.limit));
        format!("\"{}\";r={};t={}", self.name, self.remaining, whole_seconds(used))
    }
}

/// Every limit that a request was counted under.
struct Standings(Vec<Standing>);

/// Writes the `RateLimit` fields of an answer, if its request was counted.
pub(crate) fn write_headers(request: &HttpRequest, headers: &mut HeaderMap) {
    let extensions = request.extensions();
    let Some(Standings(all)) = extensions.get::<Standings>() else { return };
    let joined = |part: fn(&Standing) -> String| all.iter().map(part).collect::<Vec<_>>().join(", ");
    for (name, value) in [("ratelimit-policy", joined(Standing::policy)), ("ratelimit", joined(Standing::state))] {
        let value = HeaderValue::from_str(&value).expect("names and numbers make a header");
        headers.insert(HeaderName::from_static(name), value);
    }
}

/// A wait as headers carry it: rounded up.
pub(crate) fn whole_seconds(wait: Duration) -> u64 {
    wait.as_millis().div_ceil(1_000) as u64
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn gate(limit: u32) -> Gate {
        Gate::new("logins", NonZeroU32::new(limit).unwrap(), Duration::from_secs(60), Callers::Apps)
    }

    fn header(request: &HttpRequest, name: &str) -> String {
        let mut headers = HeaderMap::new();
        write_headers(request, &mut headers);
        headers.get(name).unwrap().to_str().unwrap().to_owned()
    }

    #[test]
    fn a_caller_past_the_limit_is_told_when_to_come_back_and_others_are_not_touched() {
        let gate = gate(2);
        let (one, other) = ("10.0.0.1", "10.0.0.2");
        let request = TestRequest::default().to_http_request();
        assert!(gate.admit(&request, one).is_ok());
        assert!(gate.admit(&request, one).is_ok());
        let refused = gate.admit(&request, one).unwrap_err();
        let wait = refused.refusal.retry_after.unwrap();
        assert!(wait > Duration::from_secs(25) && wait <= Duration::from_secs(30), "{wait:?}");
        assert!(gate.admit(&request, other).is_ok());
    }

    #[test]
    fn the_headers_have_the_form_of_the_draft() {
        let request = TestRequest::default().to_http_request();
        gate(10).admit(&request, "127.0.0.1").unwrap();
        assert_eq!(header(&request, "ratelimit-policy"), r#""logins";q=10;w=60"#);
        assert_eq!(header(&request, "ratelimit"), r#""logins";r=9;t=6"#);
        let limits = plans::Limits { publishes_per_s: 100, ..plans::Limits::default() };
        Standing::of_publishes(&limits, Some(Quota { limit: 1_000, remaining: 1_000 })).note(&request);
        assert_eq!(header(&request, "ratelimit-policy"), r#""logins";q=10;w=60, "publishes";q=1000;w=10"#);
        assert_eq!(header(&request, "ratelimit"), r#""logins";r=9;t=6, "publishes";r=1000;t=0"#);
    }

    #[test]
    fn waits_are_rounded_up() {
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_millis(1_001)), 2);
        assert_eq!(whole_seconds(Duration::from_secs(3)), 3);
    }
}
