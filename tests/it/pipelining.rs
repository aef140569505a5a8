//! Requests sent one after the other without waiting: begun in order, and none of them a way to make the server hold much.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{
    sockets::{Received, Socket},
    tenants::start,
};

#[tokio::test]
async fn publishes_that_follow_connect_at_once_take_serials_in_their_order() {
    let (_server, tenant) = start().await;
    let token = tenant.full_token("ann").await;
    for _ in 0..10 {
        let mut socket = Socket::open(&tenant.url).await;
        let connect = socket.send(json!({"op": "connect", "token": token})).await;
        let mut ids = Vec::new();
        for n in 0..30 {
            let request = match n % 5 {
                0 => json!({"op": "publish", "channel": "room", "data": n, "ephemeral": true}),
                1 => json!({"op": "publish", "channel": "room", "data": "x".repeat(70_000)}),
                _ => json!({"op": "publish", "channel": "room", "data": n, "ack": "persisted"}),
            };
            ids.push(socket.send(request).await);
        }
        assert!(socket.answer_to(connect).await.get("ok").is_some());
        let mut last = 0;
        for (n, id) in ids.into_iter().enumerate() {
            let answer = socket.answer_to(id).await;
            match n % 5 {
                0 => assert!(answer["ok"]["serial"].is_null(), "{answer}"),
                1 => assert_eq!(answer["error"]["code"], "message_too_large"),
                _ => {
                    let serial = answer["ok"]["serial"].as_u64().expect("a serial");
                    assert!(serial > last, "{serial} after {last}");
                    last = serial;
                }
            }
        }
    }
}

#[tokio::test]
async fn what_follows_connect_is_read_on_the_terms_that_it_brings() {
    let (mut server, tenant) = start().await;
    let token = tenant.full_token("ann").await;
    // A server that knows no key yet has to look it up, while the next request has arrived already.
    server.kill9().await;
    server.restart().await;
    let mut socket = Socket::open(&tenant.url).await;
    let publish = json!({"op": "publish", "channel": "room", "data": "x".repeat(60_000), "ack": "persisted"});
    let ids = socket.send_together(vec![json!({"op": "connect", "token": token}), publish]).await;
    assert!(socket.answer_to(ids[0]).await.get("ok").is_some());
    assert_eq!(socket.answer_to(ids[1]).await["ok"]["serial"], 1);
}

#[tokio::test]
async fn before_connect_only_small_messages_are_read() {
    let (_server, tenant) = start().await;
    let mut socket = Socket::open(&tenant.url).await;
    socket.send(json!({"op": "connect", "token": "x".repeat(20_000)})).await;
    let (events, end) = socket.closed().await;
    assert_eq!(events[0]["error"]["code"], "message_too_large");
    assert!(matches!(end, Received::Close(1009, _)), "{end:?}");
    assert!(tenant.join("ann").await.connected["connection"].is_string());
}

#[tokio::test]
async fn many_channels_with_long_pasts_come_whole_through_one_socket() {
    let (_server, tenant) = start().await;
    let text = "x".repeat(8_000);
    for channel in 0..10 {
        let items: Vec<_> = (0..150).map(|_| json!({"channel": format!("past:{channel}"), "data": text})).collect();
        let answer = tenant.data(Method::POST, "/v1/messages", json!({"messages": items})).await.expect(StatusCode::OK);
        assert!(answer["results"].as_array().expect("results").iter().all(|result| result["message"].is_string()));
    }
    for channel in 0..10 {
        tenant.reaches(&format!("past:{channel}"), 150).await;
    }
    let mut socket = tenant.join("ann").await;
    let epoch = socket.ask(json!({"op": "history", "channel": "past:0", "limit": 1})).await["epoch"].clone();
    let ids = {
        let mut ids = Vec::new();
        for channel in 0..10 {
            let since = json!({"epoch": epoch, "serial": 0});
            ids.push(
                socket.send(json!({"op": "subscribe", "channel": format!("past:{channel}"), "since": since})).await,
            );
        }
        ids
    };
    for id in ids {
        assert_eq!(socket.answer_to(id).await["ok"]["backlog"], 150);
    }
    let mut next = [1; 10];
    for message in socket.messages(1_500).await {
        let channel: usize = channel_number(&message);
        assert_eq!(message["serial"], next[channel], "past:{channel}");
        next[channel] += 1;
    }
    tenant.publish("past:3", json!("live")).await;
    assert_eq!(socket.event_of("message").await["serial"], 151);
}

fn channel_number(message: &Value) -> usize {
    let name = message["channel"].as_str().expect("a channel");
    name.trim_start_matches("past:").parse().expect("a number")
}
