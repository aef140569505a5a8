//! One socket's place in one channel.

use std::{cell::Cell, rc::Rc};

use bytes::Bytes;
use fanfare_domain::ids::ConnectionId;
use fanfare_protocol::Serial;

use super::{channel::Channel, presence::Missed};
use crate::wire::Outbox;

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
    position: Cell<Serial>,
    mode: Cell<Mode>,
    is_reading: Cell<bool>,
    watches: bool,
    /// How many presence events there were before it.
    hears_from: u64,
    /// Of whom nothing was told while it was held.
    pub(super) missed: Missed,
}

impl Subscription {
    pub(super) fn begin(
        channel: &Rc<Channel>,
        connection: ConnectionId,
        outbox: Outbox,
        position: Serial,
        watches: bool,
    ) -> Rc<Self> {
        let subscription = Rc::new(Self {
            channel: Rc::clone(channel),
            connection,
            outbox,
            position: Cell::new(position),
            mode: Cell::new(Mode::CatchingUp),
            is_reading: Cell::new(false),
            watches,
            hears_from: channel.watch.events(),
            missed: Missed::default(),
        });
        channel.add(&subscription);
        subscription
    }

    /// Delivers nothing until the hub is told to go on.
    pub(crate) fn hold(&self) {
        if self.mode.get() != Mode::Ended {
            self.mode.set(Mode::Held);
        }
    }

    /// Ends it.
    pub(crate) fn end(self: &Rc<Self>) {
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

    pub(super) fn mode(&self) -> Mode {
        self.mode.get()
    }

    pub(super) fn set_mode(&self, mode: Mode) {
        self.mode.set(mode);
    }

    pub(super) fn position(&self) -> Serial {
        self.position.get()
    }

    /// Puts a frame into the outbox that brings everything up to `serial`; whether there was room.
    ///
    /// An outbox that is full closes the socket by itself, and the client resumes after what it received.
    pub(super) fn advance(&self, serial: Serial, frame: Bytes) -> bool {
        let fits = self.outbox.push_at(frame, &self.channel.key.1, serial).is_ok();
        if fits {
            self.position.set(serial);
        }
        fits
    }

    /// Claims the one reader of the past that a subscription may have.
    pub(super) fn claim_reading(&self) -> bool {
        !self.is_reading.replace(true)
    }

    pub(super) fn done_reading(&self) {
        self.is_reading.set(false);
    }
}
