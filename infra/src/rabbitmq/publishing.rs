//! The publishing side as others see it: what they give to the session that is live now, and what became of it.

use std::{sync::Arc, time::Duration};

use lapin::{
    BasicProperties,
    types::{FieldTable, ShortString},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    time::timeout,
};

use super::answers::Answers;
use crate::{envelopes::queued, names::Names};

/// How long whoever publishes waits for a connection that is being made.
const RECONNECT: Duration = Duration::from_secs(1);
/// How long the broker may take to confirm.
const CONFIRM: Duration = Duration::from_secs(5);
/// How many bytes may be on the way to the broker.
const ROOM_BYTES: usize = 64 * 1024 * 1024;
/// What a message on the way costs beside its body.
const OVERHEAD_BYTES: usize = 1_024;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The broker has it for good.
    Confirmed,
    /// The queue is full; the broker does not have it.
    Refused,
    /// There is no such queue; the broker does not have it.
    Returned,
    /// It was never sent.
    Unsent,
    /// It was sent, and the broker did not say that it has it.
    Unknown,
}

/// A message for a queue.
pub(super) struct Order {
    /// The queue.
    pub queue: String,
    /// The message.
    pub body: Vec<u8>,
    /// Told what became of it.
    pub verdicts: Vec<oneshot::Sender<Verdict>>,
    /// Its share of the bytes that may be on the way.
    pub room: Option<OwnedSemaphorePermit>,
    /// What a reply is known by.
    pub correlation: Option<String>,
    /// Where a reply goes.
    pub reply_to: Option<ShortString>,
    /// Headers of its own.
    pub headers: Option<FieldTable>,
    /// Whether it is to outlive the broker.
    pub durable: bool,
    /// Whether it is an envelope of messages that nobody answers, so that others can be joined to it.
    pub joins: bool,
}

impl Order {
    /// A durable message, and where its verdict arrives.
    pub fn durable(queue: String, body: Vec<u8>) -> (Self, Waiting) {
        let (sender, verdict) = oneshot::channel();
        (Self { verdicts: vec![sender], durable: true, ..Self::transient(queue, body) }, Waiting(verdict))
    }

    /// A message that may be lost, and that nobody is told of.
    pub fn transient(queue: String, body: Vec<u8>) -> Self {
        Self {
            queue,
            body,
            verdicts: Vec::new(),
            room: None,
            correlation: None,
            reply_to: None,
            headers: None,
            durable: false,
            joins: false,
        }
    }

    /// Has the messages of another one besides; both join.
    pub fn join(&mut self, other: Self) {
        self.body = queued::joined(std::mem::take(&mut self.body), &other.body);
        self.verdicts.extend(other.verdicts);
        match (&mut self.room, other.room) {
            (Some(room), Some(more)) => room.merge(more),
            (room, more) => *room = room.take().or(more),
        }
    }

    /// Tells what became of it.
    pub fn tell(self, verdict: Verdict) {
        tell(self.verdicts, verdict);
    }

    /// The properties that it is sent with.
    pub fn properties(&mut self, id: ShortString) -> BasicProperties {
        let mut properties = BasicProperties::default()
            .with_message_id(id)
            .with_content_type("application/json".into())
            .with_delivery_mode(if self.durable { 2 } else { 1 });
        if let Some(correlation) = self.correlation.take().and_then(|text| ShortString::try_new(text).ok()) {
            properties = properties.with_correlation_id(correlation);
        }
        if let Some(reply_to) = self.reply_to.take() {
            properties = properties.with_reply_to(reply_to);
        }
        if let Some(headers) = self.headers.take() {
            properties = properties.with_headers(headers);
        }
        properties
    }
}

/// Tells a verdict; whoever stopped waiting need not know.
pub(super) fn tell(waiting: Vec<oneshot::Sender<Verdict>>, verdict: Verdict) {
    waiting.into_iter().for_each(|waiting| _ = waiting.send(verdict));
}

/// A verdict to come.
pub(super) struct Waiting(oneshot::Receiver<Verdict>);

