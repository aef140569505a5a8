//! A histogram of latencies whose memory does not grow: 128 buckets for each power of two, so a quantile is within 1 % of the truth.

use std::time::Duration;

/// Buckets of each power of two.
const PARTS: u64 = 128;
const PARTS_BITS: u32 = PARTS.trailing_zeros();
/// Below `PARTS` every value has a bucket of its own; each power of two from there on has `PARTS`.
const BUCKETS: usize = ((u64::BITS - PARTS_BITS + 1) as usize) * PARTS as usize;

/// How often each latency was measured.
#[derive(Debug, Clone)]
pub struct Latencies {
    buckets: Vec<u64>,
    count: u64,
    max_ns: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, max_ns: 0 }
    }
}

impl Latencies {
    /// Notes one, in nanoseconds.
    pub fn record(&mut self, ns: u64) {
        self.buckets[bucket(ns)] += 1;
        self.count += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    /// Takes over what another has noted.
    pub fn add(&mut self, other: &Self) {
        for (sum, count) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum += count;
        }
        self.count += other.count;
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// The latency that so many in a thousand do not exceed; `None` of nothing.
    pub fn quantile(&self, per_mille: u64) -> Option<Duration> {
        let rank = (u128::from(self.count) * u128::from(per_mille)).div_ceil(1_000).max(1) as u64;
        let mut seen = 0;
        let at = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(Duration::from_nanos(top(at).min(self.max_ns)))
    }

    /// The longest; 0 of nothing.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max_ns)
    }
}

fn bucket(value: u64) -> usize {
    if value < PARTS {
        return value as usize;
    }
    let shift = value.ilog2() - PARTS_BITS;
    ((u64::from(shift) + 1) * PARTS + (value >> shift) - PARTS) as usize
}

/// The largest value of a bucket.
fn top(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < PARTS {
        return bucket;
    }
    let shift = bucket / PARTS - 1;
    // Of the last bucket it is all ones, which the sum would pass.
    ((PARTS + bucket % PARTS) << shift) + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_a_bucket_whose_top_is_within_a_hundredth() {
        for value in
            (0..64).map(|bit| 1_u64 << bit).flat_map(|value| [value - 1, value, value + value / 3]).chain([u64::MAX])
        {
            let top = top(bucket(value));
            assert!(top >= value, "{value} is above its bucket's top {top}");
            assert!(top - value <= value / 100, "{value} is far from its bucket's top {top}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn quantiles_are_of_everything_that_was_recorded() {
        let (mut latencies, mut others) = (Latencies::default(), Latencies::default());
        assert_eq!(latencies.quantile(500), None);
        (1..=50).for_each(|ns| latencies.record(ns));
        (51..=100).for_each(|ns| others.record(ns));
        latencies.add(&others);
        assert_eq!(latencies.quantile(500), Some(Duration::from_nanos(50)));
        assert_eq!(latencies.quantile(990), Some(Duration::from_nanos(99)));
        assert_eq!(latencies.quantile(1_000), Some(Duration::from_nanos(100)));
        assert_eq!(latencies.max(), Duration::from_nanos(100));
    }
}
