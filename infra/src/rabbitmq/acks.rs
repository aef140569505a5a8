//! What is settled and not acknowledged yet. Each ack is a command that the broker's queue has to write down like a message, so those of a busy queue are gathered for a moment.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use lapin::Acker;

/// A queue is acknowledged at most so often …
const EVERY: Duration = Duration::from_millis(50);
/// … unless so many of its messages are settled: a quarter of what the broker hands out ahead.
const MOST: usize = 64;

/// What is settled of one consumer.
#[derive(Default)]
pub(super) struct Acks(Mutex<State>);

#[derive(Default)]
struct State {
    /// Of the last message; an ack of it covers all before it.
    last: Option<Acker>,
    messages: usize,
    acked: Option<Instant>,
    is_awaited: bool,
}

/// When an ack is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Now.
    Now,
    /// After so long, and nobody waits for that yet.
    In(Duration),
    /// Somebody waits already.
    Awaited,
}

impl Acks {
    /// Notes that so many more messages are settled, the last of which has this acker.
    pub fn note(&self, last: Acker, messages: usize, now: Instant) -> Due {
        let mut state = self.lock();
        state.last = Some(last);
        state.note(messages, now)
    }

    /// What is to be acknowledged now, if anything is.
    pub fn take(&self, now: Instant) -> Option<Acker> {
        let mut state = self.lock();
        let last = state.last.take()?;
        *state = State { acked: Some(now), ..State::default() };
        Some(last)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note(&mut self, messages: usize, now: Instant) -> Due {
        self.messages += messages;
        let since = self.acked.map_or(EVERY, |acked| now.saturating_duration_since(acked));
        if since >= EVERY || self.messages >= MOST {
            return Due::Now;
        }
        if std::mem::replace(&mut self.is_awaited, true) { Due::Awaited } else { Due::In(EVERY - since) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_acknowledged_at_once_and_many_together() {
        let now = Instant::now();
        let ms = Duration::from_millis;
        let mut state = State::default();
        assert_eq!(state.note(1, now), Due::Now);
        state = State { acked: Some(now), ..State::default() };
        assert_eq!(state.note(1, now + ms(5)), Due::In(ms(45)));
        assert_eq!(state.note(1, now + ms(6)), Due::Awaited);
        assert_eq!(state.note(MOST - 2, now + ms(7)), Due::Now);
        state = State { acked: Some(now), ..State::default() };
        assert_eq!(state.note(1, now + EVERY), Due::Now);
    }
}
