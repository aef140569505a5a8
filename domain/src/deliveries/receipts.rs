//! The receipts of one subscription while it goes on: what was put into the outbox, and what has left it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fanfare_protocol::{Epoch, Serial};

use super::{Course, End, Passed, Passing, Place, TOLD_AGAIN};
use crate::{Timestamp, ids::ConnectionId};

/// Ranges of serials that were passed over, kept of one course.
const PASSED: usize = 50;
/// Moments kept of one course; when there are more, every other one goes.
const STEPS: usize = 32;

/// How a course begins.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// Whose it is.
    pub place: Place,
    /// The connection.
    pub connection: ConnectionId,
    /// What carries it: `websocket`, `pusher`, `sse` or `poll`.
    pub transport: &'static str,
    /// The channel's epoch.
    pub epoch: Epoch,
    /// Everything after this serial is to be delivered.
    pub from: Serial,
    /// Whether the subscription was there before.
    pub is_late: bool,
}

/// What one subscription has done so far. Held by the subscription and by what waits in its outbox; a lock is held for moments only.
#[derive(Debug)]
pub struct Receipts {
    place: Place,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    course: Course,
    /// Something is to be told.
    is_news: bool,
    /// And that soon: it began, ended, was held or went on. How far it is may wait.
    is_urgent: bool,
    /// Nothing more is to be told.
    is_void: bool,
}

impl Receipts {
    pub(super) fn begin(beginning: Beginning, number: u64, now: Timestamp) -> Arc<Self> {
        let Beginning { place, connection, transport, epoch, from, is_late } = beginning;
        // A poll that is repeated from where the last one began says more of the same.
        let id = match transport {
            "poll" => format!("poll-{epoch}-{from}"),
            _ => format!("{connection}-{number}"),
        };
        let course = Course { is_late, ..Course::new(id, connection, transport, Some(epoch), from, now) };
        Self::of(place, course)
    }

    pub(super) fn of(place: Place, course: Course) -> Arc<Self> {
        Arc::new(Self { place, state: Mutex::new(State { course, is_news: true, is_urgent: true, is_void: false }) })
    }

    /// Everything up to this serial is in the outbox; what of it was passed over, and why.
    pub fn queued(&self, serial: Serial, passing: Option<Passing>) {
        let mut state = self.lock();
        let from = state.course.queued.next();
        state.course.queued = serial;
        if let Some(why) = passing {
            state.course.pass(Passed { from, to: serial, why });
        }
        state.is_news = true;
    }

    /// Everything up to this serial has left the outbox.
    pub fn written(&self, serial: Serial) {
        let mut state = self.lock();
        state.course.written = state.course.written.max(serial);
        state.is_news = true;
    }

    /// Whether nothing is delivered for now.
    pub fn hold(&self, is_held: bool) {
        let mut state = self.lock();
        let is_other = state.course.is_held != is_held;
        (state.is_news, state.is_urgent) = (state.is_news || is_other, state.is_urgent || is_other);
        state.course.is_held = is_held;
    }

    /// The subscription has ended. What waits in the outbox may still be written; only the first end counts.
    pub fn end(&self, reason: &str, now: Timestamp) {
        let mut state = self.lock();
        if state.course.end.is_none() {
            state.course.end = Some(End { at: now, reason: reason.to_owned(), is_refusal: false });
            (state.is_news, state.is_urgent) = (true, true);
        }
    }

    /// Nothing more is told of it: the app has switched its trace off.
    pub fn void(&self) {
        self.lock().is_void = true;
    }

    /// Whose it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What is to be told, if anything is, or if anything is urgent; it counts as told.
    pub(super) fn tell(&self, now: Timestamp, only_urgent: bool) -> Option<Course> {
        let mut state = self.lock();
        let is_due = state.course.end.is_none() && now.since(state.course.told_at) >= TOLD_AGAIN;
        let is_wanted = if only_urgent { state.is_urgent } else { state.is_news || is_due };
        if state.is_void || !is_wanted {
            return None;
        }
        (state.is_news, state.is_urgent) = (false, false);
        state.course.told_at = now;
        state.course.step(now);
        Some(state.course.clone())
    }

    /// What was told was not heard.
    pub(super) fn tell_again(&self) {
        let mut state = self.lock();
        (state.is_news, state.is_urgent) = (true, true);
    }

    /// Whether it has ended, and all is told that there was.
    pub(super) fn is_over(&self) -> bool {
        let state = self.lock();
        state.is_void || (state.course.end.is_some() && !state.is_news)
    }

