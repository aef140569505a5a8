//! How many subscribe, as subscribers are told.

use serde_json::{Value, json};

use crate::harness::pusher_sockets::{PusherSocket, data, start, switch};

async fn counts(socket: &mut PusherSocket, wanted: u64) -> Value {
    loop {
        let said = socket.event_of("pusher_internal:subscription_count").await;
        if data(&said) == json!({"subscription_count": wanted}) {
            return said["channel"].clone();
        }
    }
}

#[actix_web::test]
async fn subscribers_are_told_how_many_they_are_whenever_that_changes() {
    let (server, tenant) = start().await;
    let mut ann = PusherSocket::connect(server.url(), &tenant.key).await;
    ann.subscribe("news").await;
    assert_eq!(counts(&mut ann, 1).await, "news");
    let mut bob = PusherSocket::connect(server.url(), &tenant.key).await;
    bob.subscribe("news").await;
    counts(&mut ann, 2).await;
    counts(&mut bob, 2).await;
    bob.close().await;
    counts(&mut ann, 1).await;
}

#[actix_web::test]
async fn nobody_is_told_on_presence_channels_nor_where_it_is_switched_off() {
    let (server, tenant) = start().await;
    let mut ann = PusherSocket::connect(server.url(), &tenant.key).await;
    ann.join(&tenant, "presence-a", "ann").await;
    ann.subscribe("news").await;
    counts(&mut ann, 1).await;
    switch(&tenant, json!({"pusher_options": {"subscription_counts": false}})).await;
    let mut bob = PusherSocket::connect(server.url(), &tenant.key).await;
    bob.join(&tenant, "presence-a", "bob").await;
    bob.subscribe("other").await;
    // By the time that the first channel was counted twice again, the others would have been.
    let mut cid = PusherSocket::connect(server.url(), &tenant.key).await;
    cid.subscribe("news").await;
    counts(&mut ann, 2).await;
    for socket in [&mut ann, &mut bob] {
        let said = socket.until_now().await;
        assert!(said.iter().all(|said| said["event"] != "pusher_internal:subscription_count"), "{said:?}");
    }
}
