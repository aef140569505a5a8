//! Heads and hot windows: they only move forward, and a window with a hole is none.

use std::sync::Arc;

use fanfare_domain::{
    bus::{Ahead, Broadcast, Bus, Heard},
    history::Head,
    ids::AppId,
};
use fanfare_protocol::{Epoch, Serial};

use crate::{
    harness::redis::{self, Redis},
    stores::{
        bus::{Ear, envelope, ephemeral, messages},
        redis::bus,
        samples::channel,
    },
};

/// What Redis knows of a channel: its head as `e 3`, and how many messages its window has.
async fn known(server: &Redis, app: &AppId, name: &str) -> (String, String) {
    let head = server.ask(&["hmget", &format!("ff:h:{{{app}/{name}}}"), "e", "s"]).await;
    (head.replace('\n', " "), server.ask(&["llen", &format!("ff:w:{{{app}/{name}}}")]).await)
}

fn is(head: &str, window: &str) -> (String, String) {
    (head.to_owned(), window.to_owned())
}

async fn send(bus: &dyn Bus, broadcasts: Vec<Broadcast>) -> Vec<Ahead> {
    bus.send(broadcasts).await.unwrap()
}

fn of_epoch(app: &AppId, epoch: &str, serial: u64) -> Vec<Broadcast> {
    vec![Broadcast::Message(Arc::new(envelope(app, "chat", Some((epoch, serial)), "1")))]
}

#[tokio::test]
async fn head_and_window_move_forward_with_the_messages() {
    let (server, app) = (redis::server().await, AppId::generate());
    let bus = bus(&server.url());
    assert!(send(&*bus, messages(&app, "chat", 1..4)).await.is_empty());
    assert_eq!(known(&server, &app, "chat").await, is("e 3", "3"));
    send(&*bus, messages(&app, "chat", 4..6)).await;
    send(&*bus, vec![ephemeral(&app, "chat", "1")]).await;
    assert_eq!(known(&server, &app, "chat").await, is("e 5", "5"));
    send(&*bus, vec![ephemeral(&app, "news", "1")]).await;
    assert_eq!(known(&server, &app, "news").await, is("", "0"));
}

#[tokio::test]
async fn what_is_sent_again_moves_nothing_back_and_is_heard_again() {
    let (server, app) = (redis::server().await, AppId::generate());
    let bus = bus(&server.url());
    let mut ear = Ear::on(&*bus, &app).await;
    ear.follow("chat").await;
    send(&*bus, messages(&app, "chat", 1..6)).await;
    let ahead = send(&*bus, messages(&app, "chat", 2..4)).await;
    let head = Head { epoch: Epoch::new("e"), serial: Serial(5) };
    assert_eq!(ahead, [Ahead { app: app.clone(), channel: channel("chat"), head }]);
    assert!(send(&*bus, messages(&app, "chat", 4..6)).await.is_empty());
    assert!(send(&*bus, messages(&app, "chat", 5..8)).await.is_empty());
    assert_eq!(known(&server, &app, "chat").await, is("e 7", "7"));
    for serial in [1, 2, 3, 4, 5, 2, 3, 4, 5, 5, 6, 7] {
        assert_eq!(ear.sent().await, format!("chat:{serial}"));
    }
}

#[tokio::test]
async fn a_window_begins_anew_after_a_hole() {
    let (server, app) = (redis::server().await, AppId::generate());
    let bus = bus(&server.url());
    send(&*bus, messages(&app, "chat", 1..4)).await;
    send(&*bus, messages(&app, "chat", [5, 6])).await;
    assert_eq!(known(&server, &app, "chat").await, is("e 6", "2"));
    send(&*bus, messages(&app, "chat", [7, 9])).await;
    assert_eq!(known(&server, &app, "chat").await, is("e 9", "1"));
}

