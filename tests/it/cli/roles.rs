//! `fanfare api`, `gateway` and `worker` as processes: what each serves, what its readiness stands on, what it waits for, how it ends.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::join;

use crate::harness::{
    engines::Engines,
    nodes::Production,
    ports::free_port,
    proxy::Proxy,
    server::{Options, Server},
    sockets::Socket,
    stalls::Stalls,
    tenants::{Answer, Tenant},
    waiting::until,
};

async fn get(url: &str) -> Answer {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client can be built");
    Answer::of(client.get(url)).await
}

/// What `/readyz` says; `None` while nobody listens.
async fn readiness(ops_url: &str) -> Option<Value> {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client can be built");
    client.get(format!("{ops_url}/readyz")).send().await.ok()?.json().await.ok()
}

#[actix_web::test]
async fn each_role_serves_its_own_part_is_ready_by_its_own_dependencies_and_ends_in_order() {
    let production = Production::start(4).await;
    let (mut api, mut gateway, mut worker) =
        join!(production.node("api"), production.node("gateway"), production.node("worker"));
    let needs = |report: &Value, name: &str| {
        let check = &report["checks"][name];
        assert_eq!(check["ok"], true, "{report}");
        check["optional"] != true
    };
    for (node, needed, told) in [
        (&api, &["queue", "process"][..], &["database", "bus"][..]),
        (&gateway, &["bus", "process"], &["database", "queue"]),
        (&worker, &["worker", "process"], &["database", "bus"]),
    ] {
        // What is not needed may still be on its way when a node is ready.
        let report = until("everything is there", async || {
            let report = readiness(node.ops_url()).await.expect("it listens");
            assert_eq!(report["ready"], true, "{report}");
            let checks = report["checks"].as_object().expect("checks");
            checks.values().all(|check| check["ok"] == true).then(|| report.clone())
        })
        .await;
        assert!(needed.iter().all(|name| needs(&report, name)), "{report}");
        assert!(told.iter().all(|name| !needs(&report, name)), "{report}");
    }
    for path in ["/v1/connect", "/v1/sse", "/v1/poll", "/test/echo"] {
        get(&format!("{}{path}", api.url())).await.expect_problem(404, "not_found");
    }
    for path in ["/v1/me", "/docs", "/", "/healthz"] {
        let answer = get(&format!("{}{path}", gateway.url())).await;
        assert!(answer.headers.contains_key("x-request-id"), "{path}");
        assert_eq!(answer.body["request_id"], answer.headers["x-request-id"].to_str().unwrap(), "{path}");
        answer.expect_problem(404, "not_found");
    }
    assert_eq!(worker.url(), worker.ops_url(), "a worker has one address");

    let tenant = Tenant::sign_up(&api).await;
    let mut ann = Socket::connect(gateway.url(), &tenant.full_token("ann").await).await;
    ann.subscribe("chat:1").await;
    assert_eq!(tenant.publish("chat:1", json!("hello")).await, 1);
    assert_eq!(ann.messages(1).await[0]["data"], "hello");
    for node in [&mut gateway, &mut api, &mut worker] {
        let (begun, stalls) = (Instant::now(), Stalls::begin());
        let status = node.terminate().await;
        let took = begun.elapsed();
        assert!(status.success(), "{status}\n{}", node.stderr());
        // The log tells when each of its phases began.
        let log = node.stderr();
        let phases = log.find("Shutting down").map_or("", |at| &log[log[..at].rfind('\n').unwrap_or(0)..]);
        stalls.hold(&format!("the end{phases}"), took, Duration::from_secs(5));
    }
    assert!(worker.stderr().contains("All partitions are handed over"), "{}", worker.stderr());
}

#[actix_web::test]
async fn a_gateway_without_a_worker_is_alive_and_says_what_it_waits_for() {
    let production = Production::start(4).await;
    let ops = format!("127.0.0.1:{}", free_port());
    let gateway = production.node_with(Options::role("gateway").env("FANFARE_OPS_LISTEN", &ops));
    let url = format!("http://{ops}");
    let waiting = async {
        let report = until("the gateway listens", async || readiness(&url).await).await;
        assert_eq!((&report["ready"], &report["checks"]["bus"]["ok"]), (&json!(false), &json!(false)), "{report}");
        assert_eq!(report["checks"]["bus"]["problem"], "no worker's beat has arrived yet", "{report}");
        assert_eq!(get(&format!("{url}/healthz")).await.status, 200);
        assert_eq!(get(&format!("{url}/readyz")).await.status, 503);
        production.node("worker").await
    };
    let (gateway, _worker) = join!(gateway, waiting);
    assert_eq!(get(&format!("{}/readyz", gateway.ops_url())).await.status, 200);
}

#[actix_web::test]
async fn engines_that_are_away_at_the_start_are_waited_for() {
    let engines = Engines::own().await;
    let mut migrate = crate::harness::server::fanfare();
    super::run(migrate.arg("migrate").envs(engines.env())).succeeded();
    for (variable, role, waits_for) in [
        ("FANFARE_DATABASE_URL", "api", "Waiting for Postgres"),
        ("FANFARE_AMQP_URL", "api", "Waiting until it is ready: queue"),
        ("FANFARE_REDIS_URL", "serve", "Waiting until it is ready: bus"),
    ] {
        let url = engines.env().into_iter().find(|(name, _)| *name == variable).expect("it is set").1;
        let port = url.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(['/', '?']).next()).expect("a port");
        let proxy = Proxy::start(port.parse().expect("a port is a number")).await;
        proxy.cut();
        let through = url.replace(&format!(":{port}"), &format!(":{}", proxy.port()));
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("stderr.log");
        let options = engines.env().into_iter().fold(Options::role(role), |options, (name, value)| {
            options.env(name, if name == variable { &through } else { &value })
        });
        let started = Server::start_in(folder, options);
        let waiting = async {
            let said = async || std::fs::read_to_string(&log).ok().filter(|said| said.contains(waits_for));
            let said = until(waits_for, said).await;
            assert!(!said.contains("guest:guest"), "{said}");
            proxy.restore();
        };
        let (mut server, ()) = join!(started, waiting);
        assert!(server.terminate().await.success(), "{}", server.stderr());
    }
}
