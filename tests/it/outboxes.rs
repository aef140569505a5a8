//! Slow readers: what waits for them is bounded, for each and for all of an app together, and nobody else feels it.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{
    metrics::Metrics,
    server::{Options, Server},
    sockets::Socket,
    tenants::Tenant,
    tokens::every_right,
    waiting::until,
};

const STALLED: usize = 1_000;
const APP_OUTBOX_BYTES: usize = 16 * 1024 * 1024;
const MESSAGE_BYTES: usize = 4 * 1024;

/// A server whose tenants live under these limits.
async fn with_plan(limits: &str) -> (Server, Tenant) {
    let config = format!("[plans.narrow]\npublishes_per_s = 1000000\n{limits}\n");
    let server = Server::start(Options::default().config(&config).env("FANFARE_PLAN_DEFAULT", "narrow")).await;
    let tenant = Tenant::sign_up(&server).await;
    (server, tenant)
}

/// A connected socket that follows `room` and holds next to nothing by itself.
async fn narrow(tenant: &Tenant, client: usize) -> Socket {
    let token = tenant.short_token(&format!("client-{client}"), every_right(), 600.0);
    let mut socket = Socket::open_narrow(&tenant.url).await;
    socket.ask(json!({"op": "connect", "token": token})).await;
    socket.subscribe("room").await;
    socket
}

/// Publishes a batch of messages that count from `first`.
async fn publish(tenant: &Tenant, first: usize, count: usize, ephemeral: bool) {
    let text = "x".repeat(MESSAGE_BYTES);
    let one = |number| json!({"channel": "room", "data": {"n": number, "text": text}, "ephemeral": ephemeral});
    let batch = json!({"messages": (first..first + count).map(one).collect::<Vec<_>>()});
    tenant.data(Method::POST, "/v1/messages", batch).await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_thousand_stalled_sockets_stay_under_the_bound_of_their_app_and_who_reads_is_served() {
    let (server, tenant) = with_plan(&format!("outbox_bytes = 65536\napp_outbox_bytes = {APP_OUTBOX_BYTES}")).await;
    let mut stalled = Vec::new();
    for batch in 0..STALLED / 50 {
        let joining = (batch * 50..(batch + 1) * 50).map(|client| narrow(&tenant, client));
        stalled.extend(futures::future::join_all(joining).await);
    }
    let mut healthy = tenant.join("healthy").await;
    healthy.subscribe("room").await;
    let (mut published, mut most) = (0, 0.0f64);
    let mut closed = 0.0;
    // Those who had fallen behind already are paced as they catch up, and not closed; so not all of them.
    // Two messages are less than its share of the bound, so that who reads is never taken for slow, however late it gets them.
    while closed < STALLED as f64 / 2.0 {
        publish(&tenant, published, 2, false).await;
        for message in healthy.messages(2).await {
            published += 1;
            assert_eq!(message["serial"], published, "{}", message["serial"]);
        }
        let metrics = Metrics::of(&server).await;
        most = most.max(metrics.sample("fanfare_outbox_bytes"));
        closed = metrics.sample("fanfare_connections_closed_total{reason=\"slow_consumer\"}");
        assert!(published < 2_000, "{closed} are closed, {most} bytes wait");
    }
    // One frame more for each connection: the first that waits is always taken.
    let bound = APP_OUTBOX_BYTES + STALLED * (MESSAGE_BYTES + 256);
    assert!(
        (APP_OUTBOX_BYTES as f64 / 4.0..=bound as f64).contains(&most),
        "{most} bytes waited; the bound is {bound}"
    );
    println!("{STALLED} stalled sockets, {published} messages: at most {most} bytes waited of {bound}");
    healthy.ask(json!({"op": "unsubscribe", "channel": "room"})).await;
    drop(stalled);
    until("nothing waits", async || (Metrics::of(&server).await.sample("fanfare_outbox_bytes") == 0.0).then_some(()))
        .await;
}

#[tokio::test]
async fn ephemeral_messages_are_dropped_oldest_first_for_a_slow_reader_and_counted() {
    let (server, tenant) = with_plan("outbox_bytes = 65536").await;
    let mut slow = narrow(&tenant, 0).await;
    let mut healthy = tenant.join("healthy").await;
    healthy.subscribe("room").await;
    let drops = async || Metrics::of(&server).await.sample("fanfare_drops_total{reason=\"ephemeral_overflow\"}");
    let mut published = 0;
    while drops().await < 20.0 {
        publish(&tenant, published, 10, true).await;
        for message in healthy.messages(10).await {
            assert_eq!(message["data"]["n"], published);
            published += 1;
        }
        assert!(published < 2_000, "nothing is dropped");
    }
    // What must arrive is not displaced, and waits behind what was published before it.
    assert_eq!(tenant.publish("room", json!("last")).await, 1);
    let mut received: Vec<Value> = Vec::new();
    while received.last().is_none_or(|last| *last != json!("last")) {
        received.push(slow.event_of("message").await["data"].take());
    }
    received.pop();
    let numbers: Vec<_> = received.iter().map(|data| data["n"].as_u64().expect("a number") as usize).collect();
    assert!(numbers.is_sorted() && numbers.len() as f64 == published as f64 - drops().await, "{numbers:?}");
    let newest = (published - 10..published).collect::<Vec<_>>();
    assert!(
        numbers.starts_with(&[0, 1, 2]) && numbers.ends_with(&newest),
        "the oldest that wait go first: {numbers:?}"
    );
}

#[tokio::test]
async fn a_socket_that_stalls_shows_although_its_own_buffers_are_as_large_as_usual() {
    const LARGE_BYTES: usize = 60_000;
    let (server, tenant) = with_plan("outbox_bytes = 4194304").await;
    let mut stalled = tenant.join("stalled").await;
    stalled.subscribe("room").await;
    let text = "x".repeat(LARGE_BYTES);
    let mut published = 0;
    while Metrics::of(&server).await.sample("fanfare_outbox_bytes") < 2.0 * LARGE_BYTES as f64 {
        published = tenant.publish("room", json!(text)).await;
        // The kernels of both sides hold so much of a connection that is not read, and no more.
        assert!(
            published as usize * LARGE_BYTES < 2 * 1024 * 1024,
            "{published} messages were taken by a socket that stalls"
        );
    }
    println!("a stalled socket shows after {published} messages of {LARGE_BYTES} bytes");
    for message in stalled.messages(published as usize).await {
        assert_eq!(message["data"], text.as_str());
    }
    until("nothing waits", async || (Metrics::of(&server).await.sample("fanfare_outbox_bytes") == 0.0).then_some(()))
        .await;
}
