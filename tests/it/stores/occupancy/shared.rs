//! Counts that several nodes share through one Redis.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fanfare_infra::{
    names::Names,
    redis::{Redis, SharedOccupancy},
};

use super::*;
use crate::harness::{redis, waiting::within};

/// Within this a node that was killed is no longer counted, and whatever Redis forgot is told again.
const BOUND: Duration = Duration::from_secs(15);

/// A node that shares its counts with those on the same Redis.
pub fn node(url: &str, name: &str) -> Arc<dyn Occupancy> {
    SharedOccupancy::new(Redis::connect(url, Names::default()).unwrap(), name)
}

type Node = Arc<dyn Occupancy>;

fn enter(node: &Node, app: &AppId, name: &str, times: usize) {
    (0..times).for_each(|_| node.enter(app, &channel(name)));
}

/// Waits until nothing is left in Redis of any channel.
async fn nothing_is_left(server: &redis::Redis, app: &AppId) {
    until("nothing is left", async || {
        let (counts, names) = (server.ask(&["keys", "ff:o:c:*"]).await, server.ask(&["keys", "ff:o:i:*"]).await);
        (counts.is_empty() && names.is_empty()).then_some(())
    })
    .await;
    assert_eq!(server.ask(&["exists", &format!("ff:o:i:{{{app}}}")]).await, "0");
}

#[tokio::test]
async fn nodes_are_summed_and_leave_nothing_behind() {
    let server = redis::server().await;
    let (one, two) = (node(&server.url(), "one"), node(&server.url(), "two"));
    let app = AppId::generate();
    for n in 0..500 {
        enter(&one, &app, &format!("room:{n}"), 2);
        enter(&two, &app, &format!("room:{n}"), 1);
    }
    for reader in [&one, &two] {
        let expected: Vec<_> = (0..500).map(|n| (format!("room:{n}"), 3)).collect();
        until("both are told", async || {
            let mut all = list_all(&**reader, &app, "room:", 100).await;
            all.sort_by_key(|(name, _)| name["room:".len()..].parse::<u32>().ok());
            (all == expected).then_some(())
        })
        .await;
    }
    for n in 0..500 {
        two.leave(&app, &channel(&format!("room:{n}")));
    }
    until_there_are(&*one, &app, "room:499", 2).await;
    for n in 0..500 {
        (0..2).for_each(|_| one.leave(&app, &channel(&format!("room:{n}"))));
    }
    nothing_is_left(&server, &app).await;
}

#[tokio::test]
async fn a_node_that_dies_is_counted_no_more_and_what_it_left_is_removed() {
    let server = redis::server().await;
    let (dead, alive) = (node(&server.url(), "dead"), node(&server.url(), "alive"));
    let app = AppId::generate();
    enter(&dead, &app, "room", 3);
    enter(&dead, &app, "alone", 1);
    enter(&alive, &app, "room", 2);
    until_there_are(&*alive, &app, "room", 5).await;
    until_there_are(&*alive, &app, "alone", 1).await;
    drop(dead);
    within(BOUND, "it is no longer counted", async || (subscribers(&*alive, &app, "room").await == 2).then_some(()))
        .await;
    assert_eq!(list_all(&*alive, &app, "", 10).await, [("room".to_owned(), 2)]);
    (0..2).for_each(|_| alive.leave(&app, &channel("room")));
    nothing_is_left(&server, &app).await;
}

#[tokio::test]
async fn a_node_that_ends_is_counted_no_more_at_once() {
    let server = redis::server().await;
    let (ends, stays) = (node(&server.url(), "ends"), node(&server.url(), "stays"));
    let app = AppId::generate();
    enter(&ends, &app, "room", 3);
    enter(&stays, &app, "room", 1);
    until_there_are(&*stays, &app, "room", 4).await;
    ends.withdraw().await;
    assert_eq!(subscribers(&*stays, &app, "room").await, 1);
    enter(&ends, &app, "room", 1);
    tokio::time::timeout(Duration::from_secs(3), until_there_are(&*stays, &app, "room", 2))
        .await
        .expect_err("nothing more is told");
    assert_eq!(subscribers(&*stays, &app, "room").await, 1);
}

#[tokio::test]
async fn a_node_that_was_given_up_and_comes_back_is_counted_with_what_it_has_then() {
    let server = redis::server().await;
    let (stopped, other) = (node(&server.url(), "stopped"), node(&server.url(), "other"));
    let app = AppId::generate();
    enter(&stopped, &app, "room", 3);
    enter(&stopped, &app, "hall", 1);
    enter(&other, &app, "room", 1);
    until_there_are(&*other, &app, "room", 4).await;
    // As if it had been stopped for so long that its time is over; somebody reads and removes what it told.
    let entry = server.ask(&["hget", "ff:o:nodes", "stopped"]).await;
    assert_eq!(server.ask(&["hset", "ff:o:nodes", "stopped", "1 1 1"]).await, "0", "{entry}");
    assert!(subscribers(&*other, &app, "room").await <= 4);
    stopped.leave(&app, &channel("room"));
    stopped.leave(&app, &channel("hall"));
    until_there_are(&*other, &app, "room", 3).await;
    until_there_are(&*other, &app, "hall", 0).await;
    assert_eq!(list_all(&*other, &app, "", 10).await, [("room".to_owned(), 3)]);
}

#[tokio::test]
async fn while_redis_is_away_nothing_is_counted_and_when_it_has_forgotten_all_is_told_again() {
    let mut server = redis::server().await;
    let (one, two) = (node(&server.url(), "one"), node(&server.url(), "two"));
    let app = AppId::generate();
    enter(&one, &app, "room", 3);
    enter(&two, &app, "room", 2);
    until_there_are(&*one, &app, "room", 5).await;
    server.engine().kill9().await;
    enter(&one, &app, "room", 1);
    let place = [(app.clone(), channel("room"))];
    until("it is away", async || one.subscribers(&place).await.err()).await;
    server.engine().restart().await;
    let back = Instant::now();
    within(BOUND, "it is counted again", async || match one.subscribers(&place).await {
        Ok(counts) => {
            assert_eq!(counts, [6], "never a wrong count, {:?} after it is back", back.elapsed());
            Some(())
        }
        Err(_) => None,
    })
    .await;
    assert_eq!(list_all(&*one, &app, "", 10).await, [("room".to_owned(), 6)]);
    two.leave(&app, &channel("room"));
    until_there_are(&*one, &app, "room", 5).await;
}

#[tokio::test]
async fn a_cluster_of_redis_counts_too_also_after_one_master_has_forgotten() {
    let mut cluster = redis::cluster().await;
    let (one, two) = (node(&cluster.url(), "one"), node(&cluster.url(), "two"));
    let app = AppId::generate();
    for n in 0..60 {
        enter(&one, &app, &format!("room:{n:02}"), 1);
        enter(&two, &app, &format!("room:{n:02}"), 1);
    }
    let expected: Vec<_> = (0..60).map(|n| (format!("room:{n:02}"), 2)).collect();
    until("both are told", async || (list_all(&*one, &app, "room:", 25).await == expected).then_some(())).await;
    for master in 0..3 {
        let master = cluster.masters[master].engine();
        master.kill9().await;
        master.restart().await;
        let places: Vec<_> = (0..60).map(|n| (app.clone(), channel(&format!("room:{n:02}")))).collect();
        within(BOUND, "all is told again", async || match one.subscribers(&places).await {
            Ok(counts) => (counts == vec![2; 60]).then_some(()),
            Err(_) => None,
        })
        .await;
        assert_eq!(list_all(&*one, &app, "room:", 25).await, expected);
    }
}
