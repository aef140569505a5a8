//! Drains: when each connection of a process that ends is to leave, so that never many leave at once.

use std::time::Duration;

/// So many departures, evenly spread over a window: every slot of the window is taken by exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    count: u64,
    /// Shares no divisor with the count, so that steps of it reach every slot once.
    stride: u64,
    window: Duration,
}

impl Spread {
    /// A spread of `count` departures over `window`. The first leaves at once, and the last one slot before the window's end.
    pub fn new(count: usize, window: Duration) -> Self {
        let count = (count as u64).max(1);
        // Near the golden section, neighbours in the order of asking are far apart in time: what has come together (a thread's
        // connections, those of one app) does not leave together.
        let near = (count as f64 * 0.618_034) as u64;
        let stride = (near.max(1)..).find(|stride| gcd(*stride, count) == 1).unwrap_or(1);
        Self { count, stride, window }
    }

    /// When the departure that asked as the `place`-th leaves, from the drain's beginning. Whoever asks beyond the count shares a slot.
    pub fn slot(&self, place: usize) -> Duration {
        let slot = (place as u64 % self.count) as u128 * u128::from(self.stride) % u128::from(self.count);
        let nanos = self.window.as_nanos() * slot / u128::from(self.count);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_of_the_window_is_taken_once() {
        for count in [1, 2, 3, 10, 97, 2_000, 4_096, 10_007] {
            let window = Duration::from_millis(count as u64 * 4);
            let spread = Spread::new(count, window);
            let mut slots: Vec<_> = (0..count).map(|place| spread.slot(place)).collect();
            slots.sort_unstable();
            let even: Vec<_> = (0..count as u64).map(|slot| Duration::from_millis(slot * 4)).collect();
            assert_eq!(slots, even, "{count}");
        }
    }

    #[test]
    fn those_who_ask_one_after_the_other_are_spread_over_the_whole_window() {
        let spread = Spread::new(1_000, Duration::from_secs(30));
        let mut slots: Vec<_> = (0..50).map(|place| spread.slot(place)).collect();
        slots.sort_unstable();
        let widest = slots.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
        assert!(slots[49] > Duration::from_secs(28) && widest < Duration::from_millis(1_500), "{slots:?}");
    }

    #[test]
    fn a_lone_connection_and_an_empty_window_leave_at_once() {
        assert_eq!(Spread::new(1, Duration::from_secs(30)).slot(0), Duration::ZERO);
        assert_eq!(Spread::new(0, Duration::from_secs(30)).slot(7), Duration::ZERO);
        let at_once = Spread::new(1_000, Duration::ZERO);
        assert!((0..1_000).all(|place| at_once.slot(place).is_zero()));
        let one_more = Spread::new(10, Duration::from_secs(10));
        assert_eq!(one_more.slot(10), one_more.slot(0));
    }
}
