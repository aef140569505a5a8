//! Redis is away: publishes wait in the queue, sockets stay, and delivery goes on in order when it is back.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use futures::future::join_all;
use tokio::sync::Notify;

use super::*;
use crate::harness::{nodes::RedisAt, redis, server::Options};

/// Longer than anything takes that would be delivered all the same.
const QUIET: Duration = Duration::from_secs(2);
/// How long a socket waits for two answers that need no Redis, on a busy machine.
const ANSWER: Duration = Duration::from_secs(8);
/// How many messages of a queue a worker is handed ahead of their acks.
const PREFETCH: i64 = 256;

async fn nothing_comes(socket: &mut Socket) {
    let came = tokio::time::timeout(QUIET, socket.event()).await;
    assert!(came.is_err(), "nothing is delivered: {came:?}");
}

#[tokio::test]
async fn without_redis_publishes_are_accepted_sockets_stay_and_delivery_goes_on_in_order_when_it_is_back() {
    let mut fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let mut sockets = [fleet.join(&tenant, 0, "ann").await, fleet.join(&tenant, 1, "bob").await];
    for socket in &mut sockets {
        socket.subscribe("chat").await;
    }
    publish_numbers(&fleet, &tenant, "chat", 1..=5).await;
    for socket in &mut sockets {
        receive_numbers(socket, 1..=5).await;
    }
    // It comes back with nothing in it.
    fleet.production.redis.engine().kill9().await;
    publish_numbers(&fleet, &tenant, "chat", 6..=15).await;
    for gateway in &fleet.gateways {
        let report = until_ready(gateway, false).await;
        assert_eq!(report["checks"]["bus"]["ok"], false, "{report}");
    }
    for socket in &mut sockets {
        nothing_comes(socket).await;
    }
    // What a socket asks for beside is answered meanwhile, and what it publishes is accepted.
    let begun = Instant::now();
    let history = sockets[0].ask(json!({"op": "history", "channel": "chat", "after": 0})).await;
    let found: Vec<_> = history["items"].as_array().expect("items").iter().map(|item| &item["data"]).take(5).collect();
    assert_eq!(found, [1, 2, 3, 4, 5], "{history}");
    let published = sockets[0].ask(json!({"op": "publish", "channel": "chat", "data": 16})).await;
    assert!(published["id"].is_string(), "{published}");
    assert!(begun.elapsed() < ANSWER, "{:?}", begun.elapsed());
    fleet.production.redis.engine().restart().await;
    publish_numbers(&fleet, &tenant, "chat", 17..=20).await;
    for socket in &mut sockets {
        receive_numbers(socket, 6..=20).await;
    }
    for gateway in &fleet.gateways {
        until_ready(gateway, true).await;
    }
}

#[tokio::test]
async fn a_gateway_that_was_cut_off_from_the_bus_fills_the_gap_before_it_delivers_what_is_new() {
    let fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let (mut cut_off, mut other) = (fleet.join(&tenant, 0, "ann").await, fleet.join(&tenant, 1, "bob").await);
    for socket in [&mut cut_off, &mut other] {
        socket.subscribe("chat").await;
    }
    for (round, stalled) in [(0, false), (1, true)] {
        let link = fleet.gateways[0].links.redis();
        if stalled {
            link.stall()
        } else {
            link.cut()
        }
        let first = round * 20 + 1;
        publish_numbers(&fleet, &tenant, "chat", first..=first + 9).await;
        receive_numbers(&mut other, first..=first + 9).await;
        nothing_comes(&mut cut_off).await;
        link.restore();
        publish_numbers(&fleet, &tenant, "chat", first + 10..=first + 19).await;
        receive_numbers(&mut cut_off, first..=first + 19).await;
        receive_numbers(&mut other, first + 10..=first + 19).await;
    }
}

/// Publishes a message, until it is accepted.
async fn accepted(tenant: &Tenant, channel: &str, number: u64) {
    until("the publish is accepted", async || match post(tenant, channel, json!(number)).await {
        answer if answer.status == 202 => Some(()),
        answer if answer.status == 503 => None,
        answer => panic!("{answer:?}"),
    })
    .await;
}

#[tokio::test]
async fn without_redis_a_worker_runs_ahead_of_it_by_what_it_was_handed_and_no_more() {
    const COUNT: u64 = 1_000;
    let unlimited = |options: Options| options.env("FANFARE_PLAN_DEFAULT", "unlimited");
    let mut fleet = Fleet::start(Production::start(PARTITIONS).await, unlimited).await;
    let tenant = fleet.tenant().await;
    let mut socket = fleet.join(&tenant, 0, "ann").await;
    socket.subscribe("chat").await;
    accepted(&tenant, "chat", 0).await;
    assert_eq!(socket.event_of("message").await["serial"], 1);
    fleet.production.redis.engine().kill9().await;
    let publishing = async |first: usize| {
        for number in (first..COUNT as usize).step_by(20) {
            accepted(&tenant.at(fleet.apis[number % 2].url()), "chat", number as u64 + 1).await;
        }
    };
    join_all((0..20).map(publishing)).await;
    let newest = async || {
        let query = "select coalesce(max(serial), 0) as number from messages where channel = 'chat'";
        fleet.production.postgres.database().number(query).await
    };
    until("a first batch is stored", async || (newest().await > 1).then_some(())).await;
    nothing_comes(&mut socket).await;
    let ahead = newest().await - 1;
    assert!((1..=PREFETCH).contains(&ahead), "{ahead} messages are stored and not on the bus");
    fleet.production.redis.engine().restart().await;
    for serial in 2..=COUNT + 1 {
        assert_eq!(socket.event_of("message").await["serial"], serial);
    }
}

