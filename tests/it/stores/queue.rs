//! The contract of `Intake` and `Queue`.

use fanfare_domain::{
    Timestamp,
    apps::App,
    history::Appended,
    ids::{AppId, TenantId},
    publishing::{Accepted, Batch, Intake, IntakeError, Queue, Receipt},
};
use fanfare_infra::memory::{MemoryQueue, QueueBounds};
use fanfare_protocol::{Epoch, Serial, requests::Ack};
use tokio::task::JoinHandle;

use super::samples::{NOW, message};
use crate::harness::sockets::PATIENCE;

pub(super) type Answers = Vec<Result<Receipt, IntakeError>>;

pub(super) fn app() -> App {
    App::new(TenantId::generate(), "prod".to_owned(), NOW)
}

fn messages(count: usize) -> Vec<Accepted> {
    let app = app();
    (0..count).map(|number| message(&app, "a", &number.to_string())).collect()
}

/// Submits in the background, and returns once the queue has it.
pub(super) async fn submitted<Q: Intake + Clone + 'static>(
    queue: &Q,
    messages: Vec<Accepted>,
    ack: Ack,
) -> JoinHandle<Answers> {
    let queue = queue.clone();
    let task = tokio::spawn(async move { queue.submit(messages, ack).await });
    tokio::task::yield_now().await;
    task
}

/// The next batch, which must come in time, or the end.
pub(super) async fn next<Q: Queue + ?Sized>(queue: &Q) -> Option<Box<dyn Batch>> {
    tokio::time::timeout(PATIENCE, queue.next()).await.expect("a batch comes, or the queue ends")
}

pub(super) fn stored(serial: u64) -> Appended {
    Appended::Stored { epoch: Epoch::new("e"), serial: Serial(serial), time: Timestamp(1) }
}

pub(super) async fn every_message_has_its_own_answer<Q: Intake + Queue + Clone + 'static>(queue: Q) {
    let sent = messages(4);
    let ids: Vec<_> = sent.iter().map(|accepted| accepted.message.id.clone()).collect();
    let waiting = submitted(&queue, sent, Ack::Persisted).await;
    let mut batch = next(&queue).await.unwrap();
    assert_eq!(batch.messages().iter().map(|accepted| accepted.message.id.clone()).collect::<Vec<_>>(), ids);
    let repeated = Appended::Repeated { epoch: Epoch::new("e"), serial: Serial(3), time: NOW };
    batch.answer(&[stored(7), repeated, Appended::Conflict, Appended::NoApp]);
    batch.ack().await;
    let receipt =
        |at: usize, serial| Ok(Receipt { id: ids[at].clone(), place: Some((Epoch::new("e"), Serial(serial))) });
    let expected = [receipt(0, 7), receipt(1, 3), Err(IntakeError::Conflict), Err(IntakeError::NoApp)];
    assert_eq!(waiting.await.unwrap(), expected);
}

pub(super) async fn an_accepted_message_is_answered_without_its_place<Q: Intake + Queue + Clone + 'static>(queue: Q) {
    let waiting = submitted(&queue, messages(1), Ack::Accepted).await;
    let mut batch = next(&queue).await.unwrap();
    batch.answer(&[stored(1)]);
    assert_eq!(waiting.await.unwrap()[0].as_ref().unwrap().place, None);
}

async fn a_batch_that_fails_or_is_lost_is_unconfirmed<Q: Intake + Queue + Clone + 'static>(queue: Q) {
    for failing in [true, false] {
        let waiting = submitted(&queue, messages(2), Ack::Accepted).await;
        let batch = next(&queue).await.unwrap();
        if failing {
            batch.fail()
        } else {
            drop(batch)
        }
        assert_eq!(waiting.await.unwrap(), [Err(IntakeError::Unconfirmed), Err(IntakeError::Unconfirmed)]);
    }
}

