//! How fast one connection may send requests.

use std::{num::NonZeroU32, sync::LazyLock, time::Duration};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    state::{InMemoryState, NotKeyed},
};

/// Requests a second before the connection has a plan.
const BEFORE_CONNECT: NonZeroU32 = NonZeroU32::new(300).expect("300 is not 0");

/// The clock of all connections: to make one asks the processor what it is, which takes long on a virtual machine.
static CLOCK: LazyLock<DefaultClock> = LazyLock::new(DefaultClock::default);

/// A bucket of one second's requests.
pub(crate) struct Pace(RateLimiter<NotKeyed, InMemoryState, DefaultClock>);

impl Default for Pace {
    fn default() -> Self {
        Self::new(BEFORE_CONNECT)
    }
}

impl Pace {
    pub(crate) fn new(requests_per_s: NonZeroU32) -> Self {
        Self(RateLimiter::direct_with_clock(Quota::per_second(requests_per_s), CLOCK.clone()))
    }

    /// Takes one request, or says when the next would be admitted.
    pub(crate) fn take(&self) -> Result<(), Duration> {
        self.0.check().map_err(|refused| refused.wait_time_from(self.0.clock().now()).max(Duration::from_millis(1)))
    }
}
