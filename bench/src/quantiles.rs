//! Quantiles of what was measured.

use std::time::Duration;

/// The smallest value that so many in a thousand do not exceed; `None` of nothing.
pub fn quantile(sorted: &[Duration], per_mille: usize) -> Option<Duration> {
    let rank = (sorted.len() * per_mille).div_ceil(1_000).max(1);
    sorted.get(rank - 1).copied()
}

/// The middle value; of an even number, the lower of the two.
pub fn median(mut values: Vec<Duration>) -> Option<Duration> {
    values.sort_unstable();
    quantile(&values, 500)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let values: Vec<_> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(quantile(&values, 990), Some(Duration::from_millis(99)));
        assert_eq!(quantile(&values, 1_000), Some(Duration::from_millis(100)));
        assert_eq!(quantile(&values[..1], 990), Some(Duration::from_millis(1)));
        assert_eq!(quantile(&[], 990), None);
        assert_eq!(median(values), Some(Duration::from_millis(50)));
    }
}
