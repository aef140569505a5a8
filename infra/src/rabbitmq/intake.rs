//! Accepting messages: each group of a request is one message of a partition's queue, and its confirm the answer.

use std::{sync::atomic::Ordering, time::Duration};

use async_trait::async_trait;
use fanfare_domain::{
    ids::MessageId,
    partitions::Partition,
    publishing::{Accepted, Intake, IntakeError, Receipt},
};
use fanfare_protocol::requests::Ack;
use futures::future::join_all;
use tokio::time::timeout;

use super::{
    Rabbit,
    answers::Waiter,
    groups::{Group, group},
    publishing::{Live, Order, Verdict, Waiting},
};
use crate::envelopes::queued;

/// How long a message that the broker has may take to get its place.
const PERSIST: Duration = Duration::from_secs(10);

type Answers = Vec<Result<Receipt, IntakeError>>;

#[async_trait]
impl Intake for Rabbit {
    async fn submit(&self, messages: Vec<Accepted>, ack: Ack) -> Answers {
        let count = messages.len();
        let groups = group(messages, self.partitions);
        let Some(rooms) = self.publishing.room(groups.iter().map(|group| group.body.len())) else {
            return vec![Err(IntakeError::Full); count];
        };
        let Some(live) = self.publishing.live().await else {
            return vec![Err(IntakeError::Unavailable); count];
        };
        let mut places = Vec::with_capacity(count);
        let mut waits = Vec::with_capacity(groups.len());
        // All of them go out before any is waited for.
        for (group, room) in groups.into_iter().zip(rooms) {
            let Group { partition, at, ids, body } = group;
            let (mut order, verdict) = Order::durable(self.publishing.names.queue(partition), body);
            order.room = Some(room);
            order.joins = ack == Ack::Accepted;
            let waiter = (ack == Ack::Persisted).then(|| await_place(&live, &mut order));
            live.give(order);
            places.extend(at);
            waits.push(answers(ids, verdict, waiter));
        }
        let answers = join_all(waits).await.into_iter().flatten();
        let mut answers: Vec<_> = places.into_iter().zip(answers).collect();
        answers.sort_by_key(|(at, _)| *at);
        answers.into_iter().map(|(_, answer)| answer).collect()
    }

    async fn probe(&self) -> Result<(), IntakeError> {
        let turn = self.probed.fetch_add(1, Ordering::Relaxed) % usize::from(self.partitions.max(1));
        let partition = Partition::try_from(turn).expect("a remainder is less than its divisor");
        accepted(self.publishing.publish(self.publishing.names.queue(partition), queued::canary(), None).await)
    }
}

/// Asks for an answer to the process's own reply queue.
fn await_place(live: &Live, order: &mut Order) -> Waiter {
    let waiter = live.answers.wait();
    order.correlation = Some(waiter.correlation());
    order.reply_to = Some(live.replies.clone());
    waiter
}

/// The answers to one group, once it is confirmed and, where that was asked for, has its places.
async fn answers(ids: Vec<MessageId>, verdict: Waiting, waiter: Option<Waiter>) -> Answers {
    if let Err(error) = accepted(verdict.verdict().await) {
        return vec![Err(error); ids.len()];
    }
    let Some(mut waiter) = waiter else {
        return ids.into_iter().map(|id| Ok(Receipt { id, place: None })).collect();
    };
    match timeout(PERSIST, waiter.answer()).await {
        Ok(Some(places)) if places.len() == ids.len() => {
            let receipt = |(id, place): (_, Result<_, _>)| place.map(|place| Receipt { id, place: Some(place) });
            ids.into_iter().zip(places).map(receipt).collect()
        }
        // It may still arrive; a retry with the same key finds it.
        _ => vec![Err(IntakeError::Unconfirmed); ids.len()],
    }
}

fn accepted(verdict: Verdict) -> Result<(), IntakeError> {
    match verdict {
        Verdict::Confirmed => Ok(()),
        Verdict::Refused => Err(IntakeError::Full),
        Verdict::Returned | Verdict::Unsent => Err(IntakeError::Unavailable),
        Verdict::Unknown => Err(IntakeError::Unconfirmed),
    }
}
