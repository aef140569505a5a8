//! Who may call: signatures, times, hashes of bodies, keys, and apps that are switched off.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{another, start_pusher};
use crate::harness::{
    pusher::{Backend, Pairs, md5},
    tokens::now_s,
};

const CHANNELS: &str = "/channels";

fn set(mut pairs: Pairs, name: &str, value: impl Into<String>) -> Pairs {
    pairs.retain(|(own, _)| own != name);
    pairs.push((name.to_owned(), value.into()));
    pairs
}

/// Lists channels with these pairs, signed.
async fn list(backend: &Backend, pairs: Pairs) -> u16 {
    let path = format!("/apps/{}{CHANNELS}", backend.number);
    let pairs = backend.sign(&Method::GET, &path, pairs);
    backend.send(Method::GET, &path, &pairs, "").await.status
}

#[tokio::test]
async fn every_part_of_the_authentication_is_needed_and_checked() {
    let (_server, backend) = start_pusher().await;
    let base = || backend.base("");
    assert_eq!(list(&backend, base()).await, 200);
    for missing in ["auth_key", "auth_timestamp", "auth_version"] {
        let mut pairs = base();
        pairs.retain(|(name, _)| name != missing);
        assert_eq!(list(&backend, pairs).await, 401, "without {missing}");
    }
    for (name, value) in [
        ("auth_version", "1.1"),
        ("auth_version", "1"),
        ("auth_key", "fk_nobody"),
        ("auth_key", "278d425bdf160c739803"),
        ("auth_key", ""),
        ("auth_timestamp", ""),
        ("auth_timestamp", "soon"),
    ] {
        assert_eq!(list(&backend, set(base(), name, value)).await, 401, "{name}={value}");
    }
    let now = now_s() as i64;
    for (offset, status) in [(-590, 200), (590, 200), (-602, 401), (605, 401)] {
        assert_eq!(list(&backend, set(base(), "auth_timestamp", (now + offset).to_string())).await, status, "{offset}");
    }
    let path = format!("/apps/{}{CHANNELS}", backend.number);
    let signed = backend.sign(&Method::GET, &path, base());
    let signature = signed.last().expect("a signature").1.clone();
    for bad in [signature[1..].to_owned(), signature.to_uppercase(), "0".repeat(64), String::new()] {
        let pairs = set(signed.clone(), "auth_signature", bad.as_str());
        let answer = backend.send(Method::GET, &path, &pairs, "").await;
        assert!(answer.headers.contains_key("www-authenticate"));
        answer.expect_refused(401);
    }
    backend.send(Method::GET, &path, &base(), "").await.expect_refused(401);
    let more = [signed.clone(), vec![("info".to_owned(), "subscription_count".to_owned())]].concat();
    backend.send(Method::GET, &path, &more, "").await.expect_refused(401);
    let of_post = backend.sign(&Method::POST, &path, base());
    backend.send(Method::GET, &path, &of_post, "").await.expect_refused(401);
}

#[tokio::test]
async fn names_of_parameters_are_signed_in_lower_case_and_values_as_they_are() {
    let (_server, backend) = start_pusher().await;
    let pairs = backend.base("").into_iter().map(|(name, value)| (name.to_uppercase(), value)).collect();
    assert_eq!(list(&backend, pairs).await, 200);
    for (name, value) in
        [("info", "subscription_count,cache"), ("later", "a b/ü=1&2"), ("filter_by_prefix", "presence-=@,.;")]
    {
        assert_eq!(list(&backend, set(backend.base(""), name, value)).await, 200, "{name}={value}");
    }
}

#[tokio::test]
async fn a_body_comes_with_its_hash_and_nothing_else_is_believed() {
    let (_server, backend) = start_pusher().await;
    assert_eq!(list(&backend, set(backend.base(""), "body_md5", md5(""))).await, 200, "the hash of no body");
    assert_eq!(list(&backend, set(backend.base(""), "body_md5", md5("x"))).await, 401);
    let path = format!("/apps/{}/events", backend.number);
    let body = json!({"name": "said", "channel": "room", "data": "1"}).to_string();
    for (pairs, status) in [
        (backend.base(&body), 200),
        (set(backend.base(""), "body_md5", md5(&body).to_uppercase()), 200),
        (backend.base(""), 401),
        (set(backend.base(""), "body_md5", md5("other")), 401),
        (set(backend.base(""), "body_md5", ""), 401),
    ] {
        let pairs = backend.sign(&Method::POST, &path, pairs);
        assert_eq!(backend.send(Method::POST, &path, &pairs, &body).await.status, status, "{pairs:?}");
    }
}

#[tokio::test]
async fn a_key_serves_its_own_app_and_no_other() {
    let (server, own) = start_pusher().await;
    let other = another(&server).await;
    own.trigger("room", "1").await;
    let stranger = Backend { number: other.number.clone(), ..own.clone() };
    let nobody = Backend { number: "1234567890".to_owned(), ..own.clone() };
    let event = json!({"name": "said", "channel": "room", "data": "2"});
    let (of_other, of_nobody) =
        (stranger.post("/events", event.clone()).await, nobody.post("/events", event.clone()).await);
    assert_eq!(of_other.expect_refused(401), of_nobody.expect_refused(401), "what is another's is as what is not");
    for rest in ["/channels", "/channels/room", "/channels/presence-room/users"] {
        stranger.get(rest, &[]).await.expect_refused(401);
    }
    stranger.post("/users/ann/terminate_connections", json!({})).await.expect_refused(401);
    let by_id = Backend { number: own.tenant.app.clone(), ..own.clone() };
    by_id.post("/events", event).await.expect_refused(401);
    own.tenant.reaches("room", 1).await;
    assert_eq!(own.tenant.history("room").await.len(), 1);
    assert!(other.tenant.history("room").await.is_empty());
}

