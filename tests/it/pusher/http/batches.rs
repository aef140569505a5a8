//! Triggering several events at once.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::start_pusher;
use crate::harness::pusher::socket_id;

fn event(changes: Value) -> Value {
    let mut event = json!({"channel": "room", "name": "said", "data": "1"});
    for (name, value) in changes.as_object().expect("members") {
        event[name.as_str()] = value.clone();
    }
    event.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
    event
}

#[tokio::test]
async fn a_batch_is_published_in_order_and_each_event_leaves_out_its_own_connection() {
    let (_server, backend) = start_pusher().await;
    let mut socket = backend.tenant.join("ann").await;
    socket.subscribe("room").await;
    let mut batch: Vec<_> = (0..10).map(|at| event(json!({"data": at.to_string()}))).collect();
    batch[3]["socket_id"] = json!(socket_id(&socket.connected["connection"]));
    batch[5]["channel"] = json!("other");
    assert_eq!(backend.post("/batch_events", json!({"batch": batch})).await.expect(StatusCode::OK), json!({}));
    let mut seen = Vec::new();
    for _ in 0..9 {
        let told = socket.event().await;
        seen.push(if told["op"] == "skip" { Value::Null } else { told["data"].clone() });
    }
    assert_eq!(json!(seen), json!([0, 1, 2, null, 4, 6, 7, 8, 9]));
}

#[tokio::test]
async fn a_batch_with_a_bad_event_is_refused_whole() {
    let (_server, backend) = start_pusher().await;
    let of = |count: usize| json!({"batch": vec![event(json!({})); count]});
    for bad in [
        json!({}),
        json!({"batch": 1}),
        json!({"batch": [1]}),
        of(0),
        of(11),
        json!({"batch": [event(json!({})), event(json!({"channel": "a b"}))]}),
        json!({"batch": [event(json!({"name": null}))]}),
        json!({"batch": [event(json!({"name": "x".repeat(201)}))]}),
        json!({"batch": [event(json!({"name": "pusher:x"}))]}),
        json!({"batch": [event(json!({"data": null}))]}),
        json!({"batch": [event(json!({"socket_id": "x"}))]}),
    ] {
        backend.post("/batch_events", bad).await.expect_refused(400);
    }
    let large = |size: usize| json!({"batch": [event(json!({})), event(json!({"data": "x".repeat(size)}))]});
    let refused = backend.post("/batch_events", large(10_241)).await.expect_refused(413);
    assert!(refused["error"].as_str().expect("a text").contains("event 1"), "{refused}");
    assert!(backend.tenant.history("room").await.is_empty());
    backend.post("/batch_events", large(10_240)).await.expect(StatusCode::OK);
    let largest = json!({"batch": vec![event(json!({"data": "\u{1}".repeat(10_240)})); 10]});
    backend.post("/batch_events", largest).await.expect(StatusCode::OK);
    backend.tenant.reaches("room", 12).await;
}
