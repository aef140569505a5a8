//! How long to wait before coming back: full jitter, as every client of the protocol does.

use std::time::Duration;

/// The longest pause.
const MOST: Duration = Duration::from_secs(20);
/// The longest first pause.
const FIRST: Duration = Duration::from_millis(500);
/// A connection that lived for this long was a success.
const LIFE: Duration = Duration::from_secs(10);

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Takes note of how long a connection lived.
    pub(super) fn lived(&mut self, life: Duration) {
        if life >= LIFE {
            self.failures = 0;
        }
    }

    /// The next pause: `random`, from 0 to 1, of a bound that doubles.
    pub(super) fn pause(&mut self, random: f64) -> Duration {
        let bound = FIRST.saturating_mul(2_u32.saturating_pow(self.failures)).min(MOST);
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_to_twenty_seconds_and_falls_back_after_a_life_of_ten() {
        let mut backoff = Backoff::default();
        let bounds: Vec<u128> = (0..8).map(|_| backoff.pause(1.0).as_millis()).collect();
        assert_eq!(bounds, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 20_000, 20_000]);
        backoff.lived(Duration::from_secs(9));
        assert_eq!(backoff.pause(0.5).as_millis(), 10_000);
        backoff.lived(Duration::from_secs(10));
        assert_eq!(backoff.pause(0.5).as_millis(), 250);
        assert_eq!(backoff.pause(0.0).as_millis(), 0);
    }
}
