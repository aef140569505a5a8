//! A worker goes: its partitions are taken over, with nothing lost, doubled or reordered.

use std::time::{Duration, Instant};

use fanfare_infra::names::Names;
use lapin::{Connection, ConnectionProperties, options::QueueDeclareOptions, types::FieldTable};

use super::*;

/// Enough channels that both workers own some of them.
const CHANNELS: u64 = 12;

/// What happens to a worker, and how long after the last answer the last message may come.
async fn taken_over(limit: Duration, happen: impl AsyncFnOnce(&mut Server), after: impl AsyncFnOnce(&mut Server)) {
    let mut fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let mut socket = fleet.join(&tenant, 0, "ann").await;
    let channels: Vec<_> = (0..CHANNELS).map(|n| format!("chat:{n}")).collect();
    for channel in &channels {
        socket.subscribe(channel).await;
        publish_numbers(&fleet, &tenant, channel, 1..=3).await;
    }
    happen(&mut fleet.workers[0]).await;
    for channel in &channels {
        publish_numbers(&fleet, &tenant, channel, 4..=6).await;
    }
    let answered = Instant::now();
    let mut next = std::collections::HashMap::new();
    let mut last = Duration::ZERO;
    for message in socket.messages(6 * channels.len()).await {
        let expected = next.entry(message["channel"].to_string()).or_insert(1);
        assert_eq!((&message["serial"], &message["data"]), (&json!(*expected), &json!(*expected)), "{message}");
        *expected += 1;
        last = answered.elapsed();
    }
    assert!(last < limit, "the last message came after {last:?}");
    after(&mut fleet.workers[0]).await;
    for channel in &channels {
        publish_numbers(&fleet, &tenant, channel, 7..=8).await;
    }
    for _ in 0..2 * CHANNELS {
        let message = socket.event_of("message").await;
        let expected = next.entry(message["channel"].to_string()).or_insert(1);
        assert_eq!(message["serial"], *expected, "{message}");
        *expected += 1;
    }
}

#[tokio::test]
async fn a_worker_that_is_killed_is_replaced_once_its_lease_is_over() {
    taken_over(Duration::from_secs(10), async |worker| worker.kill9().await, async |worker| worker.restart().await)
        .await;
}

#[tokio::test]
async fn a_worker_that_ends_hands_over_at_once() {
    let end = async |worker: &mut Server| assert!(worker.terminate().await.success());
    taken_over(Duration::from_secs(5), end, async |worker| worker.restart().await).await;
}

#[tokio::test]
async fn a_worker_that_is_stopped_is_replaced_and_writes_nothing_when_it_goes_on() {
    taken_over(Duration::from_secs(18), async |worker| worker.stop(), async |worker| worker.cont()).await;
}

#[tokio::test]
async fn a_worker_is_unready_while_it_cannot_take_from_the_queue_or_cannot_reach_the_bus() {
    let fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let mut socket = fleet.join(&tenant, 0, "ann").await;
    let channels: Vec<_> = (0..CHANNELS).map(|n| format!("chat:{n}")).collect();
    for channel in &channels {
        socket.subscribe(channel).await;
    }
    type Link = fn(&Links) -> &Proxy;
    let (rabbitmq, redis): (Link, Link) = (|links| &links.rabbitmq, Links::redis);
    for (serial, link, what) in [(1, rabbitmq, "queue"), (2, redis, "move")] {
        fleet.workers.iter().for_each(|worker| link(&worker.links).cut());
        for channel in &channels {
            publish_numbers(&fleet, &tenant, channel, serial..=serial).await;
        }
        for worker in &fleet.workers {
            let report = until_ready(worker, false).await;
            let problem = report["checks"]["worker"]["problem"].as_str().unwrap_or_default();
            assert!(problem.contains("partition") && problem.contains(what), "{report}");
        }
        fleet.workers.iter().for_each(|worker| link(&worker.links).restore());
        for message in socket.messages(channels.len()).await {
            assert_eq!((&message["serial"], &message["data"]), (&json!(serial), &json!(serial)), "{message}");
        }
        for worker in &fleet.workers {
            until_ready(worker, true).await;
        }
    }
}

#[tokio::test]
async fn while_postgres_is_away_nobody_takes_from_the_queues() {
    let fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let mut socket = fleet.join(&tenant, 0, "ann").await;
    socket.subscribe("chat").await;
    let broker = Connection::connect(&fleet.production.rabbitmq.url(), ConnectionProperties::default()).await.unwrap();
    let channel = broker.create_channel().await.unwrap();
    let consumers = async || {
        let mut count = 0;
        for partition in 0..PARTITIONS {
            let (name, passive) = (Names::default().queue(partition), QueueDeclareOptions::default().passive());
            let queue = channel.queue_declare(name.as_str().into(), passive, FieldTable::default()).await.unwrap();
            count += queue.consumer_count();
        }
        count
    };
    until("every queue is taken from", async || (consumers().await == u32::from(PARTITIONS)).then_some(())).await;
    publish_numbers(&fleet, &tenant, "chat", 1..=3).await;
    receive_numbers(&mut socket, 1..=3).await;
    cut(&fleet, |links| &links.postgres);
    publish_numbers(&fleet, &tenant, "chat", 4..=6).await;
    until("nobody takes from any", async || (consumers().await == 0).then_some(())).await;
    restore(&fleet, |links| &links.postgres);
    receive_numbers(&mut socket, 4..=6).await;
    until("every queue is taken from again", async || (consumers().await == u32::from(PARTITIONS)).then_some(())).await;
}
