//! What is tried each second on the real path, so that its state is known before anybody asks.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use super::Wrong;

/// How often it is tried.
const EVERY: Duration = Duration::from_secs(1);
/// A success older than this counts no longer.
const STALE: Duration = Duration::from_secs(4);

/// The outcomes of trying.
#[derive(Debug, Default)]
pub struct Pulse(Mutex<Outcomes>);

#[derive(Debug, Default)]
struct Outcomes {
    /// When a try succeeded.
    success: Option<Instant>,
    /// How the last one failed.
    failure: Option<String>,
}

impl Pulse {
    /// Tries each second until `stopped` says so; one at a time, each to its end.
    pub async fn keep<T, E>(self: Arc<Self>, mut attempt: impl FnMut() -> T, mut stopped: watch::Receiver<bool>)
    where
        T: Future<Output = Result<(), E>>,
        E: std::fmt::Display,
    {
        let mut due = interval(EVERY);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = async {
                    due.tick().await;
                    let outcome = attempt().await;
                    self.note(Instant::now(), outcome);
                } => {}
                _ = stopped.wait_for(|stop| *stop) => return,
            }
        }
    }

    /// Whether it worked lately; one slow or failed try is nothing.
    pub fn state(&self, now: Instant) -> Result<(), Wrong> {
        let outcomes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (outcomes.success, &outcomes.failure) {
            (Some(success), _) if now.saturating_duration_since(success) < STALE => Ok(()),
            (_, Some(failure)) => Err(failure.clone().into()),
            (_, None) => Err("it has not answered".into()),
        }
    }

    fn note<E: std::fmt::Display>(&self, now: Instant, outcome: Result<(), E>) {
        let mut outcomes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(()) => *outcomes = Outcomes { success: Some(now), failure: None },
            Err(failure) => outcomes.failure = Some(failure.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failed_try_is_nothing_and_what_failed_is_told_once_it_lasts() {
        let (pulse, now) = (Pulse::default(), Instant::now());
        assert!(pulse.state(now).unwrap_err().contains("has not answered"));
        pulse.note(now, Ok::<_, String>(()));
        pulse.note(now + EVERY, Err("the queue is away"));
        assert_eq!(pulse.state(now + EVERY), Ok(()));
        assert_eq!(pulse.state(now + STALE).unwrap_err(), "the queue is away");
        pulse.note(now + STALE, Ok::<_, String>(()));
        assert_eq!(pulse.state(now + STALE), Ok(()));
    }

    #[tokio::test]
    async fn it_is_tried_at_once_and_until_it_is_stopped() {
        let pulse = Arc::new(Pulse::default());
        let (stop, stopped) = watch::channel(false);
        let attempt = move || {
            stop.send_replace(true);
            std::future::ready(Ok::<_, String>(()))
        };
        Arc::clone(&pulse).keep(attempt, stopped).await;
        assert_eq!(pulse.state(Instant::now()), Ok(()));
    }
}
