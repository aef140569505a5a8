//! A local channel: how far the bus is, who follows it, and what was heard lately while somebody catches up.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::{Rc, Weak},
    sync::Arc,
};

use fanfare_domain::{
    Timestamp, deliveries::Passing, history::Head, ids::ConnectionId, messages::Envelope, metrics::Metric,
};
use fanfare_protocol::{Epoch, Serial};
use tracing::Span;

use super::{
    ChannelKey, Hub,
    fan_out::Turns,
    frames::{self, Encoded},
    late::Late,
    presence::Watch,
    subscription::{Mode, Subscription},
};
use crate::wire::Leaving;

/// Bytes of frames that a channel holds for those who catch up; past that they read history.
const RECENT_BYTES: usize = 256 * 1024;

pub(super) struct Channel {
    pub(super) key: ChannelKey,
    hub: Weak<Hub>,
    /// Which life of the channel this is, once it is known.
    epoch: RefCell<Option<Epoch>>,
    /// The highest serial that is known to exist: heard from the bus, or read.
    seen: Cell<Serial>,
    subscribers: RefCell<Vec<Rc<Subscription>>>,
    holds: Cell<usize>,
    recent: RefCell<Option<Box<Recent>>>,
    /// What waits for its turn.
    pub(super) turns: Late<Turns>,
    /// Its members, while somebody watches.
    pub(super) watch: Late<Watch>,
}

/// A message on its way to those who follow.
pub(super) struct Outgoing {
    pub(super) message: Rc<Encoded>,
    pub(super) leaving: Leaving,
    /// Ends with the fan-out.
    _span: Option<Span>,
    /// How many have it.
    pub(super) delivered: u64,
    /// Those who found a hole before it.
    pub(super) behind: Vec<Rc<Subscription>>,
}

impl Outgoing {
    /// The same, within a span that ends with it.
    pub(super) fn within(self, span: Option<Span>) -> Self {
        Self { _span: span, ..self }
    }
}

/// A message as the bus brought it.
struct Heard {
    serial: Serial,
    message: Rc<Encoded>,
}

/// Frames without holes up to the last one heard, and how many catch up that may want them; kept as long as one does.
#[derive(Default)]
struct Recent {
    wanted_by: usize,
    frames: VecDeque<Heard>,
    bytes: usize,
}

impl Channel {
    pub(super) fn new(key: ChannelKey, hub: Weak<Hub>) -> Self {
        Self {
            key,
            hub,
            epoch: RefCell::default(),
            seen: Cell::default(),
            subscribers: RefCell::default(),
            holds: Cell::default(),
            recent: RefCell::default(),
            turns: Late::default(),
            watch: Late::default(),
        }
    }

    /// Whether a message is being handed out in parts.
    pub(super) fn is_held(&self) -> bool {
        self.turns.if_used().is_some_and(Turns::are_held)
    }

    /// Whether somebody watches its members.
    pub(super) fn is_watched(&self) -> bool {
        self.watch.if_used().is_some_and(Watch::is_wanted)
    }

    /// How many follow.
    pub(super) fn count(&self) -> usize {
        self.subscribers.borrow().len()
    }

    pub(super) fn seen(&self) -> Serial {
        self.seen.get()
    }

    /// Takes note of a serial that exists.
    pub(super) fn saw(&self, serial: Serial) {
        self.seen.set(self.seen.get().max(serial));
    }

    /// Whether that is another epoch than the one known.
    pub(super) fn is_other_epoch(&self, epoch: &Epoch) -> bool {
        self.epoch.borrow().as_ref().is_some_and(|known| known != epoch)
    }

