//! What a partition's owner sees.

use std::time::Duration;

use fanfare_domain::publishing::{QueueError, Queues};
use fanfare_infra::{names::Names, rabbitmq::dead_letters};
use lapin::{options::QueueDeclareOptions, types::FieldTable};
use tokio::time::timeout;

use super::{accept, bare, connected, ground, hold, next, number, numbers, open, partition, put, take};
use crate::{harness::waiting::until, stores::queue::app};

#[tokio::test]
async fn a_partition_is_busy_while_somebody_takes_from_it() {
    let ground = ground().await;
    let other = connected(&ground.url).await;
    let queue = open(&ground.rabbit, 1).await;
    assert_eq!(ground.rabbit.taken(), [1]);
    assert_eq!(other.open(1).await.err(), Some(QueueError::Busy));
    assert!(other.open(2).await.is_ok());
    queue.close().await;
    assert!(ground.rabbit.taken().is_empty());
    open(&other, 1).await;
}

#[tokio::test]
async fn an_opening_that_is_given_up_half_way_leaves_nobody_on_the_queue() {
    let ground = ground().await;
    accept(&ground.rabbit, &app(), 0..10).await;
    for partition in 0..super::PARTITIONS {
        for microseconds in (0..6_000).step_by(100) {
            if let Ok(Ok(queue)) = timeout(Duration::from_micros(microseconds), ground.rabbit.open(partition)).await {
                queue.close().await;
            }
        }
        open(&ground.rabbit, partition).await.close().await;
    }
}

