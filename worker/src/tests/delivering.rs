//! What is delivered, in which order its steps are done, and what each failure leaves.

use std::sync::Arc;

use fanfare_domain::{
    StoreError, Timestamp,
    bus::Ahead,
    history::{Appended, Head},
    partitions::Fence,
};
use fanfare_protocol::Serial;

use super::fakes::{FakeBus, FakeLog, FakeQueue, Notes, Outcome, epoch, message};
use crate::{Ended, deliver};

const FENCE: Option<Fence> = Some(Fence { partition: 1, generation: 1 });

fn batch(data: &[&str]) -> Vec<fanfare_domain::publishing::Accepted> {
    data.iter().map(|data| message(data)).collect()
}

fn log(outcome: fn(&str) -> Outcome) -> Arc<FakeLog> {
    Arc::new(FakeLog { outcome: Some(outcome), ..FakeLog::default() })
}

#[tokio::test]
async fn a_batch_is_answered_once_stored_and_settled_once_sent() {
    let notes = Notes::default();
    let queue = FakeQueue::of(&notes, vec![batch(&["1", "2"]), batch(&["3"])]);
    assert_eq!(deliver(queue, FENCE, Arc::<FakeLog>::default(), FakeBus::new(&notes)).await, Ended::Closed);
    assert_eq!(notes.taken(), ["answer 2", "send 1 1", "send 2 2", "ack", "answer 1", "send 3 3", "ack"]);
}

#[tokio::test(start_paused = true)]
async fn a_bus_that_is_away_holds_the_next_batch_up() {
    let notes = Notes::default();
    let queue = FakeQueue::of(&notes, vec![batch(&["1"]), batch(&["2"])]);
    let bus = FakeBus::new(&notes);
    *bus.away_for.lock().unwrap() = 5;
    deliver(queue, FENCE, Arc::<FakeLog>::default(), bus).await;
    assert_eq!(notes.taken(), ["answer 1", "send 1 1", "ack", "answer 1", "send 2 2", "ack"]);
}

#[tokio::test]
async fn what_was_stored_before_is_sent_again_if_it_was_handed_out_again() {
    let notes = Notes::default();
    let log = log(|_| Ok(Some(Appended::Repeated { epoch: epoch(), serial: Serial(7), time: Timestamp(1) })));
    let mut again = message("1");
    again.redelivered = true;
    let queue = FakeQueue::of(&notes, vec![vec![again, message("2")]]);
    deliver(queue, FENCE, log, FakeBus::new(&notes)).await;
    assert_eq!(notes.taken(), ["answer 2", "send 7 1", "ack"], "a publisher's repeat has been sent before");
}

#[tokio::test]
async fn what_can_never_be_stored_is_set_aside_and_stops_nothing() {
    let notes = Notes::default();
    let log = log(|data| match data {
        "\"poison\"" => Err(StoreError::Rejected("a constraint".to_owned())),
        _ => Ok(None),
    });
    let queue = FakeQueue::of(&notes, vec![batch(&["1", "\"poison\"", "2"]), batch(&["3"])]);
    assert_eq!(deliver(queue, FENCE, log, FakeBus::new(&notes)).await, Ended::Closed);
    let expected = [
        "bury \"poison\" rejected: it can never be stored: a constraint",
        "answer 3",
        "send 1 1",
        "send 2 2",
        "ack",
        "answer 1",
        "send 3 3",
        "ack",
    ];
    assert_eq!(notes.taken(), expected);
}

#[tokio::test]
async fn a_conflict_is_set_aside_only_if_nobody_waits_to_be_told() {
    let conflict = || log(|_| Ok(Some(Appended::Conflict)));
    let notes = Notes::default();
    let queue = FakeQueue::of(&notes, vec![batch(&["1"])]);
    deliver(queue, FENCE, conflict(), FakeBus::new(&notes)).await;
    assert_eq!(notes.taken(), ["answer 1", "bury 1 conflict: another message has the same idempotency key", "ack"]);
    let queue = FakeQueue::awaited(&notes, vec![batch(&["1"])]);
    deliver(queue, FENCE, conflict(), FakeBus::new(&notes)).await;
    assert_eq!(notes.taken(), ["answer 1", "ack"]);
}

#[tokio::test]
async fn a_partition_is_given_up_when_its_log_is_away_or_it_has_another_owner() {
    for (failure, ended) in [
        (log(|_| Err(StoreError::unavailable("away"))), Ended::LogAway),
        (log(|_| Err(StoreError::Fenced)), Ended::Fenced),
    ] {
        let notes = Notes::default();
        let queue = FakeQueue::of(&notes, vec![batch(&["1"]), batch(&["2"])]);
        assert_eq!(deliver(queue, FENCE, failure, FakeBus::new(&notes)).await, ended);
        assert_eq!(notes.taken(), ["fail"]);
    }
}

#[tokio::test]
async fn without_a_fence_the_next_batch_is_tried() {
    let notes = Notes::default();
    let log = log(|data| if data == "1" { Err(StoreError::unavailable("away")) } else { Ok(None) });
    let queue = FakeQueue::of(&notes, vec![batch(&["1"]), batch(&["2"])]);
    deliver(queue, None, log, FakeBus::new(&notes)).await;
    assert_eq!(notes.taken(), ["fail", "answer 1", "send 1 2", "ack"]);
}

#[tokio::test]
async fn a_bus_that_knows_more_than_the_log_stops_the_partition() {
    let first = message("1");
    let head = |serial| Head { epoch: epoch(), serial: Serial(serial) };
    let ahead = Ahead { app: first.app.clone(), channel: first.channel.clone(), head: head(9) };
    for (known, stops) in [(head(1), true), (head(9), false)] {
        let notes = Notes::default();
        let bus = Arc::new(FakeBus { notes: notes.clone(), away_for: 0.into(), ahead: vec![ahead.clone()] });
        let log = Arc::new(FakeLog { head: Some(known).into(), ..FakeLog::default() });
        let ended = deliver(FakeQueue::of(&notes, vec![vec![first.clone()]]), FENCE, log, bus).await;
        assert_eq!(matches!(ended, Ended::Ahead(_)), stops);
        assert_eq!(notes.taken().contains(&"ack".to_owned()), !stops, "what stopped the partition stays in its queue");
    }
}