#[tokio::test]
async fn an_app_that_is_off_or_disabled_and_a_key_that_is_revoked_are_refused() {
    let (_server, backend) = start_pusher().await;
    let tenant = &backend.tenant;
    let app = format!("/v1/apps/{}", tenant.app);
    let change = async |patch: Value| tenant.control(Method::PATCH, &app, patch).await.expect(StatusCode::OK);
    change(json!({"pusher": false})).await;
    backend.get(CHANNELS, &[]).await.expect_refused(401);
    change(json!({"pusher": true})).await;
    backend.get(CHANNELS, &[]).await.expect(StatusCode::OK);
    change(json!({"enabled": false})).await;
    backend.get(CHANNELS, &[]).await.expect_refused(403);
    change(json!({"enabled": true})).await;
    let second = backend.with(tenant.with_key(json!({"name": "second"})).await);
    second.get(CHANNELS, &[]).await.expect(StatusCode::OK);
    let key = format!("{app}/keys/{}", second.tenant.key);
    tenant.control(Method::DELETE, &key, Value::Null).await.expect(StatusCode::NO_CONTENT);
    second.get(CHANNELS, &[]).await.expect_refused(401);
    backend.get(CHANNELS, &[]).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_rotated_secret_signs_until_its_grace_ends() {
    let (_server, backend) = start_pusher().await;
    let tenant = &backend.tenant;
    let rotate = async |grace_s: u32| {
        let path = format!("/v1/apps/{}/keys/{}/rotate", tenant.app, tenant.key);
        let rotated = tenant.control(Method::POST, &path, json!({"grace_s": grace_s})).await.expect(StatusCode::OK);
        let mut fresh = tenant.clone();
        fresh.secret = rotated["secret"].as_str().expect("a secret").to_owned();
        backend.with(fresh)
    };
    let fresh = rotate(60).await;
    backend.get(CHANNELS, &[]).await.expect(StatusCode::OK);
    fresh.get(CHANNELS, &[]).await.expect(StatusCode::OK);
    let freshest = rotate(0).await;
    backend.get(CHANNELS, &[]).await.expect_refused(401);
    fresh.get(CHANNELS, &[]).await.expect_refused(401);
    freshest.get(CHANNELS, &[]).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_key_does_what_its_capability_says() {
    let (_server, backend) = start_pusher().await;
    let with = async |cap: Value| backend.with(backend.tenant.with_key(json!({"name": "narrow", "cap": cap})).await);
    let publisher = with(json!({"room": ["publish"]})).await;
    publisher.trigger("room", "1").await;
    let several = json!({"name": "said", "channels": ["room", "other"], "data": "2"});
    publisher.post("/events", several).await.expect_refused(403);
    let informed = json!({"name": "said", "channel": "room", "data": "2", "info": "subscription_count"});
    publisher.post("/events", informed).await.expect_refused(403);
    for rest in ["/channels/room", "/channels/presence-a/users"] {
        publisher.get(rest, &[]).await.expect_refused(403);
    }
    publisher.post("/users/ann/terminate_connections", json!({})).await.expect_refused(403);
    let reader = with(json!({"*": ["subscribe"]})).await;
    reader.get("/channels/presence-a", &[]).await.expect(StatusCode::OK);
    reader.get("/channels/presence-a", &[("info", "user_count")]).await.expect_refused(403);
    reader.post("/events", json!({"name": "said", "channel": "room", "data": "2"})).await.expect_refused(403);
    backend.tenant.reaches("room", 1).await;
    assert_eq!(backend.tenant.history("room").await.len(), 1, "a refusal of one channel publishes on none");
}

#[tokio::test]
async fn other_paths_and_methods_are_told_so_in_the_same_form() {
    let (_server, backend) = start_pusher().await;
    for rest in ["", "/", "/nothing", "/events/", "/channels/room/stats", "/channels/room/users/x"] {
        backend.get(rest, &[]).await.expect_refused(404);
    }
    for (method, rest, allow) in [
        (Method::GET, "/events", "POST"),
        (Method::PUT, "/batch_events", "POST"),
        (Method::POST, "/channels", "GET"),
        (Method::DELETE, "/channels/room/users", "GET"),
        (Method::GET, "/users/ann/terminate_connections", "POST"),
    ] {
        let answer = backend.call(method, rest, &[], "").await;
        assert_eq!(answer.headers["allow"], allow, "{rest}");
        answer.expect_refused(405);
    }
    let answer = backend.call(Method::HEAD, "/channels", &[], "").await;
    assert_eq!((answer.status, &answer.headers["allow"]), (405, &"GET".parse().expect("a header")));
    let answer = backend.get("/channels", &[]).await;
    assert_eq!(answer.headers["content-type"], "application/json");
    assert!(!answer.headers.contains_key("connection"), "connections are kept");
}
