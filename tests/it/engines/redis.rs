//! Redis: one that forgets, a cluster, and a failover.

use crate::harness::{redis, waiting::until};

#[tokio::test]
async fn a_server_that_is_killed_forgets_everything() {
    let mut server = redis::server().await;
    assert_eq!(server.ask(&["set", "head", "5"]).await, "OK");
    server.engine().stop();
    server.engine().cont();
    assert_eq!(server.ask(&["get", "head"]).await, "5");
    for gently in [false, true] {
        if gently {
            server.engine().terminate().await
        } else {
            server.engine().kill9().await
        }
        server.engine().restart().await;
        assert_eq!(server.ask(&["get", "head"]).await, "");
        assert_eq!(server.ask(&["set", "head", "5"]).await, "OK");
    }
}

#[tokio::test]
async fn a_cluster_spreads_its_slots_over_three_masters() {
    let cluster = redis::cluster().await;
    assert_eq!(cluster.url().matches(',').count(), 2);
    let slots = cluster.masters[2].ask(&["cluster", "shards"]).await;
    for master in &cluster.masters {
        assert!(slots.contains(&master.port().to_string()), "{slots}");
    }
}

#[tokio::test]
async fn sentinels_give_the_replica_the_masters_place() {
    let mut watched = redis::sentinel().await;
    assert_eq!(watched.master.ask(&["set", "head", "5"]).await, "OK");
    until("the replica has it", async || (watched.replica.ask(&["get", "head"]).await == "5").then_some(())).await;
    watched.master.engine().kill9().await;
    until("the replica takes over", async || watched.replica.ask(&["role"]).await.starts_with("master").then_some(()))
        .await;
}