/// Requests that come one after the other are handed out so, each whole and in its own order.
pub(super) async fn what_is_submitted_is_handed_out_in_order<Q: Intake + Queue + Clone + 'static>(queue: Q) {
    let app = app();
    let request = |begin: u64| (begin..begin + 3).map(|number| message(&app, "a", &number.to_string())).collect();
    let mut waiting = Vec::new();
    for begin in [0, 3, 6] {
        waiting.push(submitted(&queue, request(begin), Ack::Persisted).await);
    }
    let mut handed_out = Vec::new();
    while handed_out.len() < 9 {
        let mut batch = next(&queue).await.unwrap();
        let begin = handed_out.len() as u64;
        handed_out.extend(batch.messages().iter().map(|accepted| accepted.message.data.get().to_owned()));
        let outcomes: Vec<_> = (begin..handed_out.len() as u64).map(|place| stored(place + 1)).collect();
        batch.answer(&outcomes);
        batch.ack().await;
    }
    assert_eq!(handed_out, (0..9).map(|number| number.to_string()).collect::<Vec<_>>());
    let mut serials = Vec::new();
    for answers in waiting {
        serials.extend(answers.await.unwrap().into_iter().map(|answer| answer.unwrap().place.unwrap().1.0));
    }
    assert_eq!(serials, (1..=9).collect::<Vec<_>>());
}

/// Whoever waits for the next batch is told at once that none comes.
pub(super) async fn closing_wakes_a_worker_that_waits<Q: Queue + Clone + 'static>(queue: Q) {
    let worker = {
        let queue = queue.clone();
        tokio::spawn(async move { next(&queue).await.is_none() })
    };
    tokio::task::yield_now().await;
    queue.close().await;
    assert!(worker.await.unwrap());
}

/// Nothing asks for nothing.
pub(super) async fn nothing_submitted_is_answered_at_once<Q: Intake>(queue: Q) {
    assert!(queue.submit(Vec::new(), Ack::Persisted).await.is_empty());
}

#[tokio::test]
async fn in_memory_what_is_submitted_is_handed_out_in_order() {
    what_is_submitted_is_handed_out_in_order(MemoryQueue::default()).await;
}

#[tokio::test]
async fn in_memory_closing_wakes_a_worker_that_waits() {
    closing_wakes_a_worker_that_waits(MemoryQueue::default()).await;
}

#[tokio::test]
async fn in_memory_nothing_submitted_is_answered_at_once() {
    nothing_submitted_is_answered_at_once(MemoryQueue::default()).await;
}

#[tokio::test]
async fn in_memory_every_message_has_its_own_answer() {
    every_message_has_its_own_answer(MemoryQueue::default()).await;
}

#[tokio::test]
async fn in_memory_an_accepted_message_is_answered_without_its_place() {
    an_accepted_message_is_answered_without_its_place(MemoryQueue::default()).await;
}

#[tokio::test]
async fn in_memory_a_batch_that_fails_or_is_lost_is_unconfirmed() {
    a_batch_that_fails_or_is_lost_is_unconfirmed(MemoryQueue::default()).await;
}

#[tokio::test]
async fn a_batch_takes_all_that_waits_in_order_up_to_its_bounds() {
    let queue = MemoryQueue::new(QueueBounds { batch_messages: 5, ..QueueBounds::default() });
    let first = submitted(&queue, messages(3), Ack::Persisted).await;
    let second = submitted(&queue, messages(4), Ack::Persisted).await;
    let mut serial = 0;
    for expected in [5, 2] {
        let mut batch = next(&queue).await.unwrap();
        assert_eq!(batch.messages().len(), expected);
        let outcomes: Vec<_> = batch
            .messages()
            .iter()
            .map(|_| {
                serial += 1;
                stored(serial)
            })
            .collect();
        batch.answer(&outcomes);
        batch.ack().await;
    }
    let serials = |answers: Answers| -> Vec<u64> {
        answers.into_iter().map(|answer| answer.unwrap().place.unwrap().1.0).collect()
    };
    assert_eq!(serials(first.await.unwrap()), [1, 2, 3]);
    assert_eq!(serials(second.await.unwrap()), [4, 5, 6, 7]);
}

