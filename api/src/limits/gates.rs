//! Gates: the rates of the API on this node, by address and by account.

use std::{
    convert::Infallible,
    hash::{BuildHasher, Hash, RandomState},
    net::IpAddr,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use actix_web::HttpRequest;
use fanfare_domain::Refusal;
use fanfare_protocol::ErrorCode;
use governor::{
    RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    nanos::Nanos,
    state::{
        StateStore,
        keyed::{DefaultKeyedStateStore, ShrinkableKeyedStateStore},
    },
};

use super::Standing;
use crate::{config::ApiConfig, problems::ApiError};

/// Callers whose rate is whole again are forgotten every so many checks.
const CHECKS_BETWEEN_SWEEPS: u32 = 1_024;
/// Who would lock an account for everybody needs so many addresses.
const ADDRESSES: NonZeroU32 = NonZeroU32::new(10).expect("it is not zero");

/// What an app may cut off in a minute: each of it is a commit under one lock, and is read by every node.
const REVOCATIONS_PER_MINUTE: NonZeroU32 = NonZeroU32::new(6_000).expect("it is not zero");

/// The gates of the API.
pub(crate) struct Gates {
    /// Requests to the control plane, by address.
    pub control: Gate,
    /// Sign-ups, by address.
    pub signups: Gate,
    /// Log-ins, by address.
    pub logins: Gate,
    /// Passwords to be hashed: wrong ones by account and address, new ones by account.
    pub passwords: Gate,
    /// Wrong passwords by account, wherever they come from.
    pub accounts: Gate,
    /// What is cut off, by app.
    pub revocations: Gate,
}

impl Gates {
    pub fn new(config: &ApiConfig) -> Self {
        let minute = Duration::from_secs(60);
        let hour = Duration::from_secs(3_600);
        Self {
            control: Gate::new("control", config.control_requests_per_minute, minute),
            signups: Gate::new("signups", config.signups_per_hour, hour),
            logins: Gate::new("logins", config.logins_per_minute, minute),
            passwords: Gate::new("passwords", config.password_tries_per_minute, minute),
            accounts: Gate::new("accounts", config.password_tries_per_minute.saturating_mul(ADDRESSES), minute),
            revocations: Gate::new("revocations", REVOCATIONS_PER_MINUTE, minute),
        }
    }
}

type Limiter = RateLimiter<u64, States, DefaultClock, StateInformationMiddleware>;

/// A try of a password. Only a wrong one counts; but each is counted while it lasts, so that many at once are no way around the limits.
pub(crate) struct Try<'a> {
    gates: &'a Gates,
    account: &'a str,
    address: IpAddr,
}

impl<'a> Try<'a> {
    /// Lets a try in, or refuses it.
    pub fn begin(gates: &'a Gates, request: &HttpRequest, account: &'a str, address: IpAddr) -> Result<Self, ApiError> {
        gates.passwords.admit(request, (account, address))?;
        if let Err(refused) = gates.accounts.admit(request, account) {
            gates.passwords.give_back((account, address));
            return Err(refused);
        }
        Ok(Self { gates, account, address })
    }

    /// The password was not wrong.
    pub fn give_back(self) {
        self.gates.passwords.give_back((self.account, self.address));
        self.gates.accounts.give_back(self.account);
    }
}

/// The state of a limiter, which is shared so that something can be given back.
#[derive(Clone, Default)]
struct States(Arc<DefaultKeyedStateStore<u64>>);

impl StateStore for States {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, key: &u64, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        self.0.measure_and_replace(key, decide)
    }
}

impl ShrinkableKeyedStateStore<u64> for States {
    fn retain_recent(&self, drop_below: Nanos) {
        self.0.retain_recent(drop_below);
    }

    fn shrink_to_fit(&self) {
        self.0.shrink_to_fit();
    }

    fn len(&self) -> usize {
        ShrinkableKeyedStateStore::len(&*self.0)
    }

    fn is_empty(&self) -> bool {
        ShrinkableKeyedStateStore::is_empty(&*self.0)
    }
}

/// A rate that each caller has for itself. Its memory is bounded.
pub(crate) struct Gate {
    name: &'static str,
    limit: NonZeroU32,
    window: Duration,
    slots: RandomState,
    limiter: Limiter,
    states: States,
    /// What one takes.
    share: Nanos,
    checks: AtomicU32,
}

impl Gate {
    fn new(name: &'static str, limit: NonZeroU32, window: Duration) -> Self {
        let quota = governor::Quota::with_period(window / limit.get())
            .unwrap_or_else(|| governor::Quota::per_second(limit))
            .allow_burst(limit);
        let states = States::default();
        let limiter = Limiter::new(quota, states.clone(), DefaultClock::default());
        let share = quota.replenish_interval().into();
        Self { name, limit, window, slots: RandomState::new(), limiter, states, share, checks: AtomicU32::new(0) }
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
                let wait = not_until.wait_time_from(self.limiter.clock().now());
                Err(Refusal::new(ErrorCode::RateLimited, allowed).retry_after(wait).into())
            }
        }
    }

    /// Undoes one admission of this caller.
    fn give_back(&self, caller: impl Hash) {
        let without =
            |until: Option<Nanos>| Ok::<_, Infallible>(((), until.unwrap_or_default().saturating_sub(self.share)));
        let Ok(()) = self.states.measure_and_replace(&self.slot(caller), without);
    }

    /// Anyone can make up as many callers as they like, so they share 65,536 slots, by a hash that nobody outside can foresee.
    fn slot(&self, caller: impl Hash) -> u64 {
        self.slots.hash_one(caller) & 0xffff
    }

    fn sweep_at_times(&self) {
        if self.checks.fetch_add(1, Ordering::Relaxed).is_multiple_of(CHECKS_BETWEEN_SWEEPS) {
            self.limiter.retain_recent();
            self.limiter.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn gate(limit: u32) -> Gate {
        Gate::new("logins", NonZeroU32::new(limit).unwrap(), Duration::from_secs(60))
    }

    #[test]
    fn a_caller_past_the_limit_is_told_when_to_come_back_and_others_are_not_touched() {
        let gate = gate(2);
        let one = 0;
        let other = (1..).find(|other| gate.slot(*other) != gate.slot(one)).unwrap();
        let request = TestRequest::default().to_http_request();
        assert!(gate.admit(&request, one).is_ok());
        assert!(gate.admit(&request, one).is_ok());
        let refused = gate.admit(&request, one).unwrap_err();
        let wait = refused.refusal.retry_after.unwrap();
        assert!(wait > Duration::from_secs(25) && wait <= Duration::from_secs(30), "{wait:?}");
        assert!(gate.admit(&request, other).is_ok());
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_and_no_more() {
        let gate = gate(2);
        let request = TestRequest::default().to_http_request();
        for _ in 0..10 {
            assert!(gate.admit(&request, "ann").is_ok());
            gate.give_back("ann");
        }
        gate.give_back("ann");
        assert!(gate.admit(&request, "ann").is_ok() && gate.admit(&request, "ann").is_ok());
        assert!(gate.admit(&request, "ann").is_err());
    }
}
