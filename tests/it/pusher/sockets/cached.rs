//! Cache channels: whoever subscribes gets the last published event first.

use serde_json::{Value, json};

use crate::harness::pusher_sockets::{PusherSocket, start};

#[actix_web::test]
async fn the_last_published_event_comes_right_after_the_confirmation() {
    let (server, tenant) = start().await;
    for channel in ["cache-a", "private-cache-a", "private-encrypted-cache-a", "presence-cache-a"] {
        let subscribe = async |socket: &mut PusherSocket, user: &str| match channel {
            "cache-a" => drop(socket.subscribe(channel).await),
            "presence-cache-a" => drop(socket.join(&tenant, channel, user).await),
            _ => drop(socket.subscribe_signed(&tenant, channel, None).await),
        };
        let mut first = PusherSocket::connect(server.url(), &tenant.key).await;
        subscribe(&mut first, "ann").await;
        assert_eq!(first.event().await, json!({"event": "pusher:cache_miss", "channel": channel}));
        tenant.publish(channel, json!({"n": 1})).await;
        tenant.publish(channel, json!({"n": 2})).await;
        for expected in [r#"{"n":1}"#, r#"{"n":2}"#] {
            assert_eq!(first.event_of("message").await["data"], expected);
        }
        if channel != "cache-a" {
            first.trigger(channel, "client-x", json!(1)).await;
            first.until_now().await;
        }
        let mut second = PusherSocket::connect(server.url(), &tenant.key).await;
        subscribe(&mut second, "bob").await;
        let said = second.event().await;
        assert_eq!((&said["event"], &said["data"]), (&json!("message"), &json!(r#"{"n":2}"#)), "{channel}");
        tenant.publish(channel, json!({"n": 3})).await;
        assert_eq!(second.event_of("message").await["data"], r#"{"n":3}"#);
        assert!(second.until_now().await.iter().all(|said| said["event"] != "message"));
    }
}

#[actix_web::test]
async fn only_a_name_that_begins_so_is_one() {
    let (server, tenant) = start().await;
    let mut socket = PusherSocket::connect(server.url(), &tenant.key).await;
    tenant.publish("not-cache-a", json!(1)).await;
    socket.subscribe("not-cache-a").await;
    let said: Vec<Value> = socket.until_now().await;
    assert!(said.iter().all(|said| said["event"] == "pusher_internal:subscription_count"), "{said:?}");
}

#[actix_web::test]
async fn without_history_nothing_is_kept() {
    let (server, tenant) = start().await;
    tenant.rule("_default", json!({"history": null})).await;
    let mut socket = PusherSocket::connect(server.url(), &tenant.key).await;
    socket.subscribe("cache-a").await;
    assert_eq!(socket.event_of("pusher:cache_miss").await["channel"], "cache-a");
    let path = "/v1/channels/cache-a/messages";
    tenant.data(reqwest::Method::POST, path, json!({"data": 1})).await.expect(reqwest::StatusCode::ACCEPTED);
    assert_eq!(socket.event_of("message").await["data"], "1");
}