#[tokio::test]
async fn a_partition_is_busy_until_all_that_is_in_hand_is_settled() {
    let ground = ground().await;
    let app = app();
    accept(&ground.rabbit, &app, 0..10).await;
    let queue = open(&ground.rabbit, partition(&app)).await;
    let batch = next(queue.as_ref()).await.unwrap();
    let held = numbers(batch.as_ref());
    queue.close().await;
    assert!(next(queue.as_ref()).await.is_none());
    let other = connected(&ground.url).await;
    assert_eq!(other.open(partition(&app)).await.err(), Some(QueueError::Busy));
    batch.ack().await;
    let queue = open(&other, partition(&app)).await;
    let rest = take(queue.as_ref(), 10 - held.len()).await;
    assert_eq!(held.into_iter().chain(rest.iter().map(number)).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_not_settled_goes_back_in_order_and_comes_flagged() {
    let ground = ground().await;
    let app = app();
    // Whatever the broker has handed out by then is taken at once, so there is always more than it may hand out for two batches.
    let (mut begin, mut sent) = (0, 0);
    for turn in 0..12 {
        accept(&ground.rabbit, &app, sent..begin + 600).await;
        sent = begin + 600;
        let queue = open(&ground.rabbit, partition(&app)).await;
        let done = take(queue.as_ref(), 1).await;
        let batch = next(queue.as_ref()).await.unwrap();
        let held = numbers(batch.as_ref());
        let flagged = batch.messages().iter().zip(done.len()..).all(|(accepted, at)| at >= 256 || accepted.redelivered);
        assert!(flagged, "the first may be stored already");
        let first: Vec<_> = done.iter().map(number).chain(held).collect();
        assert_eq!(first, (begin..begin + first.len() as u64).collect::<Vec<_>>(), "turn {turn}");
        begin += done.len() as u64;
        if turn % 2 == 0 {
            batch.fail();
        } else {
            drop(batch);
        }
        assert!(next(queue.as_ref()).await.is_none(), "nothing overtakes what goes back");
    }
    let queue = open(&ground.rabbit, partition(&app)).await;
    let rest = take(queue.as_ref(), (sent - begin) as usize).await;
    assert_eq!(rest.iter().map(number).collect::<Vec<_>>(), (begin..sent).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_message_that_is_handed_out_again_and_again_still_comes() {
    let ground = ground().await;
    let app = app();
    accept(&ground.rabbit, &app, [7]).await;
    // More often than a limit that somebody might think enough; brokers set 20 by themselves.
    for _ in 0..30 {
        let queue = open(&ground.rabbit, partition(&app)).await;
        let batch = next(queue.as_ref()).await.unwrap();
        assert_eq!(numbers(batch.as_ref()), [7]);
        drop(batch);
        queue.close().await;
    }
    let queue = open(&ground.rabbit, partition(&app)).await;
    assert_eq!(take(queue.as_ref(), 1).await.iter().map(number).collect::<Vec<_>>(), [7]);
    assert!(dead_letters::list(&ground.url, &Names::default(), 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_comes_after_the_first_and_for_the_first_time_is_not_flagged() {
    let ground = ground().await;
    let app = app();
    accept(&ground.rabbit, &app, 0..300).await;
    let queue = open(&ground.rabbit, partition(&app)).await;
    let flags: Vec<_> = take(queue.as_ref(), 300).await.iter().map(|accepted| accepted.redelivered).collect();
    assert!(flags[..256].iter().all(|flag| *flag) && !flags[256..].iter().any(|flag| *flag));
}

#[tokio::test]
async fn a_cancelled_consumer_counts_for_as_long_as_it_holds_something() {
    let ground = ground().await;
    let app = app();
    accept(&ground.rabbit, &app, 0..5).await;
    let name = Names::default().queue(partition(&app));
    let (_connection, channel) = bare(&ground.url).await;
    let consumer = channel
        .basic_consume(name.as_str().into(), "it".into(), Default::default(), FieldTable::default())
        .await
        .unwrap();
    let passive = || {
        let options = QueueDeclareOptions::default().passive();
        channel.queue_declare(name.as_str().into(), options, FieldTable::default())
    };
    until("all are out", async || (passive().await.unwrap().message_count() == 0).then_some(())).await;
    channel.basic_cancel("it".into(), Default::default()).await.unwrap();
    assert_eq!(passive().await.unwrap().consumer_count(), 1);
    assert_eq!(ground.rabbit.open(partition(&app)).await.err(), Some(QueueError::Busy));
    channel.close(200, "OK".into()).await.unwrap();
    drop(consumer);
    let queue = open(&ground.rabbit, partition(&app)).await;
    assert_eq!(take(queue.as_ref(), 5).await.iter().map(number).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn what_nobody_can_read_is_set_aside_and_the_next_message_goes_on() {
    let ground = ground().await;
    let app = app();
    let partition = partition(&app);
    put(&ground.url, partition, b"not json").await;
    accept(&ground.rabbit, &app, [1]).await;
    put(&ground.url, partition, br#"{"v":1}"#).await;
    accept(&ground.rabbit, &app, [2]).await;
    let queue = open(&ground.rabbit, partition).await;
    assert_eq!(take(queue.as_ref(), 2).await.iter().map(number).collect::<Vec<_>>(), [1, 2]);
    let letters = dead_letters::list(&ground.url, &Names::default(), 10).await.unwrap();
    let bodies: Vec<_> = letters.iter().map(|letter| letter.body.as_slice()).collect();
    assert_eq!(bodies, [b"not json".as_slice(), br#"{"v":1}"#]);
    assert!(letters.iter().all(|letter| letter.reason == "malformed" && letter.partition == Some(partition)));
    assert!(letters[0].detail.as_ref().unwrap().contains("not JSON"));
    queue.close().await;
    let (_connection, channel) = bare(&ground.url).await;
    let name = Names::default().queue(partition);
    until("nothing is left", async || {
        let options = QueueDeclareOptions::default().passive();
        let asked = channel.queue_declare(name.as_str().into(), options, FieldTable::default()).await.unwrap();
        (asked.message_count() == 0 && asked.consumer_count() == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_newer_message_stays_and_stops_its_partition() {
    let ground = ground().await;
    let app = app();
    let partition = partition(&app);
    accept(&ground.rabbit, &app, [1]).await;
    put(&ground.url, partition, br#"{"v":2,"later":true}"#).await;
    accept(&ground.rabbit, &app, [3]).await;
    let queue = open(&ground.rabbit, partition).await;
    assert_eq!(take(queue.as_ref(), 1).await.iter().map(number).collect::<Vec<_>>(), [1]);
    assert!(next(queue.as_ref()).await.is_none());
    for _ in 0..3 {
        until("it is refused", async || {
            (ground.rabbit.open(partition).await.err()? == QueueError::Newer).then_some(())
        })
        .await;
    }
    let (_connection, channel) = bare(&ground.url).await;
    let got = until("it is still there", async || {
        channel.basic_get(Names::default().queue(partition).as_str().into(), Default::default()).await.unwrap()
    })
    .await;
    assert_eq!(got.data, br#"{"v":2,"later":true}"#);
    assert!(dead_letters::list(&ground.url, &Names::default(), 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_queue_that_is_taken_away_ends_at_once() {
    let ground = ground().await;
    let queue = open(&ground.rabbit, 0).await;
    let (_connection, channel) = bare(&ground.url).await;
    let waiting = tokio::spawn(async move { next(queue.as_ref()).await.is_none() });
    channel.queue_delete(Names::default().queue(0).as_str().into(), Default::default()).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap().unwrap());
    assert!(matches!(ground.rabbit.open(0).await.err(), Some(QueueError::Unavailable(_))));
}

#[tokio::test]
async fn batches_end_at_their_messages_and_never_within_a_request() {
    use fanfare_domain::publishing::Intake;
    use fanfare_protocol::requests::Ack;

    let ground = ground().await;
    let app = app();
    for request in 0..5 {
        let messages = (0..400).map(|number| super::numbered(&app, request * 400 + number)).collect();
        ground.rabbit.submit(messages, Ack::Accepted).await.into_iter().for_each(|answer| drop(answer.unwrap()));
    }
    let queue = open(&ground.rabbit, partition(&app)).await;
    let mut held = Vec::new();
    while held.len() < 2_000 {
        let (numbers, batches) = hold(queue.as_ref(), 1).await;
        assert!(numbers.len() % 400 == 0 && numbers.len() <= 1_000, "{}", numbers.len());
        held.extend(numbers);
        for batch in batches {
            batch.ack().await;
        }
    }
    assert_eq!(held, (0..2_000).collect::<Vec<_>>());
}