    /// Which life of the channel this is, once it is known.
    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.epoch.borrow().clone()
    }

    /// Takes note of the epoch, if none is known yet.
    pub(super) fn begin_epoch_if_none(&self, head: &Head) {
        self.epoch.borrow_mut().get_or_insert_with(|| head.epoch.clone());
    }

    /// Goes over to another epoch; nothing of the one before it is known any more.
    pub(super) fn begin_epoch(&self, head: &Head) {
        *self.epoch.borrow_mut() = Some(head.epoch.clone());
        self.seen.set(head.serial);
        self.turns.if_used().into_iter().for_each(Turns::clear);
        self.recent.borrow_mut().iter_mut().for_each(|recent| recent.forget());
    }

    /// Everyone who follows.
    pub(super) fn subscriptions(&self) -> Vec<Rc<Subscription>> {
        self.subscribers.borrow().clone()
    }

    /// Those who are live and lack something that exists.
    pub(super) fn behind(&self) -> Vec<Rc<Subscription>> {
        let lacks = |one: &&Rc<Subscription>| one.mode() == Mode::Live && one.position() < self.seen();
        self.subscribers.borrow().iter().filter(lacks).cloned().collect()
    }

    pub(super) fn is_unused(&self) -> bool {
        self.holds.get() == 0 && self.subscribers.borrow().is_empty()
    }

    /// Keeps the channel listened to, without a subscriber.
    pub(super) fn hold(&self) {
        self.holds.set(self.holds.get() + 1);
    }

    /// Undoes one [`Channel::hold`].
    pub(super) fn let_go(&self) {
        self.holds.set(self.holds.get() - 1);
        self.release();
    }

    pub(super) fn add(&self, subscription: &Rc<Subscription>) {
        Metric::Subscriptions.shift(1.0);
        if subscription.watches() {
            self.watch.begin();
        }
        if let Some(hub) = self.hub.upgrade() {
            hub.gateway().ports().census.occupancy.enter(&self.key.0, &self.key.1);
            hub.gateway().watching().hint(&self.key);
        }
        self.subscribers.borrow_mut().push(Rc::clone(subscription));
    }

    pub(super) fn remove(&self, subscription: &Rc<Subscription>) {
        let mut subscribers = self.subscribers.borrow_mut();
        let at = subscribers.iter().position(|other| Rc::ptr_eq(other, subscription));
        at.map(|at| subscribers.swap_remove(at));
        drop(subscribers);
        if at.is_some() {
            Metric::Subscriptions.shift(-1.0);
            if subscription.watches() {
                self.watch.end();
            }
            if let Some(hub) = self.hub.upgrade() {
                hub.unwatch_occupancy(subscription);
                hub.gateway().ports().census.occupancy.leave(&self.key.0, &self.key.1);
                hub.gateway().watching().hint(&self.key);
            }
        }
        self.release();
    }

    /// Lets the hub forget the channel if nobody follows or holds it.
    fn release(&self) {
        if let Some(hub) = self.hub.upgrade().filter(|_| self.is_unused()) {
            hub.release(&self.key);
        }
    }

    /// Takes note of a message and makes its frame.
    pub(super) fn begin(&self, envelope: Arc<Envelope>, leaving: Leaving, now: Timestamp) -> Outgoing {
        let serial = envelope.place.as_ref().map(|(_, serial)| *serial);
        // A message may be sent again after a worker was lost.
        if serial.is_none_or(|serial| serial > self.seen()) {
            Metric::DeliverySeconds.observe(now.since(envelope.message.time));
        }
        let message = Rc::new(Encoded::new(envelope));
        if let Some(serial) = serial {
            self.saw(serial);
            let heard = || Heard { serial, message: Rc::clone(&message) };
            self.recent.borrow_mut().iter_mut().for_each(|recent| recent.push(heard()));
        }
        Outgoing { message, leaving, _span: None, delivered: 0, behind: Vec::new() }
    }

    /// Hands a message to everyone who follows.
    pub(super) fn hand_to_all(&self, mut outgoing: Outgoing) -> Outgoing {
        for subscription in self.subscribers.borrow().iter() {
            self.hand(&mut outgoing, subscription);
        }
        outgoing
    }

    /// Hands a message to one who follows, if it is the next for it.
    pub(super) fn hand(&self, outgoing: &mut Outgoing, subscription: &Rc<Subscription>) {
        let is_excluded = outgoing.message.envelope.exclude.as_ref() == Some(subscription.connection());
        let format = subscription.format();
        let Some(serial) = outgoing.message.serial() else {
            if !is_excluded && matches!(subscription.mode(), Mode::Live | Mode::CatchingUp) {
                subscription.outbox().push_ephemeral(outgoing.message.frame(format), outgoing.leaving);
                outgoing.delivered += 1;
            }
            return;
        };
        if subscription.mode() != Mode::Live || serial <= subscription.position() {
            return;
        }
        if serial != subscription.position().next() {
            return outgoing.behind.push(Rc::clone(subscription));
        }
        let fits = match is_excluded {
            true => subscription.pass(serial, frames::skip(format, &self.key.1, serial), Passing::Filtered),
            false => subscription.advance(serial, outgoing.message.frame(format), outgoing.leaving),
        };
        outgoing.delivered += u64::from(fits);
    }

    /// Keeps what the bus brings, for one more that catches up.
    pub(super) fn keep_recent(&self) {
        self.recent.borrow_mut().get_or_insert_default().wanted_by += 1;
    }

    /// One fewer catches up.
    pub(super) fn release_recent(&self) {
        self.recent.borrow_mut().take_if(|recent| {
            recent.wanted_by -= 1;
            recent.wanted_by == 0
        });
    }

    /// What comes after a position, if it was heard lately: the message, and whether it is kept from that connection.
    pub(super) fn recent_after(&self, position: Serial, connection: &ConnectionId) -> Option<(Rc<Encoded>, bool)> {
        let recent = self.recent.borrow();
        let recent = recent.as_ref()?;
        let first = recent.frames.front()?.serial;
        let at = position.next().0.checked_sub(first.0)?;
        let heard = recent.frames.get(at as usize)?;
        let is_excluded = heard.message.envelope.exclude.as_ref() == Some(connection);
        Some((Rc::clone(&heard.message), is_excluded))
    }
}

impl Recent {
    fn forget(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }

    fn push(&mut self, heard: Heard) {
        if self.frames.back().is_some_and(|last| heard.serial <= last.serial) {
            return;
        }
        if self.frames.back().is_some_and(|last| last.serial.next() != heard.serial) {
            self.forget();
        }
        self.bytes += heard.message.bytes();
        self.frames.push_back(heard);
        while self.bytes > RECENT_BYTES {
            let Some(oldest) = self.frames.pop_front() else { break };
            self.bytes -= oldest.message.bytes();
        }
    }
}
