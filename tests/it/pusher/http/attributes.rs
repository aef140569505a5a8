//! Attributes that `info` asks for, wherever it may stand.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::start_pusher;
use crate::harness::{pusher::Backend, sockets::Socket, waiting::until};

/// Somebody who subscribes, and enters where there are members.
async fn joined(backend: &Backend, client: &str, channel: &str) -> Socket {
    let mut socket = backend.tenant.join(client).await;
    socket.subscribe(channel).await;
    if channel.starts_with("presence-") {
        socket.ask(json!({"op": "presence", "channel": channel, "action": "enter"})).await;
    }
    socket
}

/// Waits until a channel has so many subscriptions.
async fn counted(backend: &Backend, channel: &str, count: u64) {
    let path = format!("/channels/{channel}");
    until("everybody is counted", async || {
        let shown = backend.get(&path, &[("info", "subscription_count")]).await.expect(StatusCode::OK);
        (shown["subscription_count"] == count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn users_are_counted_once_and_connections_each() {
    let (_server, backend) = start_pusher().await;
    let _sockets = [
        joined(&backend, "ann", "presence-room").await,
        joined(&backend, "ann", "presence-room").await,
        joined(&backend, "bob", "presence-room").await,
        joined(&backend, "ann", "room").await,
    ];
    counted(&backend, "presence-room", 3).await;
    counted(&backend, "room", 1).await;
    let both = "user_count,subscription_count";
    let trigger = async |info: &str| {
        let event = json!({"name": "said", "channels": ["presence-room", "room", "empty"], "data": "1", "info": info});
        backend.post("/events", event).await.expect(StatusCode::OK)
    };
    assert_eq!(
        trigger(both).await,
        json!({"channels": {"presence-room": {"user_count": 2, "subscription_count": 3}, "room": {"subscription_count": 1},
            "empty": {"subscription_count": 0}}})
    );
    assert_eq!(
        trigger("user_count").await,
        json!({"channels": {"presence-room": {"user_count": 2}, "room": {}, "empty": {}}})
    );
    for nothing in ["", "later", "cache"] {
        assert_eq!(trigger(nothing).await, json!({}), "{nothing}");
    }
    let one = |channel: &str, info: Value| json!({"name": "said", "channel": channel, "data": "1", "info": info});
    let batch = json!({"batch": [one("room", Value::Null), one("presence-room", json!("user_count")), one("room", json!(both))]});
    let told = backend.post("/batch_events", batch).await.expect(StatusCode::OK);
    assert_eq!(told, json!({"batch": [{}, {"user_count": 2}, {"subscription_count": 1}]}));
    let shown = backend.get("/channels/presence-room", &[("info", both)]).await.expect(StatusCode::OK);
    assert_eq!(shown, json!({"occupied": true, "user_count": 2, "subscription_count": 3}));
    let listed = backend.get("/channels", &[("info", both), ("filter_by_prefix", "presence-")]).await;
    assert_eq!(
        listed.expect(StatusCode::OK),
        json!({"channels": {"presence-room": {"user_count": 2, "subscription_count": 3}}})
    );
}

#[tokio::test]
async fn users_are_asked_for_only_where_there_are_members() {
    let (_server, backend) = start_pusher().await;
    let users = ("info", "user_count");
    backend.get("/channels/room", &[users]).await.expect_refused(400);
    backend.get("/channels/private-room", &[("info", "subscription_count,user_count")]).await.expect_refused(400);
    backend.get("/channels/presence-room", &[users]).await.expect(StatusCode::OK);
    backend.get("/channels", &[users]).await.expect_refused(400);
    for prefix in ["presence", "private-", "xpresence-"] {
        backend.get("/channels", &[users, ("filter_by_prefix", prefix)]).await.expect_refused(400);
    }
    for prefix in ["presence-", "presence-ro"] {
        backend.get("/channels", &[users, ("filter_by_prefix", prefix)]).await.expect(StatusCode::OK);
    }
}

#[tokio::test]
async fn subscriptions_are_told_of_only_while_the_app_counts_them() {
    let (_server, backend) = start_pusher().await;
    let _socket = joined(&backend, "ann", "room").await;
    counted(&backend, "room", 1).await;
    let path = format!("/v1/apps/{}", backend.tenant.app);
    let off = json!({"pusher_options": {"subscription_counts": false}});
    backend.tenant.control(Method::PATCH, &path, off).await.expect(StatusCode::OK);
    let info = ("info", "subscription_count");
    let shown = backend.get("/channels/room", &[info]).await.expect(StatusCode::OK);
    assert_eq!(shown, json!({"occupied": true}));
    assert_eq!(backend.get("/channels", &[info]).await.expect(StatusCode::OK), json!({"channels": {"room": {}}}));
}

#[tokio::test]
async fn a_cache_channel_tells_its_last_event() {
    let (_server, backend) = start_pusher().await;
    let cache = async |channel: &str| {
        let path = format!("/channels/{channel}");
        backend.get(&path, &[("info", "cache")]).await.expect(StatusCode::OK)["cache"].clone()
    };
    for channel in ["cache-a", "private-cache-a", "private-encrypted-cache-a", "presence-cache-a"] {
        assert_eq!(cache(channel).await, Value::Null, "{channel}");
        backend.trigger(channel, "first").await;
        backend.trigger(channel, "{\"a\": 1 }").await;
        backend.tenant.reaches(channel, 2).await;
        let told = cache(channel).await;
        assert_eq!(told["data"], "{\"a\": 1 }", "{channel}");
        assert!((1_700..=1_800).contains(&told["ttl"].as_u64().expect("seconds")), "{told}");
    }
    backend.trigger("not-cache-a", "first").await;
    backend.tenant.reaches("not-cache-a", 1).await;
    assert_eq!(cache("not-cache-a").await, Value::Null);
    let shown = backend.get("/channels/cache-a", &[]).await.expect(StatusCode::OK);
    assert_eq!(shown, json!({"occupied": false}));
    backend.tenant.rule("_default", json!({"history": {"retention_s": 60}})).await;
    assert!(cache("cache-a").await["ttl"].as_u64().expect("seconds") <= 60);
    backend.tenant.rule("_default", json!({"history": null})).await;
    assert_eq!(cache("cache-a").await, Value::Null);
}
