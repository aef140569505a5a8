//! Redis is away: publishes wait in the queue, sockets stay, and delivery goes on in order when it is back.

use std::time::Duration;

use super::*;
use crate::harness::{nodes::RedisAt, redis};

/// Longer than anything takes that would be delivered all the same.
const QUIET: Duration = Duration::from_secs(2);

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
    fleet.production.redis.engine().restart().await;
    publish_numbers(&fleet, &tenant, "chat", 16..=20).await;
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

/// Publishes before, during and after something that happens to Redis; all of it arrives.
async fn survives(fleet: &Fleet, disturb: impl AsyncFnOnce()) {
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
    disturb().await;
    publish(4..=6).await;
    for socket in &mut sockets {
        let mut next = std::collections::HashMap::new();
        for message in socket.messages(6 * channels.len()).await {
            let expected = next.entry(message["channel"].to_string()).or_insert(1);
            assert_eq!((&message["serial"], &message["data"]), (&json!(*expected), &json!(*expected)), "{message}");
            *expected += 1;
        }
    }
}

#[tokio::test]
async fn on_a_cluster_of_redis_delivery_survives_a_master_that_comes_back_empty() {
    let mut cluster = redis::cluster().await;
    let production = Production::over(RedisAt::Url(cluster.url()), PARTITIONS).await;
    let fleet = Fleet::start(production, |options| options).await;
    survives(&fleet, async || {
        let master = cluster.masters[1].engine();
        master.kill9().await;
        master.restart().await;
    })
    .await;
}

#[tokio::test]
async fn behind_sentinels_delivery_goes_on_by_itself_after_a_failover() {
    let mut watched = redis::sentinel().await;
    let production = Production::over(RedisAt::Url(watched.url()), PARTITIONS).await;
    let fleet = Fleet::start(production, |options| options).await;
    survives(&fleet, async || watched.master.engine().kill9().await).await;
}
