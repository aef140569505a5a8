//! What is asked over HTTP of Pusher's own connections: strings that come back, exclusion, counts, users and the end of a user's connections.

use reqwest::StatusCode;
use serde_json::{Value, json};

use super::start_pusher;
use crate::harness::{pusher::Backend, pusher_sockets::PusherSocket, waiting::until};

async fn connect(backend: &Backend) -> PusherSocket {
    PusherSocket::connect(&backend.tenant.url, &backend.tenant.key).await
}

#[tokio::test]
async fn a_pusher_client_gets_the_publishers_string_again() {
    let (_server, backend) = start_pusher().await;
    let (mut one, mut other) = (connect(&backend).await, connect(&backend).await);
    for socket in [&mut one, &mut other] {
        socket.subscribe("room").await;
    }
    for text in ["{\"a\":  1.50,\"b\":\"\\u00e9\" }", "plain", "", "{\n}", "\"quoted\"", "null"] {
        backend.trigger("room", text).await;
        let event = one.event_of("said").await;
        assert_eq!((&event["data"], &event["channel"]), (&json!(text), &json!("room")));
        other.event_of("said").await;
    }
    let left_out = json!({"name": "others", "channel": "room", "data": "1", "socket_id": one.socket_id});
    backend.post("/events", left_out).await.expect(StatusCode::OK);
    backend.trigger("room", "last").await;
    assert_eq!(other.event_of("others").await["data"], "1");
    one.event_of("said").await;
    assert!(one.until_now().await.iter().all(|event| event["event"] != "others"));
}

#[tokio::test]
async fn members_by_both_protocols_are_users() {
    let (_server, backend) = start_pusher().await;
    let (mut tab, mut second, mut native) =
        (connect(&backend).await, connect(&backend).await, backend.tenant.join("bob").await);
    tab.join(&backend.tenant, "presence-room", "ann").await;
    second.join(&backend.tenant, "presence-room", "ann").await;
    native.subscribe("presence-room").await;
    native.ask(json!({"op": "presence", "channel": "presence-room", "action": "enter"})).await;
    until("all are counted", async || {
        let shown = backend.get("/channels/presence-room", &[("info", "user_count,subscription_count")]).await;
        (shown.body == json!({"occupied": true, "user_count": 2, "subscription_count": 3})).then_some(())
    })
    .await;
    let users = backend.get("/channels/presence-room/users", &[]).await.expect(StatusCode::OK);
    assert_eq!(users, json!({"users": [{"id": "ann"}, {"id": "bob"}]}));
}

#[tokio::test]
async fn only_connections_that_are_signed_in_are_reached_and_terminated() {
    let (_server, backend) = start_pusher().await;
    let (mut signed, mut member) = (connect(&backend).await, connect(&backend).await);
    let said = signed.sign_in(&backend.tenant, "{\"id\":\"ann\"}").await;
    assert_eq!(said["event"], "pusher:signin_success", "{said}");
    signed.subscribe("#server-to-user-ann").await;
    member.join(&backend.tenant, "presence-room", "ann").await;
    backend.trigger("#server-to-user-ann", "for you").await;
    assert_eq!(signed.event_of("said").await["data"], "for you");
    let listed = backend.get("/channels", &[]).await.expect(StatusCode::OK);
    assert!(listed["channels"].as_object().expect("channels").keys().all(|name| !name.starts_with('#')), "{listed}");
    let ended = backend.post("/users/ann/terminate_connections", json!({})).await;
    assert_eq!(ended.expect(StatusCode::OK), json!({}));
    assert_eq!(signed.closed().await.0, 4009);
    backend.trigger("presence-room", "still").await;
    assert_eq!(member.event_of("said").await["data"], Value::from("still"));
}
