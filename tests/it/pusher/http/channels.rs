//! Which channels are occupied.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::{another, start_pusher};
use crate::harness::{pusher::Backend, waiting::until};

/// The channels that are listed, once there are so many.
async fn listed(backend: &Backend, query: &[(&str, &str)], count: usize) -> Vec<String> {
    until("all channels are listed", async || {
        let list = backend.get("/channels", query).await.expect(StatusCode::OK);
        let names: Vec<_> = list["channels"].as_object().expect("channels").keys().cloned().collect();
        (names.len() == count).then_some(names)
    })
    .await
}

#[tokio::test]
async fn occupied_channels_are_listed_whole_and_no_others() {
    let (server, backend) = start_pusher().await;
    let other = another(&server).await;
    let mut foreign = other.tenant.join("bob").await;
    foreign.subscribe("room").await;
    listed(&other, &[], 1).await;
    assert!(listed(&backend, &[], 0).await.is_empty(), "nothing of another app");
    let mut socket = backend.tenant.join("ann").await;
    for channel in ["room", "private-room", "presence-room", "presence-other", "chat:1"] {
        socket.subscribe(channel).await;
    }
    backend.trigger("empty", "1").await;
    let all = listed(&backend, &[], 4).await;
    assert_eq!(
        all,
        ["presence-other", "presence-room", "private-room", "room"],
        "what Pusher has no name for is left out"
    );
    assert_eq!(listed(&backend, &[("filter_by_prefix", "presence-")], 2).await, ["presence-other", "presence-room"]);
    assert_eq!(listed(&backend, &[("filter_by_prefix", "")], 4).await, all);
    for nothing in ["x", "Room", "room*", "#", "#server-to-user-", "ü", "a b"] {
        assert!(listed(&backend, &[("filter_by_prefix", nothing)], 0).await.is_empty(), "{nothing}");
    }
    let narrow = json!({"name": "narrow", "cap": {"presence-*": ["subscribe"], "room": ["publish"]}});
    let narrow = backend.with(backend.tenant.with_key(narrow).await);
    assert_eq!(listed(&narrow, &[], 2).await, ["presence-other", "presence-room"]);
}

#[tokio::test]
async fn a_list_has_no_pages() {
    let (_server, backend) = start_pusher().await;
    let mut socket = backend.tenant.join("ann").await;
    let names: Vec<_> = (0..1_050).map(|at| format!("c{at:04}")).collect();
    for some in names.chunks(100) {
        let requests = some.iter().map(|name| json!({"op": "subscribe", "channel": name})).collect();
        for id in socket.send_together(requests).await {
            socket.answer_to(id).await;
        }
    }
    assert_eq!(listed(&backend, &[], names.len()).await, names);
}

#[tokio::test]
async fn a_channel_tells_whether_it_is_occupied() {
    let (_server, backend) = start_pusher().await;
    let show = async |channel: &str| backend.get(&format!("/channels/{channel}"), &[]).await;
    assert_eq!(show("room").await.expect(StatusCode::OK), json!({"occupied": false}));
    let mut socket = backend.tenant.join("ann").await;
    socket.subscribe("room").await;
    until("the channel is occupied", async || (show("room").await.body["occupied"] == true).then_some(())).await;
    socket.ask(json!({"op": "unsubscribe", "channel": "room"})).await;
    until("the channel is free again", async || (show("room").await.body == json!({"occupied": false})).then_some(()))
        .await;
    for bad in ["a:b", "a%20b", "%23server-to-user-ann", &"x".repeat(201)] {
        show(bad).await.expect_refused(400);
    }
    assert_eq!(show("-=@,.;").await.expect(StatusCode::OK), json!({"occupied": false}));
    let strange = backend.get("/channels/room", &[("info", "later")]).await.expect(StatusCode::OK);
    assert_eq!(strange, json!({"occupied": false}));
    assert_eq!(show(&"x".repeat(200)).await.body.get("occupied"), Some(&Value::Bool(false)));
}
