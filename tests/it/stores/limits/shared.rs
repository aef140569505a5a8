//! Limits that several nodes share through one Redis.

use std::{num::NonZeroU32, sync::Arc};

use fanfare_domain::{
    ids::AppId,
    limits::{AppLimits, ConnectionPermit, Exceeded},
    plans::Limits,
};
use fanfare_infra::{
    names::Names,
    redis::{Redis, SharedLimits},
};
use futures::future::join_all;

use crate::harness::{redis, waiting::until};

/// A node that shares its limits with those on the same Redis.
pub fn node(url: &str, name: &str) -> Arc<dyn AppLimits> {
    SharedLimits::new(Redis::connect(url, Names::default()).unwrap(), name)
}

fn plan(connections: u32) -> Limits {
    Limits { connections, publishes_per_s: 10, ..Limits::default() }
}

/// So many connections asked for at the same time, of each node in turn.
async fn connect(
    nodes: &[&Arc<dyn AppLimits>],
    app: &AppId,
    limit: u32,
    times: usize,
) -> Vec<Box<dyn ConnectionPermit>> {
    let plan = plan(limit);
    let asked = (0..times).map(|at| nodes[at % nodes.len()].connect(app, &plan));
    join_all(asked).await.into_iter().filter_map(Result::ok).collect()
}

fn registry(app: &AppId) -> String {
    format!("ff:l:c:{{{app}}}")
}

