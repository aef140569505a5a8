//! From the bus to a channel's subscribers: at once where they are few, else in parts, between which everything else goes on.
//!
//! While a message is handed out in parts its channel is *held*: what comes for it next waits in a queue of its own, so that the channel keeps its
//! order, and other channels do not wait. Subscribers of the channel may come, go and catch up meanwhile: each is judged by its own position in the
//! moment in which the message reaches it, and the message counts as seen from the beginning, so whoever comes to it otherwise finds it in what was
//! heard lately, or in history.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    sync::Arc,
};

use fanfare_domain::{history::Head, messages::Envelope, metrics::Metric};
use tokio::sync::Notify;

use super::{
    Hub,
    channel::{Channel, Outgoing},
    spans,
    subscription::Subscription,
};
use crate::wire::Leaving;

/// Subscribers that are handed a message before others have their turn.
pub(super) const AT_ONCE: usize = 16;
/// Parts after which a fan-out offers the processor to the threads that take and store what is published meanwhile. It would keep it for as long as
/// the system lets it, which is several milliseconds; but each offer is a system call, and often a change of threads.
const PARTS_BETWEEN: usize = 4;
/// Subscribers of a thread up to which it is not offered: they have their message sooner than the system would take the processor away.
const SOON: usize = 512;
/// Bytes that are put into outboxes before others have their turn, so that those outboxes are emptied in between.
const BYTES_AT_ONCE: usize = 1024 * 1024;
/// Messages that are handed to a subscriber before the next one has its turn, where many wait: they leave in one write.
const TOGETHER: usize = 64;
/// Bytes of messages that wait for a channel; past that, nothing more is taken from the bus until they are fewer.
const WAITING_BYTES: usize = 1024 * 1024;

/// What waits while a channel is held.
#[derive(Default)]
pub(super) struct Turns {
    is_held: Cell<bool>,
    waiting: RefCell<VecDeque<Waiting>>,
    bytes: Cell<usize>,
    room: Notify,
}

/// What came for a channel that is held.
enum Waiting {
    Message(Arc<Envelope>),
    Head(Head),
}

impl Waiting {
    fn bytes(&self) -> usize {
        match self {
            Self::Message(envelope) => envelope.message.data.get().len() + size_of::<Envelope>(),
            Self::Head(_) => size_of::<Self>(),
        }
    }
}

impl Turns {
    /// Whether the channel is held.
    pub(super) fn are_held(&self) -> bool {
        self.is_held.get()
    }

    fn push(&self, what: Waiting) {
        self.bytes.set(self.bytes.get() + what.bytes());
        self.waiting.borrow_mut().push_back(what);
    }

    /// The next, if it is wanted.
    fn pop(&self, is_wanted: impl FnOnce(&Waiting) -> bool) -> Option<Waiting> {
        let what = self.waiting.borrow_mut().pop_front_if(|next| is_wanted(next))?;
        self.bytes.set(self.bytes.get() - what.bytes());
        self.room.notify_waiters();
        Some(what)
    }

    /// Forgets what waits, which is of another life of the channel.
    pub(super) fn clear(&self) {
        while self.pop(|_| true).is_some() {}
    }

    /// Keeps a head for later.
    pub(super) fn defer(&self, head: &Head) {
        self.push(Waiting::Head(head.clone()));
    }

    /// Returns when not too much waits.
    async fn room(&self) {
        while self.bytes.get() > WAITING_BYTES {
            self.room.notified().await;
        }
    }
}

impl Hub {
    /// Hands a message to everyone on this thread who follows its channel. Returns when more can be taken from the bus, which may be before all
    /// have it.
    pub(super) async fn fan_out(&self, envelope: Arc<Envelope>) {
        let key = (envelope.app.clone(), envelope.channel.clone());
        let channel = self.channels.borrow().get(&key).cloned();
        let Some(channel) = channel else { return };
        if channel.is_held() {
            channel.turns.push(Waiting::Message(envelope));
            return channel.turns.room().await;
        }
        let Some(outgoing) = self.begin(&channel, envelope) else { return };
        let subscribers = channel.count();
        if subscribers <= at_once(std::slice::from_ref(&outgoing)) {
            return self.finish(channel.hand_to_all(outgoing));
        }
        channel.turns.is_held.set(true);
        let hub = self.this.upgrade().expect("the hub that is running is alive");
        actix_rt::spawn(hub.in_parts(channel, outgoing));
    }

