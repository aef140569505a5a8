//! Users of presence channels, and cutting off their connections.

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{another, start_pusher};

#[tokio::test]
async fn users_of_a_presence_channel_are_listed_once() {
    let (server, backend) = start_pusher().await;
    let other = another(&server).await;
    let users = "/channels/presence-room/users";
    assert_eq!(backend.get(users, &[]).await.expect(StatusCode::OK), json!({"users": []}));
    let mut sockets = Vec::new();
    let clients: Vec<_> = (0..105).map(|at| format!("user{at:03}")).collect();
    for client in clients.iter().chain(&clients[..3]) {
        let mut socket = backend.tenant.join(client).await;
        socket.ask(json!({"op": "presence", "channel": "presence-room", "action": "enter"})).await;
        sockets.push(socket);
    }
    let expected: Vec<_> = clients.iter().map(|client| json!({"id": client})).collect();
    let listed = backend.get(users, &[]).await.expect(StatusCode::OK);
    assert_eq!(listed, json!({"users": expected}));
    assert_eq!(other.get(users, &[]).await.expect(StatusCode::OK), json!({"users": []}));
    for bad in ["room", "private-room", "presence", "a:b"] {
        backend.get(&format!("/channels/{bad}/users"), &[]).await.expect_refused(400);
    }
}

#[tokio::test]
async fn a_users_connections_are_terminated_and_no_others() {
    let (server, backend) = start_pusher().await;
    let other = another(&server).await;
    let (mut ann, mut bob) = (backend.tenant.join("ann").await, backend.tenant.join("bob").await);
    let mut foreign = other.tenant.join("ann").await;
    let terminate = async |id: &str, body: &str| {
        backend.call(Method::POST, &format!("/users/{id}/terminate_connections"), &[], body).await
    };
    assert_eq!(terminate("ann", "{}").await.expect(StatusCode::OK), json!({}));
    assert_eq!(ann.close_code().await, 4202);
    for socket in [&mut bob, &mut foreign] {
        socket.subscribe("room").await;
    }
    backend.tenant.join("ann").await.subscribe("room").await;
    terminate("nobody", "").await.expect(StatusCode::OK);
    terminate("a%40b", "{}").await.expect(StatusCode::OK);
    for bad in ["a%20b", "%23", &"x".repeat(201)] {
        terminate(bad, "{}").await.expect_refused(400);
    }
    for bad in ["[]", "{"] {
        terminate("bob", bad).await.expect_refused(400);
    }
    bob.subscribe("still").await;
}

#[tokio::test]
async fn the_path_of_the_python_library_serves_too() {
    let (_server, backend) = start_pusher().await;
    let mut ann = backend.tenant.join("ann").await;
    let path = "/users/ann/terminate_connections";
    let pairs = backend.sign(&Method::POST, path, backend.base("{}"));
    let answer = backend.send(Method::POST, path, &pairs, "{}").await;
    assert_eq!(answer.expect(StatusCode::OK), json!({}));
    assert_eq!(ann.close_code().await, 4202);
    backend.send(Method::POST, path, &backend.base("{}"), "{}").await.expect_refused(401);
}