impl Waiting {
    /// The verdict; one that takes too long, or dies with its connection, is not known.
    pub async fn verdict(self) -> Verdict {
        timeout(CONFIRM, self.0).await.ok().and_then(Result::ok).unwrap_or(Verdict::Unknown)
    }
}

/// A session with the broker, for as long as its connection lasts.
#[derive(Clone)]
pub(super) struct Live {
    /// What is to be published, in order.
    pub orders: mpsc::UnboundedSender<Order>,
    /// The queue that answers come to.
    pub replies: ShortString,
    /// Who waits for them.
    pub answers: Arc<Answers>,
}

impl Live {
    /// Gives an order to the session; one that has ended meanwhile did not send it.
    pub fn give(&self, order: Order) {
        if let Err(mpsc::error::SendError(order)) = self.orders.send(order) {
            order.tell(Verdict::Unsent);
        }
    }
}

/// What is published to, whatever becomes of its connections.
pub(super) struct Publishing {
    /// What is published to is called so.
    pub names: Names,
    live: watch::Sender<Option<Live>>,
    room: Arc<Semaphore>,
}

impl Publishing {
    /// Nothing is live yet.
    pub fn new(names: Names) -> Self {
        Self { names, live: watch::Sender::new(None), room: Arc::new(Semaphore::new(ROOM_BYTES)) }
    }

    /// Whether there is a session now.
    pub fn is_live(&self) -> bool {
        self.live.borrow().is_some()
    }

    /// The session, if there is one now or soon.
    pub async fn live(&self) -> Option<Live> {
        if let Some(live) = &*self.live.borrow() {
            return Some(live.clone());
        }
        let mut live = self.live.subscribe();
        let found = timeout(RECONNECT, live.wait_for(Option::is_some)).await.ok()?.ok()?;
        found.clone()
    }

    /// Says which session is live.
    pub fn set_live(&self, live: Option<Live>) {
        self.live.send_replace(live);
    }

    /// Room for messages of these sizes, a permit each; `None` if too much is on the way already.
    pub fn room(&self, sizes: impl Iterator<Item = usize>) -> Option<Vec<OwnedSemaphorePermit>> {
        let sizes: Vec<_> = sizes.map(|size| size + OVERHEAD_BYTES).collect();
        let whole = u32::try_from(sizes.iter().sum::<usize>()).ok()?;
        let mut whole = self.room.clone().try_acquire_many_owned(whole).ok()?;
        let split = sizes.into_iter().map(|size| whole.split(size).expect("the whole is the sum of its parts"));
        Some(split.collect())
    }

    /// Publishes one durable message, and waits for the verdict.
    pub async fn publish(&self, queue: String, body: Vec<u8>, headers: Option<FieldTable>) -> Verdict {
        let Some(live) = self.live().await else { return Verdict::Unsent };
        let (mut order, waiting) = Order::durable(queue, body);
        order.headers = headers;
        live.give(order);
        waiting.verdict().await
    }

    /// Publishes a message that may be lost, if there is a session.
    pub fn post(&self, queue: String, correlation: String, body: Vec<u8>) {
        if let Some(live) = &*self.live.borrow() {
            live.give(Order { correlation: Some(correlation), ..Order::transient(queue, body) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_the_way_is_bounded_and_room_comes_back() {
        let publishing = Publishing::new(Names::default());
        let held = publishing.room([ROOM_BYTES / 2, 100].into_iter()).unwrap();
        assert_eq!(held.len(), 2);
        assert!(publishing.room([ROOM_BYTES / 2].into_iter()).is_none());
        drop(held);
        assert!(publishing.room([ROOM_BYTES - OVERHEAD_BYTES].into_iter()).is_some());
    }

    #[tokio::test]
    async fn what_is_given_to_a_session_that_has_ended_was_not_sent() {
        let (orders, ended) = mpsc::unbounded_channel();
        drop(ended);
        let live = Live { orders, replies: "r".into(), answers: Arc::default() };
        let (order, waiting) = Order::durable("q".to_owned(), Vec::new());
        live.give(order);
        assert_eq!(waiting.verdict().await, Verdict::Unsent);
    }
}
