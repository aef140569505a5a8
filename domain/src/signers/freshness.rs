//! When a set of keys is fetched: a machine without a clock.

use std::time::Duration;

use crate::Timestamp;

/// A set that is older is fetched again, while it goes on being used.
const OLD: Duration = Duration::from_secs(600);
/// How soon a fetch may follow one that was made for a key that was not there, or that failed.
const PAUSE: Duration = Duration::from_secs(60);
/// A set that could not be fetched for this long is let go: a token lives a day at most, so none that it vouched for is good any more.
const LOST: Duration = Duration::from_secs(86_400);

/// What is known of the fetches of one set.
#[derive(Debug, Clone, Copy, Default)]
pub struct Freshness {
    fetched_at: Option<Timestamp>,
    /// The last fetch that counts against the pause.
    counted_at: Option<Timestamp>,
    last_failed: bool,
}

/// What to do for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Take what the set says: the key, or that there is none.
    Use,
    /// The same, and fetch the set beside.
    UseAndRefresh,
    /// Fetch the set first.
    Fetch,
    /// Nothing can be said before so much time has passed.
    Wait(Duration),
}

impl Freshness {
    /// What to do for a token whose key the set has, or has not.
    pub fn step(&self, has_key: bool, now: Timestamp) -> Step {
        let pause = self.counted_at.map_or(Duration::ZERO, |at| at.after(PAUSE).since(now).min(PAUSE));
        let age = self.fetched_at.map(|at| now.since(at)).filter(|age| *age < LOST);
        match age {
            Some(age) if has_key && age >= OLD && pause.is_zero() => Step::UseAndRefresh,
            Some(_) if has_key => Step::Use,
            _ if pause.is_zero() => Step::Fetch,
            Some(_) if !self.last_failed => Step::Use,
            _ => Step::Wait(pause),
        }
    }

    /// A fetch ended. The first of all counts against nothing, so that a key that changes right after it is found.
    pub fn fetched(&mut self, succeeded: bool, now: Timestamp) {
        if !succeeded || self.fetched_at.is_some() {
            self.counted_at = Some(now);
        }
        if succeeded {
            self.fetched_at = Some(now);
        }
        self.last_failed = !succeeded;
    }

    /// Whether the set is so old that it says nothing any more.
    pub fn is_lost(&self, now: Timestamp) -> bool {
        self.fetched_at.is_none_or(|at| now.since(at) >= LOST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp(1_000_000).after(Duration::from_secs(seconds))
    }

    fn after(fetches: &[(bool, u64)]) -> Freshness {
        let mut freshness = Freshness::default();
        for (succeeded, seconds) in fetches {
            freshness.fetched(*succeeded, at(*seconds));
        }
        freshness
    }

    /// What the row is about, which fetches succeeded when, whether the set has the key, the time in seconds, and what is to be done.
    type Row = (&'static str, &'static [(bool, u64)], bool, u64, Step);

    #[test]
    fn a_set_is_fetched_when_it_must_be_and_no_sooner() {
        let wait = |seconds| Step::Wait(Duration::from_secs(seconds));
        let table: [Row; 16] = [
            ("never fetched", &[], false, 0, Step::Fetch),
            ("a known key", &[(true, 0)], true, 1, Step::Use),
            ("a new key right after the first fetch", &[(true, 0)], false, 1, Step::Fetch),
            ("an unknown key within the minute", &[(true, 0), (true, 1)], false, 60, Step::Use),
            ("an unknown key after the minute", &[(true, 0), (true, 1)], false, 61, Step::Fetch),
            ("a known key within the minute", &[(true, 0), (true, 1)], true, 2, Step::Use),
            ("the first fetch failed", &[(false, 0)], false, 1, wait(59)),
            ("the first fetch failed a minute ago", &[(false, 0)], false, 60, Step::Fetch),
            ("an unknown key while the URL is away", &[(true, 0), (false, 10)], false, 20, wait(50)),
            ("a known key while the URL is away", &[(true, 0), (false, 10)], true, 20, Step::Use),
            ("an unknown key, a minute after a failure", &[(true, 0), (false, 10)], false, 70, Step::Fetch),
            ("an old set", &[(true, 0)], true, 600, Step::UseAndRefresh),
            ("an old set that could not be fetched", &[(true, 0), (false, 600)], true, 659, Step::Use),
            ("and again a minute later", &[(true, 0), (false, 600)], true, 660, Step::UseAndRefresh),
            ("a lost set", &[(true, 0), (false, 86_390)], true, 86_400, wait(50)),
            ("a lost set, a minute later", &[(true, 0), (false, 86_390)], true, 86_450, Step::Fetch),
        ];
        for (what, fetches, has_key, now, step) in table {
            assert_eq!(after(fetches).step(has_key, at(now)), step, "{what}");
        }
        assert!(after(&[(true, 0)]).is_lost(at(86_400)) && !after(&[(true, 0)]).is_lost(at(86_399)));
    }

    #[test]
    fn garbage_for_ever_makes_one_fetch_a_minute() {
        for fails in [false, true] {
            let (mut freshness, mut fetches) = (after(&[(true, 0)]), 0);
            for second in 1..=600 {
                if freshness.step(false, at(second)) == Step::Fetch {
                    fetches += 1;
                    freshness.fetched(!fails, at(second));
                }
            }
            assert_eq!(fetches, 10, "fails: {fails}");
        }
    }
}
