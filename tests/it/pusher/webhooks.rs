//! Webhooks of what Pusher's clients do, verified by the stock libraries' own verifiers.

use serde_json::{Value, json};

use crate::harness::{
    pusher_sockets::{PusherSocket, start_with, switch},
    server::Options,
    stock,
    webhooks::{Received, Receiver},
};

const KINDS: [&str; 7] = [
    "channel_occupied",
    "channel_vacated",
    "member_added",
    "member_removed",
    "client_event",
    "cache_miss",
    "subscription_count",
];

fn as_received(all: &[Received]) -> String {
    let all: Vec<Value> = all
        .iter()
        .map(|one| {
            let headers: serde_json::Map<_, _> =
                one.headers.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
            json!({"headers": headers, "rawBody": one.body})
        })
        .collect();
    json!(all).to_string()
}

#[actix_web::test]
async fn every_kind_of_webhook_is_sent_and_valid_to_the_stock_verifiers() {
    let (server, tenant) = start_with(Options::default().env("FANFARE_WEBHOOK_ALLOW_PRIVATE", "true")).await;
    let receiver = Receiver::start().await;
    tenant.webhook(&receiver.url("/hooks"), &KINDS).await;
    let mut ann = PusherSocket::connect(server.url(), &tenant.key).await;
    ann.subscribe("cache-told").await;
    ann.join(&tenant, "presence-told", "ann").await;
    ann.trigger("presence-told", "client-typing", json!({"now": true})).await;
    receiver.events("/hooks", 6).await;
    let socket_id = ann.socket_id.clone();
    ann.close().await;
    // Two channels are left, one member is gone, and nobody subscribes any more.
    receiver.events("/hooks", 10).await;
    let taken = receiver.taken("/hooks");
    for expected in [
        json!({"name": "channel_occupied", "channel": "cache-told"}),
        json!({"name": "channel_occupied", "channel": "presence-told"}),
        json!({"name": "cache_miss", "channel": "cache-told"}),
        json!({"name": "subscription_count", "channel": "cache-told", "subscription_count": 1}),
        json!({"name": "member_added", "channel": "presence-told", "user_id": "ann"}),
        json!({
            "name": "client_event", "channel": "presence-told", "event": "client-typing", "data": "{\"now\":true}",
            "socket_id": socket_id, "user_id": "ann",
        }),
        json!({"name": "channel_vacated", "channel": "cache-told"}),
        json!({"name": "channel_vacated", "channel": "presence-told"}),
        json!({"name": "member_removed", "channel": "presence-told", "user_id": "ann"}),
    ] {
        assert_eq!(taken.iter().filter(|event| **event == expected).count(), 1, "{expected} is not once in {taken:?}");
    }

    let received = [("FANFARE_WEBHOOKS", as_received(&receiver.received()))];
    let switched = switch(&tenant, json!({})).await;
    for program in ["webhooks.mjs", "webhooks.py"] {
        let read = stock::start(program, &tenant, &switched, &[server.url()], &received).succeeded().await;
        let read: Vec<Value> = read.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(read.len(), receiver.taken("/hooks").len(), "{program}");
    }
}
