//! A node's places in an app's quota of connections.

use std::time::{Duration, Instant};

/// How long the places of a node that is not heard of stay taken.
pub const PLACES_LAST: Duration = Duration::from_secs(10);
/// How often a node says again how many places it holds.
pub const PLACES_TOLD_EVERY: Duration = Duration::from_secs(2);
/// How long after being cut off a node gives no place by what it is told: the others may not have told yet what they hold.
const RETURN_TAKES: Duration = Duration::from_secs(2);

/// One node's places in one app's quota. As long as the registry that all nodes share answers, it decides. While it is away, a node gives
/// what it held and an even part of what was free when it last heard: then all nodes together still keep to the quota.
#[derive(Debug, Clone, Default)]
pub struct Places {
    held: u32,
    known: Option<Known>,
    trust: Trust,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    held: u32,
    others: u32,
}

#[derive(Debug, Clone, Copy, Default)]
enum Trust {
    #[default]
    Registry,
    /// The registry does not answer.
    Alone,
    /// It answers again, and counts again from then on.
    AloneUntil(Instant),
}

impl Places {
    /// How many places are taken on this node.
    pub fn held(&self) -> u32 {
        self.held
    }

    /// Whether this node decides by itself.
    pub fn is_alone(&self, now: Instant) -> bool {
        match self.trust {
            Trust::Registry => false,
            Trust::Alone => true,
            Trust::AloneUntil(until) => now < until,
        }
    }

    /// Takes a place by this node's own decision, if there is one.
    pub fn take_alone(&mut self, limit: u32, nodes: u32) -> bool {
        let Known { held, others } = self.known.unwrap_or(Known { held: 0, others: 0 });
        let part = limit.saturating_sub(held).saturating_sub(others) / nodes.max(1);
        let is_free = self.held < held.saturating_add(part).min(limit);
        self.held += u32::from(is_free);
        is_free
    }

    /// The registry was told that this node holds `told`, and gave it so many more; the other nodes hold `others`.
    pub fn answered(&mut self, told: u32, given: u32, others: u32, now: Instant) {
        self.held += given;
        match self.trust {
            Trust::Alone => self.trust = Trust::AloneUntil(now + RETURN_TAKES),
            Trust::AloneUntil(until) if now < until => {}
            Trust::AloneUntil(_) | Trust::Registry => {
                self.trust = Trust::Registry;
                self.known = Some(Known { held: told + given, others });
            }
        }
    }

    /// The registry did not answer.
    pub fn unanswered(&mut self) {
        self.trust = Trust::Alone;
    }

    /// A connection has ended.
    pub fn give_back(&mut self) {
        self.held = self.held.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken_alone(places: &mut Places, limit: u32, nodes: u32) -> usize {
        std::iter::repeat_with(|| places.take_alone(limit, nodes)).take_while(|taken| *taken).count()
    }

    #[test]
    fn nodes_that_are_cut_off_keep_to_the_quota_together() {
        for (limit, held) in [(10, vec![3, 2, 1]), (10, vec![0, 0, 0]), (10, vec![5, 5]), (7, vec![7]), (0, vec![0])] {
            let all: u32 = held.iter().sum();
            let mut taken = 0;
            for own in &held {
                let mut places = Places::default();
                places.answered(0, *own, all - own, Instant::now());
                places.unanswered();
                taken += *own as usize + taken_alone(&mut places, limit, held.len() as u32);
            }
            assert!(taken <= limit as usize, "{taken} of {limit}");
        }
    }

    #[test]
    fn a_node_that_knows_nothing_takes_an_even_part() {
        let mut places = Places::default();
        places.unanswered();
        assert_eq!(taken_alone(&mut places, 10, 3), 3);
        places.give_back();
        assert_eq!(taken_alone(&mut places, 10, 3), 1);
    }

    #[test]
    fn after_being_cut_off_a_node_waits_until_the_others_have_told() {
        let (mut places, now) = (Places::default(), Instant::now());
        places.answered(0, 2, 7, now);
        places.unanswered();
        places.answered(2, 0, 0, now);
        assert!(places.is_alone(now) && places.is_alone(now + RETURN_TAKES / 2));
        assert_eq!(taken_alone(&mut places, 10, 2), 0, "seven others were known");
        let later = now + RETURN_TAKES;
        assert!(!places.is_alone(later));
        places.answered(2, 1, 7, later);
        assert_eq!(places.held(), 3);
    }
}
