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
}

impl Ledger {
    /// A subscription begins.
    pub fn begin(&self, beginning: Beginning, now: Timestamp) -> Arc<Receipts> {
        let receipts = Receipts::begin(beginning, self.number.fetch_add(1, Ordering::Relaxed), now);
        self.lock().courses.push(Arc::clone(&receipts));
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
        self.lock().courses.push(Receipts::of(place, course));
    }

    /// Messages were accepted.
    pub fn publish(&self, publishes: impl IntoIterator<Item = Publish>) {
        let mut state = self.lock();
        state.publishes.extend(publishes);
        state.bound();
    }

    /// What is to be told now, at most so many of each kind. It counts as told, unless [`Ledger::give_back`] says otherwise.
    pub fn take(&self, most: usize, now: Timestamp) -> Lot {
        let mut state = self.lock();
        let mut lot = Lot { gaps: std::mem::take(&mut state.gaps), ..Lot::default() };
        let count = state.courses.len();
        let first = if state.next < count { state.next } else { 0 };
        let mut looked = 0;
        while looked < count && lot.courses.len() < most {
            let receipts = &state.courses[(first + looked) % count];
            if Arc::strong_count(receipts) == 1 {
                // Nobody is left who could tell how it ended.
                receipts.end(End::LEFT, now);
            }
            match receipts.tell(now) {
                Some(course) => {
                    lot.leaves |= course.end.is_some();
                    lot.courses.push((receipts.place().clone(), course));
                    lot.handles.push(Arc::clone(receipts));
                }
                None => lot.leaves |= receipts.is_over(),
            }
            looked += 1;
        }
        state.next = first + looked;
        let publishes = state.publishes.len().min(most);
        lot.publishes = state.publishes.drain(..publishes).collect();
        lot
    }

    /// A lot was heard: what is over is forgotten.
    pub fn settle(&self, lot: Lot) {
        let leaves = lot.leaves;
        drop(lot);
        if !leaves {
            return;
        }
        let is_needed = |receipts: &Arc<Receipts>| Arc::strong_count(receipts) > 1 || !receipts.is_over();
        self.lock().courses.retain(is_needed);
    }

    /// A lot was not heard: it is told again. What has ended and does not find room is let go, and noted as a gap.
    pub fn give_back(&self, lot: Lot) {
        lot.handles.iter().for_each(|receipts| receipts.tell_again());
        let mut state = self.lock();
        lot.publishes.into_iter().rev().for_each(|publish| state.publishes.push_front(publish));
        state.gaps.extend(lot.gaps);
        drop(lot.handles);
        state.bound();
        let ended = state.courses.iter().filter(|receipts| receipts.ended_at().is_some()).count();
        let mut surplus = ended.saturating_sub(COURSES_OF_APP);
        let State { courses, gaps, .. } = &mut *state;
        courses.retain(|receipts| {
            let Some(at) = receipts.ended_at().filter(|_| surplus > 0) else { return true };
            surplus -= 1;
            note(gaps, &receipts.place().app, at);
            false
        });
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

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The last publishes are those that are not stored yet.
    fn bound(&mut self) {
        let surplus = self.publishes.len().saturating_sub(PUBLISHES_OF_APP);
        self.publishes.drain(..surplus);
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
        let first = ledger.take(2, NOW);
        assert_eq!(clients(&first), ["a", "b"]);
        ledger.settle(first);
        held[0].queued(Serial(1), None);
        assert_eq!(clients(&ledger.take(2, NOW)), ["c", "a"]);
        assert!(ledger.take(2, NOW).is_empty() && !ledger.is_empty());
    }

    #[test]
    fn what_is_over_is_forgotten_once_it_is_told_and_nothing_of_it_waits() {
        let ledger = Ledger::default();
        let receipts = begin(&ledger, "a");
        ledger.settle(ledger.take(9, NOW));
        receipts.end(End::UNSUBSCRIBED, NOW);
        ledger.settle(ledger.take(9, NOW));
        assert!(!ledger.is_empty(), "something of it may still leave the outbox");
        receipts.queued(Serial(1), None);
        receipts.written(Serial(1));
        drop(receipts);
        let lot = ledger.take(9, NOW);
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
        let lot = ledger.take(2, NOW);
        assert_eq!((clients(&lot).len(), lot.publishes.len()), (2, 2));
        ledger.give_back(lot);
        let lot = ledger.take(9, NOW);
        assert_eq!((clients(&lot).len(), &lot.publishes[..]), (2, &[publish(1), publish(2), publish(3)][..]));
        assert!(lot.courses.iter().any(|(_, course)| course.end.as_ref().is_some_and(|end| end.is_refusal)));
        ledger.settle(lot);
        assert!(ledger.take(9, NOW).is_empty());
        ledger.tell_anew();
        assert_eq!(clients(&ledger.take(9, NOW)), ["a"], "the refusal is told, and is gone");
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
        ledger.give_back(ledger.take(9, NOW));
        let lot = ledger.take(usize::MAX, NOW);
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
        let lot = ledger.take(9, NOW);
        assert_eq!(clients(&lot), ["a"]);
        assert_eq!(lot.courses[0].1.end.as_ref().unwrap().reason, End::LEFT);
        drop(void);
        ledger.settle(lot);
        assert!(ledger.is_empty());
    }
}
