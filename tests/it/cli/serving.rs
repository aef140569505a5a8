//! `fanfare serve` as a process: ready lines, operations, what it refuses, and how it ends.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use super::run;
use crate::harness::{
    server::{Options, Server, fanfare},
    stalls::Stalls,
    tenants::{Answer, Tenant},
};

async fn get(url: &str) -> Answer {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client can be built");
    Answer::of(client.get(url)).await
}

#[actix_web::test]
async fn a_server_that_says_so_is_ready_and_names_what_it_depends_on() {
    let server = Server::start(Options::default()).await;
    let ready = get(&format!("{}/readyz", server.ops_url())).await;
    assert_eq!(ready.status, 200, "{}", ready.text);
    assert_eq!(ready.body["ready"], true);
    for check in ["database", "queue", "bus"] {
        assert_eq!(ready.body["checks"][check], json!({"ok": true}), "{}", ready.text);
    }
    assert_eq!(get(&format!("{}/healthz", server.ops_url())).await.status, 200);
    let metrics = get(&format!("{}/metrics", server.ops_url())).await;
    assert!(metrics.text.contains("fanfare_connections 0"), "{}", metrics.text);
    assert_eq!(get(&format!("{}/metrics", server.url())).await.status, 404, "operations are not for the public");
}

#[actix_web::test]
async fn no_answer_names_the_software_and_every_answer_has_a_request_id() {
    let server = Server::start(Options::default()).await;
    for path in ["/", "/v1/me", "/v1/connect", "/nowhere"] {
        let answer = get(&format!("{}{path}", server.url())).await;
        assert!(!answer.headers.contains_key("server"), "{path}");
        assert!(answer.headers.contains_key("x-request-id"), "{path}");
    }
}

#[actix_web::test]
async fn a_second_process_on_the_same_folder_or_port_is_refused() {
    let server = Server::start(Options::default()).await;
    let listen = server.url().trim_start_matches("http://").to_owned();
    let second = |data_dir: &std::path::Path| {
        let mut command = fanfare();
        command
            .env("FANFARE_LISTEN", &listen)
            .env("FANFARE_OPS_LISTEN", "127.0.0.1:0")
            .env("FANFARE_DATA_DIR", data_dir);
        run(&mut command)
    };
    second(&server.data_dir()).failed_saying(&["in use by another process", "FANFARE_DATA_DIR"]);
    let other = tempfile::tempdir().unwrap();
    second(other.path()).failed_saying(&[&listen, "cannot be listened on", "FANFARE_LISTEN"]);
}

#[actix_web::test]
async fn a_server_ends_in_order_within_five_seconds_with_sockets_open_and_publishes_kept() {
    let mut server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let mut sockets = Vec::new();
    for n in 0..20 {
        let mut socket = tenant.join(&format!("client{n}")).await;
        socket.subscribe("chat:1").await;
        sockets.push(socket);
    }
    let serial = tenant.publish("chat:1", json!("kept")).await;
    let (begun, stalls) = (Instant::now(), Stalls::begin());
    let status = server.terminate().await;
    assert!(status.success(), "{status}\n{}", server.stderr());
    stalls.hold("the end", begun.elapsed(), Duration::from_secs(5));
    server.restart().await;
    let history = tenant.history("chat:1").await;
    assert_eq!((history.len(), &history[0]["serial"]), (1, &Value::from(serial)));
}

#[actix_web::test]
async fn addresses_that_others_reach_are_warned_of_in_the_log() {
    let server = Server::start(Options::default().env("FANFARE_LISTEN", "0.0.0.0:0")).await;
    assert!(server.url().starts_with("http://127.0.0.1:"), "{}", server.url());
    assert_eq!(server.stderr().matches("in the clear").count(), 1, "{}", server.stderr());
}

#[actix_web::test]
async fn the_demo_keeps_its_key_between_runs_and_shows_its_password_once() {
    let mut server = Server::start(Options::default().arg("--demo")).await;
    assert!(server.terminate().await.success());
    let file = server.data_dir().join("demo.key");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let key = fs::read_to_string(&file).unwrap();
    server.restart().await;
    assert!(server.terminate().await.success());
    assert_eq!(fs::read_to_string(&file).unwrap(), key);
    let printed = server.stdout();
    assert_eq!(printed.matches("shown this once").count(), 1, "{printed}");
    assert_eq!(printed.matches(&format!("Bearer {}'", key.trim())).count(), 2, "{printed}");
    assert!(!server.stderr().contains("fs_"), "a secret is in the log");
}
