//! How fast one connection may send requests.

use std::{num::NonZeroU32, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::{InMemoryState, NotKeyed},
};

/// Requests a second before the connection has a plan.
const BEFORE_CONNECT: NonZeroU32 = NonZeroU32::new(300).expect("300 is not 0");

/// A bucket of one second's requests.
pub(crate) struct Pace {
    limiter: RateLimiter<NotKeyed, InMemoryState, DefaultClock>,
    clock: DefaultClock,
}

impl Default for Pace {
    fn default() -> Self {
        Self::new(BEFORE_CONNECT)
    }
}

impl Pace {
    pub(crate) fn new(requests_per_s: NonZeroU32) -> Self {
        let clock = DefaultClock::default();
        let quota = Quota::per_second(requests_per_s);
        Self { limiter: RateLimiter::direct_with_clock(quota, clock.clone()), clock }
    }

    /// Takes one request, or says when the next would be admitted.
    pub(crate) fn take(&self) -> Result<(), Duration> {
        self.limiter.check().map_err(|refused| refused.wait_time_from(self.clock.now()).max(Duration::from_millis(1)))
    }
}
