//! A local channel: how far the bus is, who follows it, and what was heard lately while somebody catches up.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::{Rc, Weak},
};

use bytes::Bytes;
use fanfare_domain::{Timestamp, history::Head, ids::ConnectionId, messages::Envelope, metrics::Metric};
use fanfare_protocol::{
    Epoch, Serial,
    events::{Event, event_text},
    websocket::text_frame,
};

use super::{
    ChannelKey, Hub, frames,
    subscription::{Mode, Subscription},
};

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
    recent: RefCell<Recent>,
}

/// A message as the bus brought it.
struct Heard {
    serial: Serial,
    frame: Bytes,
    exclude: Option<ConnectionId>,
}

/// Frames without holes up to the last one heard, kept while somebody catches up.
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
        }
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

    /// Takes note of the epoch, if none is known yet.
    pub(super) fn begin_epoch_if_none(&self, head: &Head) {
        self.epoch.borrow_mut().get_or_insert_with(|| head.epoch.clone());
    }

    /// Goes over to another epoch; nothing of the one before it is known any more.
    pub(super) fn begin_epoch(&self, head: &Head) {
        *self.epoch.borrow_mut() = Some(head.epoch.clone());
        self.seen.set(head.serial);
        let wanted_by = self.recent.borrow().wanted_by;
        *self.recent.borrow_mut() = Recent { wanted_by, ..Recent::default() };
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
        self.subscribers.borrow_mut().push(Rc::clone(subscription));
    }

    pub(super) fn remove(&self, subscription: &Rc<Subscription>) {
        let mut subscribers = self.subscribers.borrow_mut();
        if let Some(at) = subscribers.iter().position(|other| Rc::ptr_eq(other, subscription)) {
            subscribers.swap_remove(at);
            Metric::Subscriptions.shift(-1.0);
        }
        drop(subscribers);
        self.release();
    }

    /// Lets the hub forget the channel if nobody follows or holds it.
    fn release(&self) {
        if let Some(hub) = self.hub.upgrade().filter(|_| self.is_unused()) {
            hub.release(&self.key);
        }
    }

    /// Hands a message to everyone who follows; returns those who found a hole before it.
    pub(super) fn fan_out(&self, envelope: &Envelope, now: Timestamp) -> Vec<Rc<Subscription>> {
        let Some((_, serial)) = &envelope.place else {
            Metric::DeliverySeconds.observe(now.since(envelope.message.time));
            self.fan_out_ephemeral(envelope);
            return Vec::new();
        };
        let serial = *serial;
        // A message may be sent again after a worker was lost.
        if serial > self.seen() {
            Metric::DeliverySeconds.observe(now.since(envelope.message.time));
        }
        self.saw(serial);
        let frame = frames::message(&self.key.1, Some(serial), &envelope.message);
        self.recent.borrow_mut().push(Heard { serial, frame: frame.clone(), exclude: envelope.exclude.clone() });
        let (mut behind, mut delivered) = (Vec::new(), 0);
        let mut skip = None;
        for subscription in self.subscribers.borrow().iter() {
            if subscription.mode() != Mode::Live || serial <= subscription.position() {
                continue;
            }
            if serial != subscription.position().next() {
                behind.push(Rc::clone(subscription));
                continue;
            }
            let excluded = envelope.exclude.as_ref() == Some(subscription.connection());
            let frame = if excluded { skip.get_or_insert_with(|| self.skip(serial)) } else { &frame };
            delivered += u64::from(subscription.advance(serial, frame.clone()));
        }
        Metric::Deliveries.add(delivered);
        behind
    }

    fn fan_out_ephemeral(&self, envelope: &Envelope) {
        let frame = frames::message(&self.key.1, None, &envelope.message);
        let mut delivered = 0;
        for subscription in self.subscribers.borrow().iter() {
            if envelope.exclude.as_ref() != Some(subscription.connection()) && subscription.mode() != Mode::Held {
                subscription.outbox().push_ephemeral(frame.clone());
                delivered += 1;
            }
        }
        Metric::Deliveries.add(delivered);
    }

    fn skip(&self, serial: Serial) -> Bytes {
        text_frame(event_text(&Event::Skip { channel: self.key.1.clone(), serial }).as_bytes())
    }

    /// Keeps what the bus brings, for one more that catches up.
    pub(super) fn keep_recent(&self) {
        self.recent.borrow_mut().wanted_by += 1;
    }

    /// One fewer catches up.
    pub(super) fn release_recent(&self) {
        let mut recent = self.recent.borrow_mut();
        recent.wanted_by -= 1;
        if recent.wanted_by == 0 {
            *recent = Recent::default();
        }
    }

    /// The frame after a position as a connection is to see it, if it was heard lately.
    pub(super) fn recent_after(&self, position: Serial, connection: &ConnectionId) -> Option<Bytes> {
        let recent = self.recent.borrow();
        let first = recent.frames.front()?.serial;
        let at = position.next().0.checked_sub(first.0)?;
        let heard = recent.frames.get(at as usize)?;
        let excluded = heard.exclude.as_ref() == Some(connection);
        Some(if excluded { self.skip(heard.serial) } else { heard.frame.clone() })
    }
}

impl Recent {
    fn push(&mut self, heard: Heard) {
        if self.wanted_by == 0 {
            return;
        }
        if self.frames.back().is_some_and(|last| heard.serial <= last.serial) {
            return;
        }
        if self.frames.back().is_some_and(|last| last.serial.next() != heard.serial) {
            self.frames.clear();
            self.bytes = 0;
        }
        self.bytes += heard.frame.len();
        self.frames.push_back(heard);
        while self.bytes > RECENT_BYTES {
            let Some(oldest) = self.frames.pop_front() else { break };
            self.bytes -= oldest.frame.len();
        }
    }
}
