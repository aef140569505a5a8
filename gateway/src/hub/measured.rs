//! The fan-out by itself, for the benchmarks in `bench/`; nothing else uses it.

use std::{
    rc::{Rc, Weak},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use fanfare_domain::{
    Timestamp,
    ids::{AppId, ConnectionId},
    messages::Envelope,
};
use fanfare_protocol::{ChannelName, Serial};

use super::{
    channel::Channel,
    frames::Format,
    subscription::{Mode, Subscription},
};
use crate::wire::{Leaving, Outbox};

/// A channel with subscribers that have everything, and whose wires take whatever comes.
#[doc(hidden)]
pub struct FanOut {
    channel: Rc<Channel>,
    outboxes: Vec<Outbox>,
}

impl FanOut {
    /// So many subscribers of a channel in which nothing was said yet.
    pub fn new(app: AppId, channel: ChannelName, subscribers: usize) -> Self {
        let channel = Rc::new(Channel::new((app, channel), Weak::new()));
        let subscribe = |_| {
            let outbox = Outbox::unbounded();
            let connection = ConnectionId::generate();
            let wire = (outbox.clone(), Format::Native);
            Subscription::begin(&channel, connection, wire, Serial(0), false).set_mode(Mode::Live);
            outbox
        };
        let outboxes = (0..subscribers).map(subscribe).collect();
        Self { channel, outboxes }
    }

    /// Encodes the next message and puts it into every outbox; into how many.
    pub fn hand(&self, envelope: Arc<Envelope>) -> u64 {
        let now = Timestamp(envelope.message.time.0);
        self.channel.hand_to_all(self.channel.begin(envelope, Leaving::Together, now)).delivered
    }

    /// Writes all that waits; how many bytes.
    pub fn write(&self) -> usize {
        let mut context = Context::from_waker(Waker::noop());
        let mut bytes = 0;
        for outbox in &self.outboxes {
            let _ = outbox.poll_write_to(&mut context, |_, slices| {
                let written = slices.iter().map(|slice| slice.len()).sum();
                bytes += written;
                Poll::Ready(Ok(written))
            });
        }
        bytes
    }
}
