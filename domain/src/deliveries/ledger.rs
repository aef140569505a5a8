//! The ledger of a node: the courses of its subscriptions, and what of them the trace has to be told.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{Beginning, COURSES_OF_APP, Course, End, PUBLISHES_OF_APP, Place, Publish, Receipts};
use crate::{Timestamp, ids::AppId, ids::ConnectionId};

/// What is told in one go.
#[derive(Debug, Default)]
pub struct Lot {
    /// Courses, as they are now.
    pub courses: Vec<(Place, Course)>,
    /// Messages that were accepted.
    pub publishes: Vec<Publish>,
    /// Apps of which courses were let go that could not be told, and up to when.
    pub gaps: Vec<(AppId, Timestamp)>,
    /// Up to when the node has told everything but how far courses are, once this is told; `None` while it never had a course.
    pub caught_up: Option<Timestamp>,
    handles: Vec<Arc<Receipts>>,
    /// Whether some may be forgotten once it is heard.
    leaves: bool,
}

impl Lot {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.courses.is_empty() && self.publishes.is_empty() && self.gaps.is_empty()
    }
}

/// What a node has to tell the trace. However often a course changes between two lots, it is told once.
#[derive(Debug, Default)]
pub struct Ledger {
    number: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    courses: Vec<Arc<Receipts>>,
    /// From where the next lot looks for news.
    next: usize,
    publishes: VecDeque<Publish>,
    gaps: Vec<(AppId, Timestamp)>,
    /// Up to when all that is urgent was told; `None` while there never was a course.
    caught_up: Option<Timestamp>,
}

impl Ledger {
    /// A subscription begins.
    pub fn begin(&self, beginning: Beginning, now: Timestamp) -> Arc<Receipts> {
        let receipts = Receipts::begin(beginning, self.number.fetch_add(1, Ordering::Relaxed), now);
        self.lock().add(Arc::clone(&receipts), now);
        receipts
    }

    /// A subscription was refused.
    pub fn refuse(
        &self,
        place: Place,
        connection: ConnectionId,
        transport: &'static str,
        code: &'static str,
        now: Timestamp,
    ) {
        // A client that asks again and again on one connection has one refusal.
        let id = format!("{connection}-refused");
        let end = End { at: now, reason: code.to_owned(), is_refusal: true };
        let course = Course { end: Some(end), ..Course::new(id, connection, transport, None, Default::default(), now) };
        self.lock().add(Receipts::of(place, course), now);
    }

    /// Messages were accepted.
    pub fn publish(&self, publishes: impl IntoIterator<Item = Publish>) {
        let mut state = self.lock();
        state.publishes.extend(publishes);
        let surplus = state.publishes.len().saturating_sub(PUBLISHES_OF_APP);
        state.publishes.drain(..surplus);
    }

    /// What is urgent: what began, ended, was held or accepted; at most so many of each kind. It counts as told, unless [`Ledger::give_back`] says
    /// otherwise.
    pub fn take_urgent(&self, most: usize, now: Timestamp) -> Lot {
        let mut state = self.lock();
        state.bound();
        let mut lot = Lot { gaps: std::mem::take(&mut state.gaps), caught_up: state.caught_up, ..Lot::default() };
        let looked = lot.fill(state.courses.iter(), most, now, true);
        if looked == state.courses.len() {
            lot.caught_up = lot.caught_up.map(|_| now);
        }
        let publishes = state.publishes.len().min(most);
        lot.publishes = state.publishes.drain(..publishes).collect();
        lot
    }

    /// How far courses are, at most so many, in turn.
    pub fn take_progress(&self, most: usize, now: Timestamp) -> Lot {
        let mut state = self.lock();
        let mut lot = Lot { caught_up: state.caught_up, ..Lot::default() };
        let first = if state.next < state.courses.len() { state.next } else { 0 };
        let (before, after) = state.courses.split_at(first);
        let looked = lot.fill(after.iter().chain(before), most, now, false);
        state.next = first + looked;
        lot
    }

    /// A lot was heard: what is over is forgotten.
    pub fn settle(&self, lot: Lot) {
        let mut state = self.lock();
        state.caught_up = lot.caught_up.or(state.caught_up);
        let leaves = lot.leaves;
        drop(lot);
        if leaves {
            let is_needed = |receipts: &Arc<Receipts>| Arc::strong_count(receipts) > 1 || !receipts.is_over();
            state.courses.retain(is_needed);
        }
    }

    /// A lot was not heard: it is told again. What has ended and does not find room is let go, and noted as a gap.
    pub fn give_back(&self, lot: Lot) {
        lot.handles.iter().for_each(|receipts| receipts.tell_again());
        let mut state = self.lock();
        lot.publishes.into_iter().rev().for_each(|publish| state.publishes.push_front(publish));
        state.gaps.extend(lot.gaps);
        drop(lot.handles);
        state.bound();
    }

