//! What is set aside can be listed, shown and replayed, and is never lost.

use fanfare_domain::publishing::{Intake, Queue};
use fanfare_infra::names::Names;
use fanfare_infra::rabbitmq::dead_letters::{DeadLettersError, Replayed, Which, list, replay, show};
use fanfare_protocol::requests::Ack;

use super::{Ground, accept, bare, bounded, ground, next, number, open, partition, put, take};
use crate::stores::{queue::app, samples::message};

/// Sets the messages of those places aside, of all that are in the queue.
async fn bury(queue: &dyn Queue, count: usize, reason: &str) {
    let mut buried = 0;
    while buried < count {
        let mut batch = next(queue).await.unwrap();
        for at in 0..batch.messages().len() {
            batch.bury(at, reason, "too strange").await.unwrap();
            buried += 1;
        }
        batch.ack().await;
    }
}

async fn ids(ground: &Ground) -> Vec<String> {
    list(&ground.url, &Names::default(), 100).await.unwrap().into_iter().map(|letter| letter.id).collect()
}

#[tokio::test]
async fn a_dead_letter_can_be_listed_and_shown_as_often_as_one_likes() {
    let ground = ground().await;
    let app = app();
    accept(&ground.rabbit, &app, [7, 8]).await;
    let queue = open(&ground.rabbit, partition(&app)).await;
    bury(queue.as_ref(), 2, "rejected").await;
    let first = ids(&ground).await;
    assert_eq!(first.len(), 2);
    for id in &first {
        assert_eq!(ids(&ground).await, first);
        let letter = show(&ground.url, &Names::default(), id).await.unwrap().unwrap();
        assert_eq!((&letter.id, letter.partition), (id, Some(partition(&app))));
        assert_eq!((letter.reason.as_str(), letter.detail.as_deref()), ("rejected", Some("too strange")));
        assert!(letter.time.0 > 1_700_000_000_000);
        assert_eq!(letter.messages().unwrap().len(), 1);
    }
    assert_eq!(list(&ground.url, &Names::default(), 1).await.unwrap()[0].id, first[0]);
    assert!(show(&ground.url, &Names::default(), "dead_0").await.unwrap().is_none());
}

#[tokio::test]
async fn nobody_sees_only_a_part_while_somebody_else_reads() {
    let ground = ground().await;
    let app = app();
    accept(&ground.rabbit, &app, [1, 2]).await;
    let queue = open(&ground.rabbit, partition(&app)).await;
    bury(queue.as_ref(), 2, "rejected").await;
    let (_connection, channel) = bare(&ground.url).await;
    channel.basic_get(Names::default().dead_letters().as_str().into(), Default::default()).await.unwrap().unwrap();
    assert_eq!(list(&ground.url, &Names::default(), 10).await, Err(DeadLettersError::Busy));
    channel.close(200, "OK".into()).await.unwrap();
    assert_eq!(list(&ground.url, &Names::default(), 10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_replayed_message_is_in_its_queue_again_and_the_others_stay() {
    let ground = ground().await;
    let app = app();
    accept(&ground.rabbit, &app, [1, 2, 3]).await;
    let queue = open(&ground.rabbit, partition(&app)).await;
    bury(queue.as_ref(), 3, "rejected").await;
    let all = ids(&ground).await;
    let one = Which::Id(all[1].clone());
    assert_eq!(replay(&ground.url, &Names::default(), &one).await.unwrap(), Replayed { replayed: 1, stay: 0 });
    let again = take(queue.as_ref(), 1).await;
    assert_eq!(number(&again[0]), 2);
    assert_eq!(ids(&ground).await, [all[0].clone(), all[2].clone()]);
    assert_eq!(
        replay(&ground.url, &Names::default(), &Which::Reason("conflict".to_owned())).await.unwrap(),
        Replayed::default()
    );
    assert_eq!(
        replay(&ground.url, &Names::default(), &Which::Reason("rejected".to_owned())).await.unwrap().replayed,
        2
    );
    let again = take(queue.as_ref(), 2).await;
    assert_eq!(again.iter().map(number).collect::<Vec<_>>(), [1, 3]);
    assert!(ids(&ground).await.is_empty());
}

#[tokio::test]
async fn what_is_replayed_may_be_stored_already_however_late_it_comes() {
    let ground = ground().await;
    let app = app();
    accept(&ground.rabbit, &app, 0..300).await;
    let queue = open(&ground.rabbit, partition(&app)).await;
    take(queue.as_ref(), 300).await;
    accept(&ground.rabbit, &app, [300]).await;
    bury(queue.as_ref(), 1, "rejected").await;
    replay(&ground.url, &Names::default(), &Which::All).await.unwrap();
    assert!(take(queue.as_ref(), 1).await[0].redelivered);
}

#[tokio::test]
async fn a_replay_ends_though_what_it_replays_comes_back() {
    let ground = ground().await;
    put(&ground.url, 0, b"never json").await;
    let queue = open(&ground.rabbit, 0).await;
    let waiting = tokio::spawn(async move { next(queue.as_ref()).await.is_none() });
    let letters = async || list(&ground.url, &Names::default(), 10).await.unwrap();
    let first = crate::harness::waiting::until("set aside", async || letters().await.pop()).await;
    assert_eq!(replay(&ground.url, &Names::default(), &Which::All).await.unwrap().replayed, 1);
    let again =
        crate::harness::waiting::until("again", async || letters().await.pop().filter(|letter| letter.id != first.id))
            .await;
    assert_eq!((again.body, again.reason), (first.body, first.reason));
    waiting.abort();
}

#[tokio::test]
async fn a_dead_letter_that_its_queue_does_not_take_stays() {
    let ground = bounded(100_000).await;
    let app = app();
    accept(&ground.rabbit, &app, [1]).await;
    let queue = open(&ground.rabbit, partition(&app)).await;
    bury(queue.as_ref(), 1, "rejected").await;
    queue.close().await;
    let large = || vec![message(&app, "a", &format!("\"{}\"", "x".repeat(30_000)))];
    while ground.rabbit.submit(large(), Ack::Accepted).await[0].is_ok() {}
    let before = ids(&ground).await;
    let refused = replay(&ground.url, &Names::default(), &Which::All).await;
    assert!(matches!(refused, Err(DeadLettersError::NotTaken { replayed: 0, .. })), "{refused:?}");
    assert_eq!(ids(&ground).await, before);
}
