//! What is forgotten after the database was put back: heads and windows, and nothing else.

use fanfare_domain::{bus::Bus, ids::AppId};
use fanfare_infra::{
    names::Names,
    redis::{Redis, RedisBus},
};

use crate::{harness::redis, stores::bus::messages};

/// Heads and windows of so many channels are made, with something beside them, and forgotten.
async fn forgets(url: &str) {
    let redis = Redis::connect(url, Names::default()).unwrap();
    let (bus, app) = (RedisBus::new(redis.clone()), AppId::generate());
    for channel in 0..50 {
        bus.send(messages(&app, &format!("chat:{channel}"), 1..3)).await.unwrap();
    }
    assert_eq!(redis.forget_channels().await.unwrap(), 100);
    assert_eq!(redis.forget_channels().await.unwrap(), 0);
}

#[tokio::test]
async fn one_server_forgets_its_channels_and_keeps_the_rest() {
    let server = redis::server().await;
    server.ask(&["set", "ff:l:p:app", "1"]).await;
    forgets(&server.url()).await;
    assert_eq!(server.ask(&["dbsize"]).await, "1");
}

#[tokio::test]
async fn all_masters_of_a_cluster_forget_their_channels() {
    let cluster = redis::cluster().await;
    forgets(&cluster.url()).await;
}
