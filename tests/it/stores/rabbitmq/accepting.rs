//! What publishers see.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use fanfare_domain::{
    partitions::partition_of,
    publishing::{Intake, IntakeError},
};
use fanfare_infra::names::Names;
use fanfare_protocol::{Epoch, Serial, requests::Ack};
use futures::future::join_all;
use lapin::options::QueueDeleteOptions;

use super::{accept, bare, bounded, connecting, ground, next, number, numbered, open, partition, places, take};
use crate::stores::{
    queue::{app, stored, submitted},
    samples::message,
};

#[tokio::test]
async fn confirms_are_on_the_way_by_the_hundred() {
    let ground = ground().await;
    let app = app();
    let requests = (0..500).map(|number| ground.rabbit.submit(vec![numbered(&app, number)], Ack::Accepted));
    let answers = join_all(requests).await;
    assert!(answers.iter().all(|answer| answer[0].as_ref().is_ok_and(|receipt| receipt.place.is_none())));
    let queue = open(&ground.rabbit, partition(&app)).await;
    let mut taken: Vec<_> = take(queue.as_ref(), 500).await.iter().map(number).collect();
    taken.sort_unstable();
    assert_eq!(taken, (0..500).collect::<Vec<_>>(), "each once; what is asked at the same time has no order");
}

#[tokio::test]
async fn a_request_is_spread_over_the_partitions_and_answered_in_its_own_order() {
    let ground = ground().await;
    let app = app();
    let sent: Vec<_> =
        (0..40).map(|number| message(&app, &format!("c:{}", number % 10), &number.to_string())).collect();
    let ids: Vec<_> = sent.iter().map(|accepted| accepted.message.id.clone()).collect();
    let partitions: BTreeSet<_> =
        sent.iter().map(|accepted| partition_of(&app.id, &accepted.channel, super::PARTITIONS)).collect();
    let rabbit = ground.rabbit.clone();
    let waiting = tokio::spawn(async move { rabbit.submit(sent, Ack::Persisted).await });
    let mut taken = 0;
    for partition in partitions {
        let queue = open(&ground.rabbit, partition).await;
        let mut batch = next(queue.as_ref()).await.unwrap();
        let numbers: Vec<_> = batch.messages().iter().map(number).collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
        batch.answer(&numbers.iter().map(|number| stored(*number + 1)).collect::<Vec<_>>());
        taken += numbers.len();
        batch.ack().await;
    }
    assert_eq!(taken, 40);
    for ((answer, id), serial) in waiting.await.unwrap().into_iter().zip(ids).zip(1..) {
        let receipt = answer.unwrap();
        assert_eq!((receipt.id, receipt.place), (id, Some((Epoch::new("e"), Serial(serial)))));
    }
}

#[tokio::test]
async fn only_who_waits_is_awaited() {
    let ground = ground().await;
    let app = app();
    accept(&ground.rabbit, &app, [0]).await;
    let rabbit = ground.rabbit.clone();
    let request = vec![numbered(&app, 1), numbered(&app, 2)];
    let waiting = tokio::spawn(async move { rabbit.submit(request, Ack::Persisted).await });
    let queue = open(&ground.rabbit, partition(&app)).await;
    let (mut awaited, mut serial) = (Vec::new(), 1);
    while awaited.len() < 3 {
        let mut batch = next(queue.as_ref()).await.unwrap();
        batch.answer(&places(batch.as_ref(), serial));
        serial += batch.messages().len() as u64;
        awaited.extend((0..batch.messages().len()).map(|at| batch.is_awaited(at)));
        batch.ack().await;
    }
    assert_eq!(awaited, [false, true, true]);
    let places: Vec<_> = waiting.await.unwrap().into_iter().map(|answer| answer.unwrap().place.unwrap().1.0).collect();
    assert_eq!(places, [2, 3]);
}

#[tokio::test]
async fn a_full_queue_refuses_and_loses_nothing_that_it_took() {
    let ground = bounded(200_000).await;
    let app = app();
    let large = |number: u64| message(&app, "a", &format!("[{number},\"{}\"]", "x".repeat(20_000)));
    let mut accepted = Vec::new();
    let mut refused = 0;
    for number in 0..100 {
        let sent = large(number);
        let id = sent.message.id.clone();
        match &ground.rabbit.submit(vec![sent], Ack::Accepted).await[0] {
            Ok(_) => accepted.push(id),
            Err(error) => {
                assert_eq!(*error, IntakeError::Full);
                refused += 1;
            }
        }
    }
    assert!(accepted.len() >= 9 && refused >= 50, "{} accepted, {refused} refused", accepted.len());
    let queue = open(&ground.rabbit, partition(&app)).await;
    let taken = take(queue.as_ref(), accepted.len()).await;
    assert_eq!(taken.into_iter().map(|taken| taken.message.id).collect::<Vec<_>>(), accepted);
    crate::harness::waiting::until("room again", async || {
        ground.rabbit.submit(vec![large(0)], Ack::Accepted).await[0].is_ok().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_missing_queue_accepts_nothing() {
    let ground = ground().await;
    let app = app();
    let (_connection, channel) = bare(&ground.url).await;
    let name = Names::default().queue(partition(&app));
    channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    let requests = (0..50).map(|number| ground.rabbit.submit(vec![numbered(&app, number)], Ack::Accepted));
    for answer in join_all(requests).await {
        assert!(matches!(answer[0], Err(IntakeError::Unavailable | IntakeError::Unconfirmed)), "{:?}", answer[0]);
    }
    let answer = ground.rabbit.submit(vec![numbered(&app, 0)], Ack::Accepted).await;
    assert_eq!(answer, [Err(IntakeError::Unavailable)]);
}

#[tokio::test]
async fn without_a_broker_nothing_is_accepted_and_nobody_waits_long() {
    let rabbit = connecting("amqp://guest:guest@127.0.0.1:1/%2f");
    let begun = Instant::now();
    let answers = rabbit.submit(vec![numbered(&app(), 0), numbered(&app(), 1)], Ack::Persisted).await;
    assert_eq!(answers, [Err(IntakeError::Unavailable), Err(IntakeError::Unavailable)]);
    assert_eq!(rabbit.probe().await, Err(IntakeError::Unavailable));
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_probe_goes_the_way_of_messages_and_is_never_handed_out() {
    let ground = ground().await;
    let app = app();
    for _ in 0..2 * super::PARTITIONS {
        ground.rabbit.probe().await.unwrap();
    }
    accept(&ground.rabbit, &app, [1]).await;
    for _ in 0..super::PARTITIONS {
        ground.rabbit.probe().await.unwrap();
    }
    accept(&ground.rabbit, &app, [2]).await;
    let queue = open(&ground.rabbit, partition(&app)).await;
    assert_eq!(take(queue.as_ref(), 2).await.iter().map(number).collect::<Vec<_>>(), [1, 2]);
    let waiting = submitted(
        &super::Whole { ground: ground.into(), queue: queue.clone() },
        vec![numbered(&app, 3)],
        Ack::Accepted,
    )
    .await;
    assert_eq!(take(queue.as_ref(), 1).await.iter().map(number).collect::<Vec<_>>(), [3]);
    assert!(waiting.await.unwrap()[0].is_ok());
}