    /// Takes note of a message and makes it ready; nothing if it is of another life of the channel, or may not be delivered now.
    fn begin(&self, channel: &Channel, envelope: Arc<Envelope>) -> Option<Outgoing> {
        let span = spans::fan_out(&envelope);
        if let Some((epoch, serial)) = &envelope.place
            && self.is_other_epoch(channel, &Head { epoch: epoch.clone(), serial: *serial })
        {
            return None;
        }
        if !self.may_deliver()
            && let Some((_, serial)) = &envelope.place
        {
            // It is read from history later. What is ephemeral waits in the outboxes, as far as they have room.
            channel.saw(*serial);
            return None;
        }
        let leaving = if self.more_waits.get() { Leaving::Together } else { Leaving::AtOnce };
        let outgoing = channel.begin(envelope, leaving, self.gateway.ports().clock.now());
        Some(outgoing.within(span))
    }

    fn finish(&self, outgoing: Outgoing) {
        Metric::Deliveries.add(outgoing.delivered);
        for behind in outgoing.behind {
            self.go_on(&behind);
        }
    }

    /// Hands out a message, then what came for the channel meanwhile, a part of the subscribers at a time.
    async fn in_parts(self: Rc<Self>, channel: Rc<Channel>, first: Outgoing) {
        let mut together = vec![first];
        while !together.is_empty() {
            if together.len() > 1 {
                together.iter_mut().for_each(|outgoing| outgoing.leaving = Leaving::Together);
            }
            let subscriptions = channel.subscriptions();
            let takes_long = subscriptions.len() > SOON;
            for (nth, part) in subscriptions.chunks(at_once(&together)).enumerate() {
                fetch(part);
                for subscription in part {
                    together.iter_mut().for_each(|outgoing| channel.hand(outgoing, subscription));
                }
                if takes_long && nth % PARTS_BETWEEN == PARTS_BETWEEN - 1 {
                    std::thread::yield_now();
                }
                tokio::task::yield_now().await;
            }
            together.drain(..).for_each(|outgoing| self.finish(outgoing));
            self.gather(&channel, &mut together);
        }
        channel.turns.is_held.set(false);
    }

    /// Takes what waits for a channel, as much as is handed out together. A head is looked at alone: it tells who lacks what was handed out.
    fn gather(&self, channel: &Channel, together: &mut Vec<Outgoing>) {
        let mut bytes = 0;
        while together.len() < TOGETHER
            && bytes < BYTES_AT_ONCE
            && let Some(waiting) = channel.turns.pop(|next| together.is_empty() || matches!(next, Waiting::Message(_)))
        {
            bytes += waiting.bytes();
            match waiting {
                Waiting::Message(envelope) => together.extend(self.begin(channel, envelope)),
                Waiting::Head(head) => self.take_head_of(channel, &head),
            }
        }
    }
}

/// Looks at all that handing something to these subscribers will look at, one after the other, without a system call in between: each stands in other
/// places of the memory, which the processor fetches side by side then.
fn fetch(part: &[Rc<Subscription>]) {
    part.iter().for_each(|subscription| {
        std::hint::black_box(subscription.outbox().writes_at_once());
    });
}

/// How many subscribers are handed these messages before others have their turn.
fn at_once(together: &[Outgoing]) -> usize {
    let bytes: usize = together.iter().map(|outgoing| outgoing.message.bytes()).sum();
    (BYTES_AT_ONCE / bytes.max(1)).clamp(1, AT_ONCE)
}
