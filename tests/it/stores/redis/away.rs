//! A Redis that is away holds up nobody.

use std::time::{Duration, Instant};

use fanfare_domain::ids::AppId;

use super::interruptions::send_at_last;
use crate::{
    harness::{proxy::Proxy, redis, waiting::until},
    stores::{
        bus::{Ear, messages},
        redis::bus,
    },
};

/// Two seconds for an answer, and what a busy machine adds.
const BOUND: Duration = Duration::from_secs(4);

#[tokio::test]
async fn a_stopped_server_is_an_error_soon_and_then_at_once() {
    let (mut server, app) = (redis::server().await, AppId::generate());
    let bus = bus(&server.url());
    let mut ear = Ear::on(&*bus, &app).await;
    ear.follow("chat").await;
    send_at_last(&*bus, &app, "chat", 1).await;
    assert_eq!(ear.sent().await, "chat:1");
    server.engine().stop();
    let begun = Instant::now();
    assert!(bus.send(messages(&app, "chat", [2])).await.is_err());
    assert!(begun.elapsed() < BOUND);
    tokio::time::timeout(BOUND, ear.follow("news")).await.expect("following does not wait for a server that is away");
    until("a server that is known to be away is an error at once", async || {
        let begun = Instant::now();
        assert!(bus.send(messages(&app, "chat", [2])).await.is_err());
        (begun.elapsed() < Duration::from_millis(500)).then_some(())
    })
    .await;
    server.engine().cont();
    ear.interrupted().await;
    send_at_last(&*bus, &app, "news", 1).await;
    while ear.sent_at_last().await != "news:1" {}
}

#[tokio::test]
async fn a_server_that_was_never_there_is_an_error_and_listeners_wait_for_it() {
    let (server, app) = (redis::server().await, AppId::generate());
    let proxy = Proxy::start(server.port()).await;
    proxy.cut();
    let bus = bus(&format!("redis://127.0.0.1:{}", proxy.port()));
    let begun = Instant::now();
    let mut ear = Ear::on(&*bus, &app).await;
    ear.follow("chat").await;
    assert!(bus.send(messages(&app, "chat", [1])).await.is_err());
    assert!(begun.elapsed() < BOUND);
    proxy.restore();
    ear.interrupted().await;
    send_at_last(&*bus, &app, "chat", 1).await;
    assert_eq!(ear.sent().await, "chat:1");
}
