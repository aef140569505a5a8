//! A bucket of tokens whose level and rate are told from outside, and which may be in debt.

use std::time::{Duration, Instant};

/// What a bucket that is never refilled makes wait.
const VERY_LONG: Duration = Duration::from_secs(3_600);

#[derive(Debug, Clone)]
pub(super) struct Bucket {
    level: f64,
    capacity: f64,
    pub per_s: f64,
    at: Instant,
}

impl Bucket {
    pub fn full(capacity: u32, per_s: f64, now: Instant) -> Self {
        Self { level: f64::from(capacity), capacity: f64::from(capacity), per_s, at: now }
    }

    /// How much is in it now.
    pub fn level(&mut self, now: Instant) -> f64 {
        let grown = now.saturating_duration_since(self.at).as_secs_f64() * self.per_s;
        self.at = self.at.max(now);
        self.level = (self.level + grown).min(self.capacity);
        self.level
    }

    /// Sets how much is in it now.
    pub fn set_level(&mut self, level: f64, now: Instant) {
        self.at = self.at.max(now);
        self.level = level.min(self.capacity);
    }

    pub fn is_full(&mut self, now: Instant) -> bool {
        self.level(now) >= self.capacity
    }

    /// Takes so many; takes none and says how many were missing if there are not enough.
    pub fn take(&mut self, count: u32, now: Instant) -> Result<(), f64> {
        let missing = f64::from(count) - self.level(now);
        if missing > 0.0 {
            return Err(missing);
        }
        self.level -= f64::from(count);
        Ok(())
    }
}

/// How long so many tokens take to come.
pub(super) fn wait_for(tokens: f64, per_s: f64) -> Duration {
    Duration::try_from_secs_f64(tokens / per_s).unwrap_or(VERY_LONG).min(VERY_LONG)
}
