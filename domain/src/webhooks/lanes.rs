//! A lane: what one webhook is to be told in order, tried again until its time is over. A machine without a clock.

use std::{collections::VecDeque, time::Duration};

use crate::Timestamp;

/// How long something is tried.
pub const WINDOW: Duration = Duration::from_secs(300);
/// The pause after a first failure; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How much goes into one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// At most so many.
    pub most: usize,
    /// How long the first one waits for others.
    pub linger: Duration,
}

impl Patience {
    /// One at a time, at once.
    pub const ALONE: Patience = Patience { most: 1, linger: Duration::ZERO };
    /// Up to 20, or what has come in 250 ms.
    pub const BATCHED: Patience = Patience { most: 20, linger: Duration::from_millis(250) };
}

/// What a lane does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The first so many are to be sent now.
    Send(usize),
    /// Nothing before that time.
    Wait(Timestamp),
    /// Nothing, until something is pushed.
    Rest,
}

/// One lane. What was sent stays in it until it is answered.
#[derive(Debug)]
pub struct Lane<T> {
    waiting: VecDeque<(Timestamp, T)>,
    failures: u32,
    retry_at: Option<Timestamp>,
}

impl<T> Default for Lane<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), failures: 0, retry_at: None }
    }
}

impl<T> Lane<T> {
    /// Puts something at its end.
    pub fn push(&mut self, item: T, now: Timestamp) {
        self.waiting.push_back((now, item));
    }

    /// How much is in it.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What is in it, in order.
    pub fn items(&self) -> impl Iterator<Item = &T> {
        self.waiting.iter().map(|(_, item)| item)
    }

    /// What to do.
    pub fn step(&self, patience: Patience, now: Timestamp) -> Step {
        let Some((since, _)) = self.waiting.front() else { return Step::Rest };
        let is_full = self.waiting.len() >= patience.most;
        let ready = if is_full { *since } else { since.after(patience.linger) };
        match self.retry_at.map_or(ready, |at| at.max(ready)) {
            at if at > now => Step::Wait(at),
            _ => Step::Send(self.waiting.len().min(patience.most)),
        }
    }

    /// The first so many were taken, and are let go.
    pub fn taken(&mut self, count: usize) -> Vec<T> {
        self.failures = 0;
        self.retry_at = None;
        self.waiting.drain(..count.min(self.waiting.len())).map(|(_, item)| item).collect()
    }

    /// The first ones were not taken. They are tried again after a pause, and a last time as their window ends; what has been tried for, or has waited
    /// behind what failed, for the whole window is let go.
    pub fn failed(&mut self, now: Timestamp) -> Vec<T> {
        self.failures += 1;
        let over = self.waiting.iter().take_while(|(since, _)| now.since(*since) >= WINDOW).count();
        let over: Vec<T> = self.waiting.drain(..over).map(|(_, item)| item).collect();
        let pause = FIRST_PAUSE.saturating_mul(1 << (self.failures - 1).min(16)).min(LONGEST_PAUSE);
        let end = self.waiting.front().map(|(since, _)| since.after(WINDOW));
        self.retry_at = end.map(|end| now.after(pause).min(end.max(now.after(FIRST_PAUSE))));
        over
    }

    /// Takes the oldest out that is not among the first so many, which are under way.
    pub fn give_up(&mut self, under_way: usize) -> Option<T> {
        self.waiting.remove(under_way).map(|(_, item)| item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp(1_000_000 + ms)
    }

    #[test]
    fn what_is_never_taken_is_tried_for_five_minutes_with_growing_pauses_and_then_let_go() {
        let mut lane = Lane::default();
        lane.push("a", at(0));
        let (mut now, mut tries, mut dropped) = (at(0), Vec::new(), Vec::new());
        while dropped.is_empty() {
            match lane.step(Patience::ALONE, now) {
                Step::Send(1) => {
                    tries.push(now.since(at(0)).as_secs());
                    dropped = lane.failed(now);
                }
                Step::Wait(later) => now = later,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(tries, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 300]);
        assert_eq!(dropped, ["a"]);
        assert_eq!(lane.step(Patience::ALONE, now), Step::Rest);
    }

    #[test]
    fn what_waits_behind_a_failure_keeps_its_place_and_goes_with_it_only_at_its_own_time() {
        let mut lane = Lane::default();
        lane.push("a", at(0));
        assert!(lane.failed(at(0)).is_empty());
        lane.push("b", at(1_000));
        lane.push("c", at(290_000));
        assert_eq!(lane.failed(at(301_500)), ["a", "b"]);
        assert_eq!(lane.taken(1), ["c"]);
        lane.push("d", at(400_000));
        assert_eq!(lane.step(Patience::ALONE, at(400_000)), Step::Send(1), "after success nothing waits");
    }

    #[test]
    fn a_batch_waits_for_others_a_moment_and_no_longer_than_until_it_is_full() {
        let mut lane = Lane::default();
        lane.push(0, at(0));
        lane.push(1, at(100));
        assert_eq!(lane.step(Patience::BATCHED, at(100)), Step::Wait(at(250)));
        assert_eq!(lane.step(Patience::BATCHED, at(250)), Step::Send(2));
        for item in 2..30 {
            lane.push(item, at(110));
        }
        assert_eq!(lane.step(Patience::BATCHED, at(110)), Step::Send(20));
        assert_eq!(lane.taken(20), (0..20).collect::<Vec<_>>());
        assert_eq!(lane.give_up(1), Some(21));
        assert_eq!(lane.len(), 9);
    }
}