#[tokio::test]
async fn another_epoch_replaces_what_was_there() {
    let (server, app) = (redis::server().await, AppId::generate());
    let bus = bus(&server.url());
    send(&*bus, messages(&app, "chat", 1..9)).await;
    assert!(send(&*bus, of_epoch(&app, "f", 1)).await.is_empty());
    assert_eq!(known(&server, &app, "chat").await, is("f 1", "1"));
    send(&*bus, of_epoch(&app, "f", 2)).await;
    assert_eq!(known(&server, &app, "chat").await, is("f 2", "2"));
}

#[tokio::test]
async fn a_window_keeps_so_many_messages_and_bytes() {
    let (server, app) = (redis::server().await, AppId::generate());
    let bus = bus(&server.url());
    send(&*bus, messages(&app, "chat", 1..1_001)).await;
    assert_eq!(known(&server, &app, "chat").await, is("e 1000", "256"));
    let large = |serial| {
        let data = format!("\"{}\"", "x".repeat(100_000));
        Broadcast::Message(Arc::new(envelope(&app, "large", Some(("e", serial)), &data)))
    };
    for serial in 1..9 {
        send(&*bus, vec![large(serial)]).await;
    }
    assert_eq!(known(&server, &app, "large").await, is("e 8", "5"));
}

#[tokio::test]
async fn what_is_kept_is_forgotten_by_itself() {
    let (server, app) = (redis::server().await, AppId::generate());
    send(&*bus(&server.url()), messages(&app, "chat", 1..2)).await;
    for (kind, most) in [("w", 120), ("h", 86_400)] {
        let left: u64 = server.ask(&["ttl", &format!("ff:{kind}:{{{app}/chat}}")]).await.parse().unwrap();
        assert!((1..=most).contains(&left), "{kind} {left}");
    }
}

#[tokio::test]
async fn a_window_that_was_forgotten_alone_begins_anew() {
    let (server, app) = (redis::server().await, AppId::generate());
    let bus = bus(&server.url());
    send(&*bus, messages(&app, "chat", 1..4)).await;
    server.ask(&["del", &format!("ff:w:{{{app}/chat}}")]).await;
    send(&*bus, messages(&app, "chat", 4..6)).await;
    assert_eq!(known(&server, &app, "chat").await, is("e 5", "2"));
    server.ask(&["del", &format!("ff:h:{{{app}/chat}}")]).await;
    send(&*bus, messages(&app, "chat", 6..7)).await;
    assert_eq!(known(&server, &app, "chat").await, is("e 6", "1"));
}

#[tokio::test]
async fn a_server_without_room_forgets_and_still_delivers() {
    let (server, app) = (redis::server().await, AppId::generate());
    let bus = bus(&server.url());
    let mut ear = Ear::on(&*bus, &app).await;
    ear.follow("chat").await;
    send(&*bus, messages(&app, "chat", 1..3)).await;
    server.ask(&["config", "set", "maxmemory", "1mb"]).await;
    send(&*bus, messages(&app, "chat", 3..4)).await;
    assert_eq!(known(&server, &app, "chat").await, is("", "0"));
    for serial in 1..4 {
        assert_eq!(ear.sent().await, format!("chat:{serial}"));
    }
}

#[tokio::test]
async fn a_head_that_moved_without_a_message_is_told_to_those_who_follow() {
    let (server, app) = (redis::server().await, AppId::generate());
    let bus = bus(&server.url());
    let (mut follows, mut other) = (Ear::on(&*bus, &app).await, Ear::on(&*bus, &app).await);
    follows.follow("chat").await;
    other.follow("news").await;
    server.ask(&["hset", &format!("ff:h:{{{app}/chat}}"), "e", "e", "s", "5"]).await;
    match follows.hear().await {
        Heard::Head { app: of, channel: at, head } => {
            assert_eq!((of, at.as_str(), head.epoch.as_str(), head.serial.0), (app.clone(), "chat", "e", 5));
        }
        heard => panic!("{heard:?}"),
    }
    send(&*bus, messages(&app, "news", 1..2)).await;
    assert!(matches!(other.hear().await, Heard::Sent(_)));
}
