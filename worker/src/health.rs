//! Whether a worker's partitions move and its commits succeed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use fanfare_domain::partitions::Partition;

/// When leases that are not renewed, and a batch that does not move, are told; just before the leases end.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long taking a partition over may last: its last owner may have to be given up first.
const TAKE_OVER: Duration = Duration::from_secs(20);

/// What a worker knows of its own work.
#[derive(Debug, Default)]
pub struct Health(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    held_at: Option<Instant>,
    partitions: BTreeMap<Partition, Tended>,
}

#[derive(Debug)]
struct Tended {
    pulse: Arc<Pulse>,
    /// Since when it is in that condition.
    since: Instant,
    condition: Condition,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Its queue is not taken from yet.
    Opening,
    /// Its queue is away.
    QueueAway,
    /// Its queue is taken from.
    Open,
    /// Its log cannot be written.
    LogAway,
    /// Its log is older than the bus.
    Behind,
}

/// Since when a batch is in hand.
#[derive(Debug, Default)]
pub(crate) struct Pulse(Mutex<Option<Instant>>);

impl Pulse {
    pub(crate) fn set_busy(&self, busy: bool) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = busy.then(Instant::now);
    }

    fn is_stuck(&self, now: Instant) -> bool {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| now.saturating_duration_since(since) > PATIENCE)
    }
}

impl Health {
    /// Whether everything that this worker owns is taken from its queue to the log and the bus; else what is wrong.
    ///
    /// # Errors
    /// What does not move, in words for an operator.
    pub fn report(&self) -> Result<(), String> {
        self.report_at(Instant::now())
    }

    fn report_at(&self, now: Instant) -> Result<(), String> {
        let state = self.lock();
        let is_late = |since: Instant, patience| now.saturating_duration_since(since) > patience;
        match state.held_at {
            None => return Err("no turn at the partitions has been taken yet".to_owned()),
            Some(at) if is_late(at, PATIENCE) => {
                return Err("the leases of the partitions cannot be renewed".to_owned());
            }
            Some(_) => {}
        }
        for (partition, tended) in &state.partitions {
            let problem = match tended.condition {
                Condition::Behind => "is stopped: the database is older than the bus",
                Condition::LogAway => "waits: the database cannot be written",
                Condition::QueueAway if is_late(tended.since, PATIENCE) => "waits: its queue is away",
                Condition::Opening if is_late(tended.since, TAKE_OVER) => "cannot be taken from its queue",
                Condition::Open if tended.pulse.is_stuck(now) => "does not move",
                Condition::Opening | Condition::QueueAway | Condition::Open => continue,
            };
            return Err(format!("partition {partition} {problem}"));
        }
        Ok(())
    }

    /// How many partitions are taken from their queues.
    pub fn open_partitions(&self) -> usize {
        self.lock().partitions.values().filter(|tended| tended.condition == Condition::Open).count()
    }

    pub(crate) fn held(&self) {
        self.lock().held_at = Some(Instant::now());
    }

    pub(crate) fn set(&self, partition: Partition, condition: Condition, pulse: &Arc<Pulse>) {
        let mut state = self.lock();
        let tended = Tended { pulse: Arc::clone(pulse), since: Instant::now(), condition };
        match state.partitions.get_mut(&partition) {
            // Trying again is no new beginning.
            Some(known) if known.condition == condition => {}
            Some(known) => *known = tended,
            None => _ = state.partitions.insert(partition, tended),
        }
    }

    pub(crate) fn forget(&self, partition: Partition) {
        self.lock().partitions.remove(&partition);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_well_while_it_renews_and_its_partitions_move() {
        let health = Health::default();
        assert!(health.report().is_err());
        health.held();
        let pulse = Arc::new(Pulse::default());
        health.set(3, Condition::Opening, &pulse);
        let now = Instant::now();
        assert_eq!(health.report_at(now), Ok(()));
        assert!(health.report_at(now + PATIENCE + Duration::from_secs(1)).unwrap_err().contains("renewed"));
        health.set(3, Condition::LogAway, &pulse);
        assert!(health.report().unwrap_err().contains("partition 3"));
        health.set(3, Condition::Open, &pulse);
        assert_eq!(health.report(), Ok(()));
        assert_eq!(health.open_partitions(), 1);
        health.forget(3);
        assert_eq!(health.open_partitions(), 0);
    }

    #[test]
    fn a_queue_that_is_away_is_told_before_one_whose_last_owner_is_slow_to_go() {
        let (health, pulse) = (Health::default(), Arc::new(Pulse::default()));
        for (condition, patience) in [(Condition::QueueAway, PATIENCE), (Condition::Opening, TAKE_OVER)] {
            health.set(3, condition, &pulse);
            let at = |time| {
                health.lock().held_at = Some(time);
                health.report_at(time)
            };
            assert_eq!(at(Instant::now()), Ok(()));
            assert!(at(Instant::now() + patience + Duration::from_millis(1)).unwrap_err().contains("partition 3"));
        }
    }

    #[test]
    fn a_batch_that_stays_in_hand_is_told() {
        let pulse = Pulse::default();
        let later = Instant::now() + PATIENCE + Duration::from_secs(1);
        assert!(!pulse.is_stuck(later));
        pulse.set_busy(true);
        assert!(pulse.is_stuck(later) && !pulse.is_stuck(Instant::now()));
        pulse.set_busy(false);
        assert!(!pulse.is_stuck(later));
    }
}