#[tokio::test]
async fn an_app_that_publishes_much_leaves_each_batch_open_to_others() {
    let queue = MemoryQueue::new(QueueBounds { share_messages: 4, ..QueueBounds::default() });
    let taken = async || {
        let batch = next(&queue).await.unwrap();
        let all =
            batch.messages().iter().map(|accepted| (accepted.app.clone(), accepted.message.data.get().to_owned()));
        let all: Vec<_> = all.collect();
        batch.ack().await;
        all
    };
    let (many, few) = (messages(10), messages(2));
    let all: Vec<_> = many.iter().map(|accepted| accepted.message.data.get().to_owned()).collect();
    let (many_of, few_of) = (many[0].app.clone(), few[0].app.clone());
    let alone = submitted(&queue, messages(10), Ack::Accepted).await;
    assert_eq!(taken().await.len(), 10, "whoever is alone has the whole batch");
    let first = submitted(&queue, many, Ack::Accepted).await;
    let second = submitted(&queue, few, Ack::Accepted).await;
    let batches = [taken().await, taken().await, taken().await];
    let of = |app: &AppId| {
        batches.each_ref().map(|batch| batch.iter().filter(|(of, _)| of == app).map(|(_, data)| data.clone()).collect())
    };
    let of_many: [Vec<_>; 3] = of(&many_of);
    let of_few: [Vec<_>; 3] = of(&few_of);
    assert_eq!(of_many.each_ref().map(Vec::len), [4, 4, 2]);
    assert_eq!(of_many.concat(), all);
    assert_eq!(of_few.each_ref().map(Vec::len), [2, 0, 0]);
    for waiting in [alone, first, second] {
        waiting.await.unwrap();
    }
}

#[tokio::test]
async fn a_batch_ends_at_its_bytes() {
    let queue = MemoryQueue::new(QueueBounds { batch_bytes: 3_000, ..QueueBounds::default() });
    let large: Vec<_> = (0..3).map(|_| message(&app(), "a", &format!("\"{}\"", "x".repeat(1_000)))).collect();
    let waiting = submitted(&queue, large, Ack::Accepted).await;
    assert_eq!(next(&queue).await.unwrap().messages().len(), 1);
    assert_eq!(next(&queue).await.unwrap().messages().len(), 1);
    assert_eq!(next(&queue).await.unwrap().messages().len(), 1);
    assert_eq!(waiting.await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_full_queue_takes_nothing_until_a_batch_is_settled() {
    for bounds in [
        QueueBounds { messages: 3, ..QueueBounds::default() },
        QueueBounds { bytes: 3 * 600, ..QueueBounds::default() },
    ] {
        let queue = MemoryQueue::new(bounds);
        let waiting = submitted(&queue, messages(2), Ack::Accepted).await;
        assert_eq!(queue.submit(messages(2), Ack::Accepted).await, [Err(IntakeError::Full), Err(IntakeError::Full)]);
        let mut batch = next(&queue).await.unwrap();
        assert_eq!(batch.messages().len(), 2, "what was refused does not wait");
        batch.answer(&[stored(1), stored(2)]);
        waiting.await.unwrap();
        assert_eq!(queue.submit(messages(2), Ack::Accepted).await[0], Err(IntakeError::Full), "not settled yet");
        batch.ack().await;
        let waiting = submitted(&queue, messages(2), Ack::Accepted).await;
        assert!(!waiting.is_finished());
    }
}

#[tokio::test]
async fn a_closed_queue_hands_out_what_waits_and_then_ends() {
    let queue = MemoryQueue::default();
    let waiting = submitted(&queue, messages(1), Ack::Accepted).await;
    queue.close().await;
    assert_eq!(queue.submit(messages(1), Ack::Accepted).await, [Err(IntakeError::Full)]);
    let mut batch = next(&queue).await.unwrap();
    batch.answer(&[stored(1)]);
    batch.ack().await;
    assert!(waiting.await.unwrap()[0].is_ok());
    assert!(next(&queue).await.is_none());
}
