//! One socket's place in one channel.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use bytes::Bytes;
use fanfare_domain::{
    Timestamp,
    deliveries::{Passing, Receipts},
    ids::ConnectionId,
};
use fanfare_protocol::{Epoch, Serial};

use super::{
    channel::Channel,
    frames::Format,
    late::Late,
    presence::{Missed, Watch},
};
use crate::wire::{Leaving, Outbox};

/// How a subscription gets its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// It has everything up to the head; the fan-out brings the next.
    Live,
    /// It reads the past.
    CatchingUp,
    /// Nothing is delivered; the position stays.
    Held,
    /// It is over.
    Ended,
}

/// One socket's place in one channel: everything up to `position` was put into its outbox.
pub(crate) struct Subscription {
    channel: Rc<Channel>,
    connection: ConnectionId,
    outbox: Outbox,
    format: Format,
    position: Cell<Serial>,
    mode: Cell<Mode>,
    is_reading: Cell<bool>,
    watches: bool,
    /// How many presence events there were before it.
    hears_from: u64,
    /// Its course, if the app keeps a trace.
    receipts: RefCell<Option<Arc<Receipts>>>,
    /// Of whom nothing was told while it was held.
    pub(super) missed: Late<Missed>,
}

impl Subscription {
    pub(super) fn begin(
        channel: &Rc<Channel>,
        connection: ConnectionId,
        (outbox, format): (Outbox, Format),
        position: Serial,
        watches: bool,
    ) -> Rc<Self> {
        let subscription = Rc::new(Self {
            channel: Rc::clone(channel),
            connection,
            outbox,
            format,
            position: Cell::new(position),
            mode: Cell::new(Mode::CatchingUp),
            is_reading: Cell::new(false),
            watches,
            hears_from: channel.watch.if_used().map_or(0, Watch::events),
            receipts: RefCell::default(),
            missed: Late::default(),
        });
        channel.add(&subscription);
        subscription
    }

    /// Delivers nothing until the hub is told to go on.
    pub(crate) fn hold(&self) {
        if self.mode.get() != Mode::Ended {
            self.mode.set(Mode::Held);
            self.receipts.borrow().iter().for_each(|receipts| receipts.hold(true));
        }
    }

    /// Ends it: for an error code, or another reason that courses know.
    pub(crate) fn end(self: &Rc<Self>, reason: &str, now: Timestamp) {
        self.receipts.borrow().iter().for_each(|receipts| receipts.end(reason, now));
        if self.mode.replace(Mode::Ended) != Mode::Ended {
            self.channel.remove(self);
        }
    }

    /// Whether presence events are wanted.
    pub(super) fn watches(&self) -> bool {
        self.watches
    }

    /// How many presence events of the channel came before it, which are not for it.
    pub(super) fn hears_from(&self) -> u64 {
        self.hears_from
    }

    pub(super) fn channel(&self) -> &Rc<Channel> {
        &self.channel
    }

    pub(super) fn connection(&self) -> &ConnectionId {
        &self.connection
    }

    pub(super) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    pub(super) fn mode(&self) -> Mode {
        self.mode.get()
    }

    pub(super) fn set_mode(&self, mode: Mode) {
        if self.mode.replace(mode) == Mode::Held {
            self.receipts.borrow().iter().for_each(|receipts| receipts.hold(false));
        }
    }

    pub(crate) fn position(&self) -> Serial {
        self.position.get()
    }

    /// Puts a frame into the outbox that brings everything up to `serial`; whether there was room.
    ///
    /// An outbox that is full closes the socket by itself, and the client resumes after what it received.
    pub(super) fn advance(&self, serial: Serial, frame: Bytes, leaving: Leaving) -> bool {
        self.advance_by(serial, Some(frame), leaving, None)
    }

    /// The same with a frame that only tells of what is passed over, if that is told.
    pub(super) fn pass(&self, serial: Serial, frame: Option<Bytes>, why: Passing) -> bool {
        self.advance_by(serial, frame, Leaving::Together, Some(why))
    }

    fn advance_by(&self, serial: Serial, frame: Option<Bytes>, leaving: Leaving, passing: Option<Passing>) -> bool {
        let receipts = self.receipts.borrow();
        let place = (&self.channel.key.1, serial);
        let push = |frame| self.outbox.push_at(frame, leaving, place, receipts.as_ref()).is_ok();
        let fits = frame.is_none_or(push);
        if fits {
            self.position.set(serial);
            receipts.iter().for_each(|receipts| receipts.queued(serial, passing));
        }
        fits
    }

    /// The channel's epoch, once it is known.
    pub(crate) fn epoch(&self) -> Option<Epoch> {
        self.channel.epoch()
    }

    /// Whether its course is kept.
    pub(crate) fn is_traced(&self) -> bool {
        self.receipts.borrow().is_some()
    }

    /// Keeps its course from now on, or no more.
    pub(crate) fn trace(&self, receipts: Option<Arc<Receipts>>) {
        if self.mode() == Mode::Held {
            receipts.iter().for_each(|receipts| receipts.hold(true));
        }
        if let Some(last) = self.receipts.replace(receipts) {
            last.void();
        }
    }

    /// Claims the one reader of the past that a subscription may have.
    pub(super) fn claim_reading(&self) -> bool {
        !self.is_reading.replace(true)
    }

    pub(super) fn done_reading(&self) {
        self.is_reading.set(false);
    }
}
