//! Limits: who goes past one is told when to come back, and nobody else feels it.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{
    server::{Options, Server},
    sockets::{PATIENCE, Received, Socket},
    tenants::{Answer, PASSWORD, Tenant},
};

mod passwords;

/// A server whose tenants live under these limits.
async fn with_plan(limits: &str) -> Server {
    let config = format!("[plans.tiny]\n{limits}\n");
    Server::start(Options::default().config(&config).env("FANFARE_PLAN_DEFAULT", "tiny")).await
}

/// A server with these settings of the API, which believes our `X-Forwarded-For`.
async fn with_api(settings: &str) -> Server {
    let config = format!("trusted_proxies = \"127.0.0.1\"\nplain_http = \"allow\"\n[api]\n{settings}\n");
    Server::start(Options::default().config(&config)).await
}

/// Holds an answer to 429, with all that tells when to come back.
#[track_caller]
fn expect_limited(answer: Answer, policy: &str) -> u64 {
    assert_eq!(answer.status, 429, "{}", answer.text);
    let header = |name: &str| answer.headers[name].to_str().expect("text").to_owned();
    let wait_s: u64 = header("retry-after").parse().expect("whole seconds");
    assert!(wait_s >= 1, "{wait_s}");
    let name = policy.split(';').next().expect("a name");
    assert!(header("ratelimit-policy").contains(policy), "{}", header("ratelimit-policy"));
    assert!(header("ratelimit").contains(&format!("{name};r=0;t=")), "{}", header("ratelimit"));
    answer.expect_problem(429, "rate_limited");
    wait_s
}

fn batch(count: usize) -> Value {
    json!({"messages": (0..count).map(|at| json!({"channel": "a", "data": at})).collect::<Vec<_>>()})
}

#[actix_web::test]
async fn an_apps_publishes_are_limited_over_rest_and_sockets_and_another_apps_are_not() {
    let server = with_plan("publishes_per_s = 1").await;
    let (greedy, modest) = (Tenant::sign_up(&server).await, Tenant::sign_up(&server).await);
    let mut socket = greedy.join("ann").await;
    socket.subscribe("b").await;
    let whole = greedy.data(Method::POST, "/v1/messages", batch(1_000)).await;
    assert!(whole.headers.contains_key("ratelimit") && whole.headers.contains_key("ratelimit-policy"));
    let results = whole.expect(StatusCode::OK);
    assert_eq!(results["results"].as_array().map(Vec::len), Some(1_000), "the bucket holds the largest batch");

    let publish = async || greedy.data(Method::POST, "/v1/channels/a/messages", json!({"data": 1})).await;
    let refused = loop {
        let answer = publish().await;
        if answer.status != 202 {
            break answer;
        }
    };
    assert!(expect_limited(refused, "\"publishes\";q=1000;w=1000") <= 2);
    let refused = greedy.data(Method::POST, "/v1/messages", batch(1_000)).await;
    assert!(expect_limited(refused, "\"publishes\";q=1000;w=1000") > 900, "a whole batch takes longer to come again");
    let request = json!({"op": "publish", "channel": "b", "data": "over the socket"});
    let wait_ms = loop {
        let answer = socket.answer(request.clone()).await;
        if answer.get("error").is_some() {
            assert_eq!(answer["error"]["code"], "rate_limited", "{answer}");
            break answer["error"]["retry_after_ms"].as_u64().expect("a wait");
        }
    };
    assert!((1..=1_000).contains(&wait_ms), "{wait_ms}");

    modest.is_served().await;
    assert_eq!(greedy.data(Method::GET, "/v1/channels/a/messages", Value::Null).await.status, 200);
    let refilled = async { while publish().await.status != 202 {} };
    tokio::time::timeout(PATIENCE, refilled).await.expect("the bucket fills again");
}

#[actix_web::test]
async fn a_batch_has_a_most_size() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let refused = tenant.data(Method::POST, "/v1/messages", batch(1_001)).await;
    refused.expect_problem(413, "body_too_large");
    tenant.data(Method::POST, "/v1/messages", batch(1_000)).await.expect(StatusCode::OK);
    tenant.reaches("a", 1_000).await;
    assert_eq!(tenant.history("a").await.len(), 1_000, "nothing of the refused batch was taken");
}

fn history(id: usize) -> String {
    json!({"id": id, "op": "history", "channel": "a"}).to_string()
}

