//! What Pusher's clients do, told.

use std::time::Duration;

use serde_json::json;

use super::of_channel;
use crate::harness::{
    pusher_sockets::{PusherSocket, start_with, switch},
    server::Options,
    webhooks::Receiver,
};

const ALL: [&str; 7] = [
    "channel_occupied",
    "channel_vacated",
    "member_added",
    "member_removed",
    "client_event",
    "cache_miss",
    "subscription_count",
];

#[actix_web::test]
async fn client_events_and_cache_misses_are_told_and_tabs_of_a_user_are_one_member() {
    let (server, tenant) = start_with(Options::default().env("FANFARE_WEBHOOK_ALLOW_PRIVATE", "true")).await;
    let receiver = Receiver::start().await;
    tenant.webhook(&receiver.url("/"), &ALL[2..6]).await;
    let mut tabs = Vec::new();
    for _ in 0..2 {
        let mut tab = PusherSocket::connect(server.url(), &tenant.key).await;
        tab.join(&tenant, "presence-a", "ann").await;
        tabs.push(tab);
    }
    let member = |name: &str| json!({"name": name, "channel": "presence-a", "user_id": "ann"});
    assert_eq!(receiver.events("/", 1).await, [member("member_added")]);
    let socket_id = tabs[0].socket_id.clone();
    tabs[0].trigger("presence-a", "client-said", json!("{\"a\": 1}")).await;
    assert_eq!(
        receiver.events("/", 2).await[1],
        json!({"name": "client_event", "channel": "presence-a", "event": "client-said", "data": "{\"a\": 1}", "socket_id": socket_id, "user_id": "ann"})
    );
    for tab in &mut tabs {
        tab.subscribe("cache-a").await;
    }
    assert_eq!(receiver.events("/", 3).await[2], of_channel("cache_miss", "cache-a"));
    drop(tabs);
    assert_eq!(receiver.events("/", 4).await[3], member("member_removed"));
    assert_eq!(receiver.received().len(), 4, "{:?}", receiver.received());
    for request in receiver.received() {
        request.verify(&tenant);
    }
}

#[actix_web::test]
async fn with_batches_on_several_events_come_in_one_request() {
    let (server, tenant) = start_with(Options::default().env("FANFARE_WEBHOOK_ALLOW_PRIVATE", "true")).await;
    switch(&tenant, json!({"pusher_options": {"batch_webhooks": true}})).await;
    let receiver = Receiver::start().await;
    tenant.webhook(&receiver.url("/"), &["channel_occupied"]).await;
    let mut ann = PusherSocket::connect(server.url(), &tenant.key).await;
    for n in 0..30 {
        ann.subscribe(&format!("c-{n}")).await;
    }
    let told = receiver.events("/", 30).await;
    let channels: std::collections::BTreeSet<_> = told.iter().map(|event| event["channel"].to_string()).collect();
    assert_eq!((told.len(), channels.len()), (30, 30));
    let received = receiver.received();
    assert!(received.len() < 12, "{} requests", received.len());
    let ages = received.windows(2).map(|two| two[1].at - two[0].at);
    assert!(ages.sum::<Duration>() < Duration::from_secs(10));
    assert!(received.iter().all(|one| (1..=20).contains(&one.events().len())));
}