/// What the registry says of a node: how many places it holds, and when they end.
async fn told(server: &redis::Redis, app: &AppId, node: &str) -> Option<(u32, u64)> {
    let entry = server.ask(&["hget", &registry(app), node]).await;
    let mut words = entry.split(' ');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

/// Lets the lease of a node's places end.
async fn age(server: &redis::Redis, app: &AppId, node: &str) {
    let entry = server.ask(&["hget", &registry(app), node]).await;
    let words: Vec<_> = entry.split(' ').collect();
    server.ask(&["hset", &registry(app), node, &format!("{} 1 {}", words[0], words[2])]).await;
}

#[tokio::test]
async fn nodes_that_race_for_the_last_places_take_exactly_those() {
    let server = redis::server().await;
    let (one, two) = (node(&server.url(), "one"), node(&server.url(), "two"));
    let app = AppId::generate();
    let first = connect(&[&one], &app, 3, 2).await;
    assert_eq!((first.len(), connect(&[&one, &two], &app, 3, 2).await.len()), (2, 1));
    for _ in 0..20 {
        let app = AppId::generate();
        assert_eq!(connect(&[&one, &two], &app, 25, 80).await.len(), 25);
    }
}

#[tokio::test]
async fn a_place_that_one_node_gives_back_can_be_had_on_another() {
    let server = redis::server().await;
    let (one, two) = (node(&server.url(), "one"), node(&server.url(), "two"));
    let app = AppId::generate();
    let mut places = connect(&[&one], &app, 3, 3).await;
    assert_eq!(two.connect(&app, &plan(3)).await.unwrap_err(), Exceeded::connections(3));
    places.pop();
    let taken = until("the place is free", async || two.connect(&app, &plan(3)).await.ok()).await;
    assert!(one.connect(&app, &plan(3)).await.is_err());
    drop((places, taken));
    until("nothing is left of the app", async || (server.ask(&["exists", &registry(&app)]).await == "0").then_some(()))
        .await;
}

#[tokio::test]
async fn a_connection_that_is_given_up_while_it_waits_keeps_no_place() {
    let server = redis::server().await;
    let (one, app) = (node(&server.url(), "one"), AppId::generate());
    let limits = plan(1);
    for _ in 0..10 {
        let mut asked = one.connect(&app, &limits);
        assert!(futures::poll!(&mut asked).is_pending());
    }
    until("the place is free", async || one.connect(&app, &limits).await.ok()).await;
}

#[tokio::test]
async fn the_places_of_a_dead_node_are_given_back() {
    let server = redis::server().await;
    let (dead, alive) = (node(&server.url(), "dead"), node(&server.url(), "alive"));
    let app = AppId::generate();
    let leaked = connect(&[&dead], &app, 3, 3).await;
    assert_eq!(leaked.len(), 3);
    assert!(alive.connect(&app, &plan(3)).await.is_err());
    drop(dead);
    age(&server, &app, "dead").await;
    assert_eq!(connect(&[&alive], &app, 3, 5).await.len(), 3);
}

#[tokio::test]
async fn a_node_that_was_stopped_holds_what_it_held() {
    let server = redis::server().await;
    let (stopped, other) = (node(&server.url(), "stopped"), node(&server.url(), "other"));
    let app = AppId::generate();
    let held = connect(&[&stopped], &app, 3, 2).await;
    age(&server, &app, "stopped").await;
    let taken = connect(&[&other], &app, 3, 1).await;
    assert_eq!((held.len(), taken.len()), (2, 1));
    until("it tells again", async || {
        told(&server, &app, "stopped").await.filter(|(held, ends)| (*held, *ends > 1) == (2, true))
    })
    .await;
    assert!(other.connect(&app, &plan(3)).await.is_err());
}

/// Waits until a node has begun two more rounds, so that it knows what was there before the first.
async fn rounds_pass(server: &redis::Redis, node: &str) {
    for _ in 0..2 {
        let before = server.ask(&["zscore", "ff:l:nodes", node]).await;
        until("a round begins", async || (server.ask(&["zscore", "ff:l:nodes", node]).await != before).then_some(()))
            .await;
    }
}

#[tokio::test]
async fn nodes_keep_to_the_quota_without_redis_and_tell_it_when_it_has_forgotten() {
    let mut server = redis::server().await;
    let (one, two) = (node(&server.url(), "one"), node(&server.url(), "two"));
    let app = AppId::generate();
    let mut places = connect(&[&one], &app, 9, 3).await;
    places.extend(connect(&[&two], &app, 9, 2).await);
    tokio::join!(rounds_pass(&server, "one"), rounds_pass(&server, "two"));
    server.engine().kill9().await;
    // Four are free: two for each.
    places.extend(connect(&[&one, &two], &app, 9, 10).await);
    assert_eq!(places.len(), 9);
    server.engine().restart().await;
    for (name, held) in [("one", 5), ("two", 4)] {
        until("it tells again", async || told(&server, &app, name).await.filter(|told| told.0 == held)).await;
    }
    assert_eq!(connect(&[&one, &two], &app, 9, 10).await.len(), 0);
    drop(places);
    until("all are free", async || (connect(&[&one], &app, 9, 9).await.len() == 9).then_some(())).await;
}

#[tokio::test]
async fn what_one_node_took_another_does_not_give() {
    let server = redis::server().await;
    let (one, two) = (node(&server.url(), "one"), node(&server.url(), "two"));
    let app = AppId::generate();
    let count = |number| NonZeroU32::new(number).unwrap();
    one.publish(&app, &plan(0), count(1_000)).unwrap();
    until("the other node is told", async || two.publish(&app, &plan(0), count(1)).err()).await;
    let refused = one.publish(&app, &plan(0), count(1_000)).unwrap_err();
    assert!(refused.retry_after > std::time::Duration::from_secs(90), "{refused:?}");
}

#[tokio::test]
async fn a_cluster_of_redis_shares_limits_too() {
    let cluster = redis::cluster().await;
    let (one, two) = (node(&cluster.url(), "one"), node(&cluster.url(), "two"));
    for _ in 0..5 {
        let app = AppId::generate();
        assert_eq!(connect(&[&one, &two], &app, 5, 20).await.len(), 5);
        one.publish(&app, &plan(0), NonZeroU32::new(1_000).unwrap()).unwrap();
        until("the other node is told", async || two.publish(&app, &plan(0), NonZeroU32::MIN).err()).await;
    }
}