    /// The trace may have forgotten everything: all is told anew.
    pub fn tell_anew(&self) {
        self.lock().courses.iter().for_each(|receipts| receipts.tell_again());
    }

    /// Whether there is anything of which the trace knows or has to know.
    pub fn is_empty(&self) -> bool {
        let state = self.lock();
        state.courses.is_empty() && state.publishes.is_empty() && state.gaps.is_empty()
    }

    /// Whether there ever was a course, so that others go by what this node has told.
    pub fn has_begun(&self) -> bool {
        self.lock().caught_up.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lot {
    /// Takes what is to be told until there are so many; how many were looked at.
    fn fill<'a>(
        &mut self,
        courses: impl Iterator<Item = &'a Arc<Receipts>>,
        most: usize,
        now: Timestamp,
        only_urgent: bool,
    ) -> usize {
        let mut looked = 0;
        for receipts in courses {
            if self.courses.len() >= most {
                break;
            }
            looked += 1;
            if Arc::strong_count(receipts) == 1 {
                // Nobody is left who could tell how it ended.
                receipts.end(End::LEFT, now);
            }
            match receipts.tell(now, only_urgent) {
                Some(course) => {
                    self.leaves |= course.end.is_some();
                    self.courses.push((receipts.place().clone(), course));
                    self.handles.push(Arc::clone(receipts));
                }
                None => self.leaves |= receipts.is_over(),
            }
        }
        looked
    }
}

impl State {
    fn add(&mut self, receipts: Arc<Receipts>, now: Timestamp) {
        self.caught_up.get_or_insert(now);
        self.courses.push(receipts);
    }

    /// The last publishes are those that are not stored yet. Of courses that have ended and wait to be told, however fast clients come and go, the
    /// oldest are let go, which is noted.
    fn bound(&mut self) {
        let surplus = self.publishes.len().saturating_sub(PUBLISHES_OF_APP);
        self.publishes.drain(..surplus);
        if self.courses.len() <= COURSES_OF_APP {
            return;
        }
        let ended = self.courses.iter().filter(|receipts| receipts.ended_at().is_some()).count();
        let mut surplus = ended.saturating_sub(COURSES_OF_APP);
        let State { courses, gaps, .. } = self;
        courses.retain(|receipts| {
            let Some(at) = receipts.ended_at().filter(|_| surplus > 0) else { return true };
            surplus -= 1;
            note(gaps, &receipts.place().app, at);
            false
        });
    }
}

/// Takes note that an app's courses up to a time were let go.
fn note(gaps: &mut Vec<(AppId, Timestamp)>, app: &AppId, at: Timestamp) {
    match gaps.iter_mut().find(|(of, _)| of == app) {
        Some((_, last)) => *last = at.max(*last),
        None => gaps.push((app.clone(), at)),
    }
}

#[cfg(test)]
mod tests {
    use fanfare_protocol::{ChannelName, ClientName, Epoch, Serial};

    use super::*;
    use crate::ids::MessageId;

    const NOW: Timestamp = Timestamp(5_000);

    fn place(client: &str) -> Place {
        let (app, channel) = (AppId::parse("app_a").unwrap(), ChannelName::parse("chat").unwrap());
        Place { app, channel, client: ClientName::parse(client).unwrap() }
    }

    fn begin(ledger: &Ledger, client: &str) -> Arc<Receipts> {
        let beginning = Beginning {
            place: place(client),
            connection: ConnectionId::generate(),
            transport: "websocket",
            epoch: Epoch::new("e"),
            from: Serial(0),
            is_late: false,
        };
        ledger.begin(beginning, NOW)
    }

    fn clients(lot: &Lot) -> Vec<&str> {
        lot.courses.iter().map(|(place, _)| place.client.as_str()).collect()
    }

    #[test]
    fn a_lot_is_bounded_and_the_rest_follows() {
        let ledger = Ledger::default();
        let held: Vec<_> = ["a", "b", "c"].iter().map(|client| begin(&ledger, client)).collect();
        let first = ledger.take_urgent(2, NOW);
        assert_eq!((clients(&first), first.caught_up), (vec!["a", "b"], Some(NOW)));
        ledger.settle(first);
        held[0].queued(Serial(1), None);
        let later = Timestamp(6_000);
        let second = ledger.take_urgent(2, later);
        assert_eq!((clients(&second), second.caught_up), (vec!["c"], Some(later)), "how far a course is is not urgent");
        ledger.settle(second);
        assert!(ledger.take_urgent(2, later).is_empty() && !ledger.is_empty());
        held[1].queued(Serial(1), None);
        held[2].queued(Serial(1), None);
        let lot = ledger.take_progress(2, later);
        assert_eq!((clients(&lot), lot.caught_up), (vec!["a", "b"], Some(later)));
        ledger.settle(lot);
        held[0].queued(Serial(2), None);
        assert_eq!(clients(&ledger.take_progress(2, later)), ["c", "a"]);
        assert_eq!(clients(&ledger.take_progress(2, later)), Vec::<&str>::new());
    }