#[actix_web::test]
async fn a_connection_that_sends_too_fast_is_refused_and_one_that_goes_on_is_closed() {
    let server = with_plan("requests_per_s = 2").await;
    let tenant = Tenant::sign_up(&server).await;
    let mut patient = tenant.join("patient").await;
    patient.subscribe("news").await;
    let mut refused = 0;
    for id in 100..103 {
        patient.send_text(history(id)).await;
    }
    for id in 100..103 {
        let answer = patient.answer_to(id).await;
        if answer.get("error").is_some() {
            assert_eq!(answer["error"]["code"], "rate_limited", "{answer}");
            assert!(
                answer["error"]["retry_after_ms"].as_u64().is_some_and(|wait| (1..=1_000).contains(&wait)),
                "{answer}"
            );
            refused += 1;
        }
    }
    assert!((1..=2).contains(&refused), "{refused} of 4 requests were refused where 2 a second are allowed");

    let mut greedy = tenant.join("greedy").await;
    greedy.ask(json!({"op": "history", "channel": "a"})).await;
    for id in 100..140 {
        greedy.send_text(history(id)).await;
    }
    let (came, end) = greedy.closed().await;
    assert_eq!(end, Received::Close(4121, "rate_limited".to_owned()));
    assert!(came.iter().any(|answer| answer["error"]["code"] == "rate_limited" && answer.get("id").is_some()));
    let last = came.last().expect("an event says why");
    assert_eq!((&last["op"], &last["error"]["code"]), (&json!("error"), &json!("rate_limited")));

    tenant.publish("news", json!("for who stopped in time")).await;
    assert_eq!(patient.event_of("message").await["serial"], 1);
    tenant.is_served().await;
}

#[actix_web::test]
async fn an_app_has_so_many_connections_and_a_place_is_given_back_with_the_close() {
    let server = with_plan("connections = 2").await;
    let (full, other) = (Tenant::sign_up(&server).await, Tenant::sign_up(&server).await);
    let token = full.full_token("ann").await;
    let refused = async || {
        let mut socket = Socket::open(server.url()).await;
        let answer = socket.answer(json!({"op": "connect", "token": token})).await;
        assert_eq!(answer["error"]["code"], "connection_limit", "{answer}");
        assert!(answer["error"]["retry_after_ms"].is_u64(), "{answer}");
        assert_eq!(socket.close_code().await, 4120);
    };
    let kept = Socket::connect(server.url(), &token).await;
    for _ in 0..10 {
        let mut given_back = Socket::connect(server.url(), &token).await;
        refused().await;
        other.is_served().await;
        given_back.send_binary(b"").await;
        assert_eq!(given_back.close_code().await, 4001);
        given_back.ended().await;
    }
    drop(kept);
    full.is_served().await;
}

#[actix_web::test]
async fn a_connection_has_so_many_channels() {
    let server = with_plan("channels_per_connection = 2").await;
    let tenant = Tenant::sign_up(&server).await;
    let mut socket = tenant.join("ann").await;
    assert_eq!(socket.connected["limits"]["channels"], 2);
    socket.subscribe("a").await;
    socket.subscribe("b").await;
    assert_eq!(socket.refused(json!({"op": "subscribe", "channel": "c"})).await, "channel_limit");
    socket.ask(json!({"op": "unsubscribe", "channel": "a"})).await;
    socket.subscribe("c").await;
    tenant.publish("c", json!(1)).await;
    assert_eq!(socket.event_of("message").await["channel"], "c");
    tenant.is_served().await;
}

#[actix_web::test]
async fn a_plan_and_a_rule_bound_messages() {
    let server = with_plan("message_bytes = 1000").await;
    let tenant = Tenant::sign_up(&server).await;
    tenant.rule("small", json!({"max_message_bytes": 100})).await;
    let path = format!("/v1/apps/{}/rules/large", tenant.app);
    let wider = tenant.control(Method::PUT, &path, json!({"max_message_bytes": 1_001})).await;
    wider.expect_problem(422, "invalid_body");
    let mut socket = tenant.join("ann").await;
    assert_eq!(socket.connected["limits"]["message_bytes"], 1_000);
    for (channel, bytes) in [("small:1", 100), ("other", 1_000)] {
        let (fits, not) = (json!("x".repeat(bytes - 2)), json!("x".repeat(bytes - 1)));
        tenant.publish(channel, fits.clone()).await;
        let path = format!("/v1/channels/{channel}/messages");
        tenant.data(Method::POST, &path, json!({"data": not})).await.expect_problem(413, "message_too_large");
        socket.ask(json!({"op": "publish", "channel": channel, "data": fits})).await;
        let refused = socket.refused(json!({"op": "publish", "channel": channel, "data": not})).await;
        assert_eq!(refused, "message_too_large");
    }
    tenant.is_served().await;
}