#[tokio::test]
async fn a_position_past_a_head_that_redis_has_forgotten_is_looked_up_before_a_loss_is_told() {
    let fleet = fleet().await;
    let tenant = fleet.tenant().await;
    publish_numbers(&fleet, &tenant, "chat", 1..=5).await;
    tenant.reaches("chat", 5).await;
    let mut first = fleet.join(&tenant, 0, "ann").await;
    let epoch = first.subscribe("chat").await["epoch"].as_str().expect("an epoch").to_owned();
    let head = format!("ff:h:{{{}/chat}}", tenant.app);
    let redis = fleet.production.redis.server();
    until("the head is on the bus", async || (redis.ask(&["hget", &head, "s"]).await == "5").then_some(())).await;
    // Its first page is kept for those who come back to the same position.
    let mut reader = fleet.join(&tenant, 0, "bob").await;
    assert_eq!(reader.resume("chat", &epoch, 3).await["resumed"], true);
    receive_numbers(&mut reader, 4..=5).await;
    for (what, words) in [
        ("it has an older one, as after a failover", ["hset", &head, "s", "2"].as_slice()),
        ("it has none", &["del", &head]),
    ] {
        redis.ask(words).await;
        for since in [3, 5] {
            let mut late = fleet.join(&tenant, 0, "cem").await;
            let resumed = late.resume("chat", &epoch, since).await;
            assert_eq!((&resumed["resumed"], &resumed["serial"]), (&json!(true), &json!(5)), "{what}: {resumed}");
            receive_numbers(&mut late, since + 1..=5).await;
        }
    }
    publish_numbers(&fleet, &tenant, "chat", 6..=7).await;
    receive_numbers(&mut reader, 6..=7).await;
}

/// Publishes before, while and after something happens to Redis; all of it arrives. What happens may wait for a round of publishes.
async fn survives(fleet: &Fleet, disturb: impl AsyncFnOnce(&Notify)) {
    let tenant = fleet.tenant().await;
    let mut sockets = [fleet.join(&tenant, 0, "ann").await, fleet.join(&tenant, 1, "bob").await];
    let channels: Vec<_> = (0..6).map(|n| format!("chat:{n}")).collect();
    let publish = async |numbers: std::ops::RangeInclusive<u64>| {
        for channel in &channels {
            publish_numbers(fleet, &tenant, channel, numbers.clone()).await;
        }
    };
    for socket in &mut sockets {
        for channel in &channels {
            socket.subscribe(channel).await;
        }
    }
    publish(1..=3).await;
    let (published, over, last) = (Notify::new(), Cell::new(false), Cell::new(3));
    let disturb = async {
        disturb(&published).await;
        over.set(true);
    };
    let go_on = async {
        while !over.get() {
            last.set(last.get() + 1);
            publish(last.get()..=last.get()).await;
            published.notify_one();
        }
    };
    tokio::join!(disturb, go_on);
    let last = last.get() + 3;
    publish(last - 2..=last).await;
    for socket in &mut sockets {
        let mut next = std::collections::HashMap::new();
        for message in socket.messages(last as usize * channels.len()).await {
            let expected = next.entry(message["channel"].to_string()).or_insert(1);
            assert_eq!((&message["serial"], &message["data"]), (&json!(*expected), &json!(*expected)), "{message}");
            *expected += 1;
        }
    }
}

/// Returns when something was published that was begun after this: the round that ends first may have begun before.
async fn published_since(published: &Notify) {
    for _ in 0..3 {
        published.notified().await;
    }
}

#[tokio::test]
async fn on_a_cluster_of_redis_delivery_survives_a_master_that_comes_back_empty() {
    let mut cluster = redis::cluster().await;
    let production = Production::over(RedisAt::Url(cluster.url()), PARTITIONS).await;
    let fleet = Fleet::start(production, |options| options).await;
    survives(&fleet, async |published| {
        let master = cluster.masters[1].engine();
        master.kill9().await;
        published_since(published).await;
        master.restart().await;
    })
    .await;
}

#[tokio::test]
async fn behind_sentinels_delivery_goes_on_by_itself_after_a_failover() {
    let mut watched = redis::sentinel().await;
    let production = Production::over(RedisAt::Url(watched.url()), PARTITIONS).await;
    let fleet = Fleet::start(production, |options| options).await;
    survives(&fleet, async |published| {
        watched.master.engine().kill9().await;
        published_since(published).await;
    })
    .await;
}