    #[test]
    fn what_is_cut_off_keeps_the_ledger_from_having_caught_up() {
        let ledger = Ledger::default();
        assert_eq!(ledger.take_urgent(2, NOW).caught_up, None);
        let _held: Vec<_> = ["a", "b", "c"].iter().map(|client| begin(&ledger, client)).collect();
        let lot = ledger.take_urgent(2, Timestamp(9_000));
        assert_eq!(lot.caught_up, Some(NOW), "since when there are courses");
        ledger.give_back(lot);
        let lot = ledger.take_urgent(9, Timestamp(9_000));
        assert_eq!((clients(&lot).len(), lot.caught_up), (3, Some(Timestamp(9_000))));
    }

    #[test]
    fn what_is_over_is_forgotten_once_it_is_told_and_nothing_of_it_waits() {
        let ledger = Ledger::default();
        let receipts = begin(&ledger, "a");
        ledger.settle(ledger.take_urgent(9, NOW));
        receipts.end(End::UNSUBSCRIBED, NOW);
        ledger.settle(ledger.take_urgent(9, NOW));
        assert!(!ledger.is_empty(), "something of it may still leave the outbox");
        receipts.queued(Serial(1), None);
        receipts.written(Serial(1));
        drop(receipts);
        let lot = ledger.take_progress(9, NOW);
        assert_eq!(lot.courses[0].1.written, Serial(1));
        assert_eq!(lot.courses[0].1.end.as_ref().unwrap().reason, End::UNSUBSCRIBED);
        ledger.settle(lot);
        assert!(ledger.is_empty());
    }

    #[test]
    fn what_was_not_heard_is_told_again_and_anew_all_is() {
        let ledger = Ledger::default();
        let _open = begin(&ledger, "a");
        ledger.refuse(place("b"), ConnectionId::generate(), "sse", "forbidden", NOW);
        let publish = |number: u32| Publish {
            app: place("a").app,
            channel: place("a").channel,
            message: MessageId::parse(&format!("msg_{number}")).unwrap(),
            is_ephemeral: false,
        };
        ledger.publish([publish(1), publish(2), publish(3)]);
        let lot = ledger.take_urgent(2, NOW);
        assert_eq!((clients(&lot).len(), lot.publishes.len()), (2, 2));
        ledger.give_back(lot);
        let lot = ledger.take_urgent(9, NOW);
        assert_eq!((clients(&lot).len(), &lot.publishes[..]), (2, &[publish(1), publish(2), publish(3)][..]));
        assert!(lot.courses.iter().any(|(_, course)| course.end.as_ref().is_some_and(|end| end.is_refusal)));
        ledger.settle(lot);
        assert!(ledger.take_urgent(9, NOW).is_empty());
        ledger.tell_anew();
        assert_eq!(clients(&ledger.take_urgent(9, NOW)), ["a"], "the refusal is told, and is gone");
    }

    #[test]
    fn while_nobody_hears_the_oldest_that_has_ended_is_let_go_and_that_is_noted() {
        let ledger = Ledger::default();
        let _open = begin(&ledger, "a");
        for at in 0..COURSES_OF_APP as u64 + 3 {
            ledger.refuse(place("b"), ConnectionId::generate(), "sse", "forbidden", Timestamp(at));
        }
        ledger.publish((0..PUBLISHES_OF_APP + 3).map(|number| Publish {
            app: place("a").app,
            channel: place("a").channel,
            message: MessageId::parse(&format!("msg_{number}")).unwrap(),
            is_ephemeral: false,
        }));
        ledger.give_back(ledger.take_urgent(9, NOW));
        let lot = ledger.take_urgent(usize::MAX, NOW);
        assert_eq!(lot.courses.len(), COURSES_OF_APP + 1);
        assert_eq!(lot.gaps, [(place("a").app, Timestamp(2))]);
        assert_eq!((lot.publishes.len(), lot.publishes[0].message.as_str()), (PUBLISHES_OF_APP, "msg_3"));
    }

    #[test]
    fn what_nobody_holds_any_more_has_ended_and_what_is_void_is_not_told() {
        let ledger = Ledger::default();
        drop(begin(&ledger, "a"));
        let void = begin(&ledger, "b");
        void.void();
        let lot = ledger.take_urgent(9, NOW);
        assert_eq!(clients(&lot), ["a"]);
        assert_eq!(lot.courses[0].1.end.as_ref().unwrap().reason, End::LEFT);
        drop(void);
        ledger.settle(lot);
        assert!(ledger.is_empty());
    }
}
