//! What was lost on the way is told: after a restart, after a cut, and to those who are too slow.

use std::sync::Arc;

use fanfare_domain::{
    bus::{Broadcast, Bus, Heard},
    ids::AppId,
};
use fanfare_infra::{
    names::Names,
    redis::{Redis, RedisBus},
};

use crate::{
    harness::{proxy::Proxy, redis, waiting::until},
    stores::{
        bus::{Ear, messages},
        redis::bus,
    },
};

/// Sends until the bus takes it, as workers do.
pub async fn send_at_last(bus: &dyn Bus, app: &AppId, name: &str, serial: u64) {
    until("the bus takes a message", async || bus.send(messages(app, name, [serial])).await.ok().map(drop)).await;
}

#[tokio::test]
async fn a_restart_that_forgets_everything_interrupts_and_messages_flow_again() {
    let (mut server, app) = (redis::server().await, AppId::generate());
    let (sender, receiver) = (bus(&server.url()), bus(&server.url()));
    let mut ears = [Ear::on(&*receiver, &app).await, Ear::on(&*receiver, &app).await];
    for ear in &ears {
        for n in 0..1_500 {
            ear.follow(&format!("c:{n}")).await;
        }
    }
    send_at_last(&*sender, &app, "c:7", 1).await;
    server.engine().kill9().await;
    assert!(sender.send(messages(&app, "c:7", [2])).await.is_err());
    server.engine().restart().await;
    for ear in &mut ears {
        ear.interrupted().await;
    }
    for name in ["c:0", "c:7", "c:1499"] {
        send_at_last(&*sender, &app, name, 2).await;
        for ear in &mut ears {
            assert_eq!(ear.sent().await, format!("{name}:2"));
        }
    }
}

#[tokio::test]
async fn a_channel_followed_while_the_bus_is_away_is_heard_when_it_is_back() {
    let (mut server, app) = (redis::server().await, AppId::generate());
    let (sender, receiver) = (bus(&server.url()), bus(&server.url()));
    let mut ear = Ear::on(&*receiver, &app).await;
    ear.follow("left").await;
    server.engine().kill9().await;
    until("the bus is away", async || sender.send(messages(&app, "chat", [1])).await.is_err().then_some(())).await;
    ear.follow("chat").await;
    ear.unfollow("left");
    server.engine().restart().await;
    ear.interrupted().await;
    send_at_last(&*sender, &app, "left", 1).await;
    send_at_last(&*sender, &app, "chat", 2).await;
    assert_eq!(ear.sent().await, "chat:2");
}

#[tokio::test]
async fn a_subscriber_whose_answers_stop_coming_is_made_anew() {
    let (server, app) = (redis::server().await, AppId::generate());
    let proxy = Proxy::start(server.port()).await;
    let sender = bus(&server.url());
    let receiver = bus(&format!("redis://127.0.0.1:{}", proxy.port()));
    let mut ear = Ear::on(&*receiver, &app).await;
    ear.follow("chat").await;
    proxy.stall();
    let mut serial = 1;
    until("the stalled subscriber is given up", async || {
        sender.send(messages(&app, "chat", [serial])).await.unwrap();
        serial += 1;
        sends_in_vain(&receiver).await.then_some(())
    })
    .await;
    proxy.restore();
    ear.interrupted().await;
    send_at_last(&*sender, &app, "chat", 1_000).await;
    while ear.sent_at_last().await != "chat:1000" {}
}

/// Whether a process is known to have no way to Redis.
async fn sends_in_vain(bus: &Arc<dyn Bus>) -> bool {
    bus.send(vec![Broadcast::Beat(0)]).await.is_err()
}

#[tokio::test]
async fn a_slow_listener_is_interrupted_and_the_others_hear_everything() {
    let (server, app) = (redis::server().await, AppId::generate());
    let sender = bus(&server.url());
    let receiver = RedisBus::with_capacity(Redis::connect(&server.url(), Names::default()).unwrap(), 64);
    let (mut slow, mut healthy) = (Ear::on(&*receiver, &app).await, Ear::on(&*receiver, &app).await);
    slow.follow("chat").await;
    healthy.follow("chat").await;
    for serial in 1..201 {
        sender.send(messages(&app, "chat", [serial])).await.unwrap();
        assert_eq!(healthy.sent().await, format!("chat:{serial}"));
    }
    for serial in 1..65 {
        assert_eq!(slow.sent().await, format!("chat:{serial}"));
    }
    assert!(matches!(slow.hear().await, Heard::Interrupted));
    sender.send(messages(&app, "chat", [201])).await.unwrap();
    assert_eq!(slow.sent().await, "chat:201");
}

#[tokio::test]
async fn a_listener_that_does_not_read_is_told_so_even_if_nothing_more_is_sent() {
    let (server, app) = (redis::server().await, AppId::generate());
    let receiver = RedisBus::with_capacity(Redis::connect(&server.url(), Names::default()).unwrap(), 2);
    let (mut slow, mut healthy) = (Ear::on(&*receiver, &app).await, Ear::on(&*receiver, &app).await);
    slow.follow("chat").await;
    for serial in 1..4 {
        receiver.send(messages(&app, "chat", [serial])).await.unwrap();
    }
    receiver.send(vec![Broadcast::Beat(1)]).await.unwrap();
    assert_eq!(healthy.sent().await, "beat 1");
    assert_eq!((slow.sent().await, slow.sent().await), ("chat:1".to_owned(), "chat:2".to_owned()));
    assert!(matches!(slow.hear().await, Heard::Interrupted));
}