    /// When it ended.
    pub(super) fn ended_at(&self) -> Option<Timestamp> {
        self.lock().course.end.as_ref().map(|end| end.at)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Course {
    pub(super) fn new(
        id: String,
        connection: ConnectionId,
        transport: &str,
        epoch: Option<Epoch>,
        from: Serial,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            connection,
            transport: transport.to_owned(),
            epoch,
            from,
            is_late: false,
            queued: from,
            written: from,
            steps: Vec::new(),
            passed: Vec::new(),
            passed_before: Serial(0),
            began_at: now,
            told_at: now,
            is_held: false,
            end: None,
        }
    }

    fn pass(&mut self, passed: Passed) {
        match self.passed.last_mut() {
            Some(last) if last.why == passed.why && last.to.next() == passed.from => last.to = passed.to,
            _ => self.passed.push(passed),
        }
        if self.passed.len() > PASSED {
            self.passed_before = self.passed.remove(0).to;
        }
    }

    fn step(&mut self, now: Timestamp) {
        if self.written > self.steps.last().map_or(self.from, |(serial, _)| *serial) {
            self.steps.push((self.written, now));
        }
        if self.steps.len() > STEPS {
            // The last one is always kept.
            let mut number = self.steps.len();
            self.steps.retain(|_| {
                number -= 1;
                number.is_multiple_of(2)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use fanfare_protocol::{ChannelName, ClientName};

    use super::*;
    use crate::ids::AppId;

    fn receipts(transport: &'static str) -> Arc<Receipts> {
        let place = Place {
            app: AppId::parse("app_a").unwrap(),
            channel: ChannelName::parse("chat").unwrap(),
            client: ClientName::parse("ann").unwrap(),
        };
        let connection = ConnectionId::parse("con_1").unwrap();
        let (epoch, from) = (Epoch::new("e"), Serial(10));
        let beginning = Beginning { place, connection, transport, epoch, from, is_late: false };
        Receipts::begin(beginning, 7, Timestamp(1_000))
    }

    #[test]
    fn what_has_changed_is_told_once_and_an_open_course_now_and_then() {
        let receipts = receipts("websocket");
        let begun = receipts.tell(Timestamp(1_000), false).unwrap();
        assert_eq!((begun.id.as_str(), begun.queued, begun.written), ("con_1-7", Serial(10), Serial(10)));
        assert_eq!(receipts.tell(Timestamp(2_000), false), None);
        receipts.queued(Serial(11), None);
        receipts.queued(Serial(12), None);
        receipts.written(Serial(11));
        assert_eq!(receipts.tell(Timestamp(2_500), true), None, "how far it is may wait");
        let told = receipts.tell(Timestamp(3_000), false).unwrap();
        assert_eq!((told.queued, told.written, told.told_at), (Serial(12), Serial(11), Timestamp(3_000)));
        assert_eq!(told.steps, [(Serial(11), Timestamp(3_000))]);
        receipts.tell_again();
        assert!(receipts.tell(Timestamp(3_500), false).is_some());
        assert_eq!(receipts.tell(Timestamp(603_000), false), None);
        assert!(receipts.tell(Timestamp(603_500), false).is_some());
        assert!(!receipts.is_over());
        receipts.end(End::LEFT, Timestamp(604_000));
        receipts.end("draining", Timestamp(605_000));
        assert!(!receipts.is_over(), "it is not told yet");
        let end = receipts.tell(Timestamp(606_000), true).unwrap().end.unwrap();
        assert_eq!((end.reason.as_str(), end.at), (End::LEFT, Timestamp(604_000)));
        assert!(receipts.is_over());
        assert_eq!(receipts.tell(Timestamp(9_000_000), false), None);
    }

    #[test]
    fn polls_from_one_position_have_one_course() {
        assert_eq!(receipts("poll").tell(Timestamp(0), false).unwrap().id, "poll-e-10");
    }

    #[test]
    fn what_was_passed_over_is_kept_in_ranges_of_which_the_last_stay() {
        let receipts = receipts("websocket");
        let filtered = Some(Passing::Filtered);
        for serial in 11..=13 {
            receipts.queued(Serial(serial), filtered);
        }
        receipts.queued(Serial(20), Some(Passing::PastRetention));
        let course = receipts.tell(Timestamp(1_000), false).unwrap();
        let ranges: Vec<_> = course.passed.iter().map(|passed| (passed.from.0, passed.to.0)).collect();
        assert_eq!((ranges, course.passed_before), (vec![(11, 13), (14, 20)], Serial(0)));
        for serial in 21..400 {
            receipts.queued(Serial(serial), filtered.filter(|_| serial % 2 == 0));
        }
        let course = receipts.tell(Timestamp(1_000), false).unwrap();
        assert_eq!((course.passed.len(), course.passed_before), (50, Serial(298)));
        assert_eq!(course.passed[0].from, Serial(300));
    }

    #[test]
    fn moments_are_bounded_and_the_last_one_stays() {
        let receipts = receipts("websocket");
        for n in 1..=200u64 {
            receipts.written(Serial(10 + n));
            receipts.tell(Timestamp(n * 1_000), false).unwrap();
        }
        receipts.tell_again();
        let steps = receipts.tell(Timestamp(300_000), false).unwrap().steps;
        assert!(steps.len() <= STEPS && steps.is_sorted(), "{steps:?}");
        assert_eq!(steps.last(), Some(&(Serial(210), Timestamp(200_000))));
    }
}
