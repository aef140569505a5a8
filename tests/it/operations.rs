//! The operations listener: alive, ready, and the metrics, apart from the public.

use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use fanfare_domain::metrics::{Kind, Metric};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{
    metrics::Metrics,
    server::{Options, Server},
    tenants::{Answer, Tenant},
};

async fn get(base: &str, path: &str) -> Answer {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client can be built");
    Answer::of(client.get(format!("{base}{path}"))).await
}

#[actix_web::test]
async fn a_server_that_listens_is_alive_and_ready() {
    let server = Server::start(Options::default()).await;
    let alive = get(server.ops_url(), "/healthz").await;
    assert_eq!(alive.status, 200, "{}", alive.text);
    let ready = get(server.ops_url(), "/readyz").await;
    assert_eq!((ready.status, &ready.body["ready"]), (200, &json!(true)), "{}", ready.text);
    let checks = ready.body["checks"].as_object().expect("checks");
    for name in ["database", "queue", "bus", "process"] {
        assert_eq!(checks[name]["ok"], true, "{name}: {}", ready.text);
    }
    assert_eq!(ready.headers["cache-control"], "no-store");
}

#[actix_web::test]
async fn a_server_that_cannot_store_is_not_ready_until_it_can() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let file = server.data_dir().join("fanfare.db");
    let mut other = SqliteConnection::establish(file.to_str().expect("a path in UTF-8")).expect("the database opens");
    other.batch_execute("begin immediate").expect("nobody writes");
    let path = "/v1/channels/a/messages";
    tenant.data(Method::POST, path, json!({"data": 1})).await.expect_problem(503, "unconfirmed");
    let report = get(server.ops_url(), "/readyz").await;
    let problem = |report: &Answer, check: &str| report.body["checks"][check]["problem"].clone();
    assert_eq!((report.status, problem(&report, "database")), (503, json!("a write took too long")), "{}", report.text);
    assert_eq!(problem(&report, "queue"), "the last publishes could not be stored", "{}", report.text);

    drop(other);
    let report = get(server.ops_url(), "/readyz").await;
    assert_eq!((report.status, problem(&report, "database")), (503, Value::Null), "{}", report.text);
    assert_eq!(problem(&report, "queue"), "the last publishes could not be stored", "{}", report.text);
    tenant.publish("a", json!(2)).await;
    let report = get(server.ops_url(), "/readyz").await;
    assert_eq!((report.status, &report.body["ready"]), (200, &json!(true)), "{}", report.text);
}

#[actix_web::test]
async fn each_listener_serves_its_own_and_nothing_of_the_other() {
    let server = Server::start(Options::default()).await;
    for path in ["/healthz", "/readyz", "/metrics"] {
        get(server.url(), path).await.expect_problem(404, "not_found");
    }
    for path in ["/", "/docs", "/demo", "/openapi.json", "/v1/me", "/v1/connect", "/v1/signup", "/test/echo"] {
        assert_eq!(get(server.ops_url(), path).await.status, 404, "{path}");
    }
}

#[actix_web::test]
async fn every_metric_is_there_with_its_kind_and_help() {
    let server = Server::start(Options::default()).await;
    let metrics = Metrics::of(&server).await;
    for metric in Metric::ALL {
        let (name, kind) = (metric.name(), metric.kind().name());
        assert!(metrics.0.contains(&format!("# TYPE {name} {kind}\n")), "{name} in\n{}", metrics.0);
        assert!(metrics.0.contains(&format!("# HELP {name} {}\n", metric.help())), "{name} in\n{}", metrics.0);
        match (metric.kind(), metric.label()) {
            (Kind::Histogram, _) => drop(metrics.sample(&format!("{name}_count"))),
            (_, None) => drop(metrics.sample(name)),
            (_, Some(label)) => assert!(metrics.0.contains(&format!("{name}{{{label}=\"")), "{name}"),
        }
    }
    for reason in ["ephemeral_overflow", "slow_consumer"] {
        assert_eq!(metrics.sample(&format!("fanfare_drops_total{{reason=\"{reason}\"}}")), 0.0);
    }
    let undocumented = metrics.0.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let undocumented: Vec<_> =
        undocumented.filter(|name| !Metric::ALL.iter().any(|metric| metric.name() == *name)).collect();
    assert_eq!(undocumented, Vec::<&str>::new());
}

#[actix_web::test]
async fn metrics_tell_what_happened_and_name_nobody() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let before = Metrics::of(&server).await;
    let (mut ann, mut bob) = (tenant.join("client-marker-ann").await, tenant.join("client-marker-bob").await);
    ann.subscribe("channel-marker:1").await;
    bob.subscribe("channel-marker:1").await;
    for number in 0..3 {
        tenant.publish("channel-marker:1", json!(number)).await;
    }
    ann.messages(3).await;
    bob.messages(3).await;
    let repeated = json!({"data": 1, "idempotency_key": "once"});
    for _ in 0..2 {
        tenant.data(Method::POST, "/v1/channels/other/messages", repeated.clone()).await;
    }
    tenant
        .data(Method::POST, "/v1/channels/a%20b/messages", json!({"data": 1}))
        .await
        .expect_problem(422, "bad_channel");
    tenant.data(Method::POST, "/v1/channels/x/messages", json!({"data": "x".repeat(70_000)})).await;
    tenant.data(Method::GET, "/v1/channels/channel-marker:1/messages", Value::Null).await;
    ann.send_text("{").await;
    assert_eq!(ann.close_code().await, 4000);
    ann.ended().await;

    let after = Metrics::of(&server).await;
    let grown = |name: &str| after.sample(name) - before.sample(name);
    assert_eq!(grown("fanfare_deliveries_total"), 6.0);
    assert_eq!(after.sample("fanfare_publishes_total{outcome=\"message_too_large\"}"), 1.0);
    assert!(grown("fanfare_publishes_total{outcome=\"accepted\"}") >= 4.0);
    assert_eq!(grown("fanfare_append_messages_total"), 4.0, "a repeated key appends nothing");
    assert_eq!(grown("fanfare_history_reads_total{purpose=\"history\"}"), 1.0);
    assert_eq!(grown("fanfare_connections_closed_total{reason=\"malformed\"}"), 1.0);
    assert!(grown("fanfare_http_requests_total{status=\"4xx\"}") >= 2.0);
    assert!(grown("fanfare_http_requests_total{status=\"2xx\"}") >= 8.0);
    for histogram in [
        "fanfare_publish_seconds",
        "fanfare_delivery_seconds",
        "fanfare_append_seconds",
        "fanfare_http_request_seconds",
    ] {
        assert!(grown(&format!("{histogram}_count")) >= 1.0, "{histogram}");
        assert!(after.sample(&format!("{histogram}_sum")) < 60.0, "{histogram} is in seconds");
    }
    for (gauge, value) in [("fanfare_connections", 1.0), ("fanfare_sockets", 1.0), ("fanfare_subscriptions", 1.0)] {
        assert_eq!(after.sample(gauge), value, "{gauge}: bob is left");
    }
    assert_eq!(after.sample("fanfare_outbox_bytes"), 0.0);
    let names = [&tenant.app, &tenant.key, &tenant.tenant, &tenant.email, "channel-marker", "client-marker"];
    assert!(names.iter().all(|name| !after.0.contains(*name)), "{}", after.0);
}
