//! Faults on purpose: who may have them made, and what clients see of each.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{
    server::{Options, Server, fanfare},
    sockets::Socket,
    tenants::{Answer, Tenant},
};

async fn start() -> (Server, Tenant) {
    let server = Server::start(Options::default().arg("--faults")).await;
    let tenant = Tenant::sign_up(&server).await;
    (server, tenant)
}

async fn make(server: &Server, fault: Value) -> Answer {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client can be built");
    Answer::of(client.post(format!("{}/test/faults", server.ops_url())).json(&fault)).await
}

async fn made(server: &Server, fault: Value) {
    let answer = make(server, fault).await;
    assert_eq!(answer.status, 204, "{}", answer.text);
}

/// A socket that follows `a`, and where it began.
async fn follow(tenant: &Tenant) -> (Socket, String, u64) {
    let mut socket = tenant.join("ann").await;
    let answer = socket.subscribe("a").await;
    let epoch = answer["epoch"].as_str().expect("an epoch").to_owned();
    (socket, epoch, answer["serial"].as_u64().expect("a serial"))
}

#[actix_web::test]
async fn faults_are_for_servers_that_only_their_own_machine_reaches() {
    for (listen, ops) in [("0.0.0.0:0", "127.0.0.1:0"), ("127.0.0.1:0", "0.0.0.0:0")] {
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        let mut command = fanfare();
        command
            .args(["serve", "--faults"])
            .current_dir(dir.path())
            .env("FANFARE_LISTEN", listen)
            .env("FANFARE_OPS_LISTEN", ops)
            .env("FANFARE_DATA_DIR", dir.path().join("data"))
            .stdin(Stdio::null());
        let ran = command.output().expect("the binary can be started");
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(!ran.status.success() && said.contains("--faults") && said.contains("0.0.0.0"), "{said}");
    }
    let server = Server::start(Options::default()).await;
    assert_eq!(make(&server, json!({"fault": "drop"})).await.status, 404, "without --faults there is no such address");
}

#[actix_web::test]
async fn what_is_no_fault_is_refused() {
    let (server, _) = start().await;
    for bad in [json!({}), json!({"fault": "burn"}), json!({"fault": "delay"}), json!({"fault": "refuse", "code": "x"})]
    {
        let answer = make(&server, bad).await;
        assert_eq!((answer.status, &answer.body["code"]), (422, &json!("invalid_body")), "{}", answer.text);
    }
}

#[actix_web::test]
async fn a_drop_cuts_sockets_and_streams_without_a_word() {
    let (server, tenant) = start().await;
    let (socket, ..) = follow(&tenant).await;
    let token = tenant.full_token("bob").await;
    let mut stream = tenant.stream(&token, "channel=a", None).await;
    stream.next_of("open").await;
    made(&server, json!({"fault": "drop"})).await;
    socket.ended().await;
    assert!(stream.ended().await.is_empty());
}

#[actix_web::test]
async fn a_double_is_the_same_message_at_the_same_serial() {
    let (server, tenant) = start().await;
    let (mut socket, ..) = follow(&tenant).await;
    made(&server, json!({"fault": "duplicate", "count": 1})).await;
    tenant.publish("a", json!(1)).await;
    tenant.publish("a", json!(2)).await;
    let messages = socket.messages(3).await;
    assert_eq!(
        messages.iter().map(|message| message["serial"].as_u64()).collect::<Vec<_>>(),
        [Some(1), Some(1), Some(2)]
    );
}

#[actix_web::test]
async fn what_is_late_or_held_comes_in_order_all_the_same() {
    let (server, tenant) = start().await;
    let (mut socket, ..) = follow(&tenant).await;
    made(&server, json!({"fault": "delay", "ms": 100, "count": 1})).await;
    tenant.publish("a", json!(1)).await;
    tenant.publish("a", json!(2)).await;
    made(&server, json!({"fault": "stall", "ms": 200})).await;
    tenant.publish("a", json!(3)).await;
    let messages = socket.messages(3).await;
    assert_eq!(
        messages.iter().map(|message| message["data"].as_u64()).collect::<Vec<_>>(),
        [Some(1), Some(2), Some(3)]
    );
}

#[actix_web::test]
async fn a_token_can_end_before_its_time() {
    let (server, tenant) = start().await;
    let (mut warned, ..) = follow(&tenant).await;
    made(&server, json!({"fault": "expire", "in_ms": 9_000})).await;
    let event = warned.event_of("token_expiring").await;
    assert!(event["in_ms"].as_u64().is_some_and(|left| left <= 9_000), "{event}");
    made(&server, json!({"fault": "expire"})).await;
    let (events, _) = warned.closed().await;
    assert_eq!(events.last().expect("a reason")["error"]["code"], "token_expired");
}

#[actix_web::test]
async fn connections_are_refused_as_often_as_was_said_and_with_that_code() {
    let (server, tenant) = start().await;
    let token = tenant.full_token("ann").await;
    made(&server, json!({"fault": "refuse", "count": 2, "code": "bad_token"})).await;
    tenant.poll(&token, "channel=a").await.expect_problem(401, "bad_token");
    tenant.refused_stream(&token, "channel=a").await.expect_problem(401, "bad_token");
    tenant.polled(&token, "channel=a").await;
    made(&server, json!({"fault": "refuse"})).await;
    made(&server, json!({"fault": "clear"})).await;
    tenant.polled(&token, "channel=a").await;
}

#[actix_web::test]
async fn a_position_can_be_lost_and_that_is_told() {
    let (server, tenant) = start().await;
    let (socket, epoch, serial) = follow(&tenant).await;
    socket.close().await;
    tenant.publish("a", json!(1)).await;
    made(&server, json!({"fault": "lose_position"})).await;
    let mut lost = tenant.join("ann").await;
    let answer = lost.resume("a", &epoch, serial).await;
    assert_eq!((&answer["resumed"], &answer["lost"]["from"]), (&json!(false), &json!(serial + 1)), "{answer}");
    let mut next = tenant.join("ann").await;
    assert_eq!(next.resume("a", &epoch, serial).await["resumed"], true);
}
