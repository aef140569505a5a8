//! A collector that is away, or that never answers, is nobody's concern.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use serde_json::json;

use super::CALLER;
use crate::harness::{
    server::{Options, Server},
    tenants::{Answer, Tenant},
    waiting::until,
};

async fn metric(server: &Server, row: &str) -> u64 {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client can be built");
    let metrics = Answer::of(client.get(format!("{}/metrics", server.ops_url()))).await.text;
    let line = metrics.lines().find_map(|line| line.strip_prefix(row)).unwrap_or_else(|| panic!("{row} in {metrics}"));
    line.trim().parse().expect("a counter is a number")
}

/// Publishes a hundred messages, which arrive, and ends the server in time.
async fn goes_on(server: &Server, tenant: &Tenant) {
    let mut socket = tenant.join("ann").await;
    socket.subscribe("chat:1").await;
    for n in 0..100 {
        let body = json!({"data": n});
        super::publish_traced(tenant, "/v1/channels/chat:1/messages", CALLER, body).await;
    }
    let serials: Vec<_> = socket.messages(100).await.iter().map(|message| message["data"].as_u64()).collect();
    assert_eq!(serials, (0..100).map(Some).collect::<Vec<_>>(), "{}", server.stderr());
}

async fn ends_in_time(mut server: Server) -> String {
    let begun = Instant::now();
    assert!(server.terminate().await.success());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    server.stderr()
}

#[actix_web::test]
async fn a_collector_that_is_away_costs_a_line_in_the_log() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("there is a free port").local_addr().expect("it is bound");
    let options = Options::default().env("FANFARE_OTLP_ENDPOINT", &format!("http://{nobody}"));
    let server = Server::start(options).await;
    let tenant = Tenant::sign_up(&server).await;
    goes_on(&server, &tenant).await;
    let told = "The endpoint did not take";
    until("the loss is told", async || server.stderr().contains(told).then_some(())).await;
    assert!(metric(&server, "fanfare_spans_dropped_total{reason=\"export_failed\"}").await > 0);
    assert_eq!(metric(&server, "fanfare_spans_exported_total").await, 0);
    goes_on(&server, &tenant).await;
    assert_eq!(server.stderr().matches(told).count(), 1, "{}", server.stderr());
    ends_in_time(server).await;
}

#[actix_web::test]
async fn a_collector_that_never_answers_keeps_nobody_waiting() {
    let mute = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let endpoint = format!("http://{}", mute.local_addr().expect("it is bound"));
    let server = Server::start(Options::default().env("FANFARE_OTLP_ENDPOINT", &endpoint)).await;
    let tenant = Tenant::sign_up(&server).await;
    goes_on(&server, &tenant).await;
    let log = ends_in_time(server).await;
    assert!(log.contains("The last spans could not be exported in time"), "{log}");
}