#[actix_web::test]
async fn a_plan_bounds_how_many_apps_keys_and_rules_there_are() {
    let server = with_plan("apps = 2\nkeys = 2\nrules = 2").await;
    let (tenant, other) = (Tenant::sign_up(&server).await, Tenant::sign_up(&server).await);
    let apps = format!("/v1/tenants/{}/apps", tenant.tenant);
    let keys = format!("/v1/apps/{}/keys", tenant.app);
    for path in [&apps, &keys] {
        let add = async || tenant.control(Method::POST, path, json!({"name": "another"})).await;
        let second = add().await.expect(StatusCode::CREATED);
        add().await.expect_problem(409, "plan_limit");
        let gone = if path == &apps { "/v1/apps".to_owned() } else { keys.clone() };
        let gone = format!("{gone}/{}", second["id"].as_str().expect("an id"));
        tenant.control(Method::DELETE, &gone, Value::Null).await.expect(StatusCode::NO_CONTENT);
        add().await.expect(StatusCode::CREATED);
    }
    for namespace in ["one", "two", "one"] {
        tenant.rule(namespace, json!({})).await;
    }
    let third = format!("/v1/apps/{}/rules/three", tenant.app);
    tenant.control(Method::PUT, &third, json!({})).await.expect_problem(409, "plan_limit");
    other.rule("three", json!({})).await;
    tenant.is_served().await;
}

#[actix_web::test]
async fn sign_ups_are_limited_by_address_and_an_ipv6_network_is_one() {
    let server = with_api("signups_per_hour = 2").await;
    let tenant = Tenant::sign_up(&server).await;
    let sign_up = async |name: &str, address: &str| {
        let body = json!({"email": format!("{name}@example.com"), "password": PASSWORD, "tenant": name});
        Answer::of(tenant.request(Method::POST, "/v1/signup").header("x-forwarded-for", address).json(&body)).await
    };
    assert_eq!(sign_up("one", "2001:db8:0:1::1").await.status, 201);
    sign_up("one", "2001:db8:0:1::2").await.expect_problem(409, "email_taken");
    expect_limited(sign_up("two", "2001:db8:0:1::3").await, "\"signups\";q=2;w=3600");
    assert_eq!(sign_up("two", "2001:db8:0:2::1").await.status, 201);
    tenant.is_served().await;
}

#[actix_web::test]
async fn the_control_plane_is_limited_by_address_and_the_data_plane_is_not_touched() {
    let server = with_api("control_requests_per_minute = 10").await;
    let tenant = Tenant::sign_up(&server).await;
    let me = async |address: &str| {
        let request = tenant.request(Method::GET, "/v1/me").bearer_auth(&tenant.session);
        Answer::of(request.header("x-forwarded-for", address)).await
    };
    for _ in 0..10 {
        assert_eq!(me("192.0.2.1").await.status, 200);
    }
    assert!(expect_limited(me("192.0.2.1").await, "\"control\";q=10;w=60") <= 6);
    assert_eq!(me("192.0.2.2").await.status, 200);
    let publish = tenant.request(Method::POST, "/v1/channels/a/messages").bearer_auth(tenant.credential());
    let publish = publish.header("x-forwarded-for", "192.0.2.1").json(&json!({"data": 1}));
    assert_eq!(Answer::of(publish).await.status, 202);
    tenant.is_served().await;
}

#[actix_web::test]
async fn reads_of_history_are_limited_by_app() {
    let server = with_plan("history_reads_per_s = 1").await;
    let (greedy, modest) = (Tenant::sign_up(&server).await, Tenant::sign_up(&server).await);
    greedy.publish("a", json!(1)).await;
    let refused = loop {
        let answer = greedy.data(Method::GET, "/v1/channels/a/messages", Value::Null).await;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!(expect_limited(refused, "\"history\";q=1;w=1"), 1);
    modest.publish("a", json!(1)).await;
    assert_eq!(modest.history("a").await.len(), 1);
    greedy.is_served().await;
}
