//! The stock server libraries, as they come from their registries, with only host and port changed. `tests/run.sh` installs them.

use std::{path::Path, process::Command};

use super::start_pusher;
use crate::harness::{
    pusher::{Backend, socket_id},
    sockets::Socket,
    stock,
    waiting::until,
};
use reqwest::StatusCode;
use serde_json::json;

/// Runs a program of the library's, with a node to talk to and a connection to leave out; what it prints is what it saw.
async fn run(program: &Path, script: &str, backend: &Backend, excluded: &str) -> String {
    let (host, port) = backend.tenant.url.trim_start_matches("http://").split_once(':').expect("host and port");
    let mut command = Command::new(program);
    command
        .arg(script)
        .current_dir(stock::folder())
        .env("PUSHER_APP_ID", &backend.number)
        .env("PUSHER_KEY", &backend.tenant.key)
        .env("PUSHER_SECRET", &backend.tenant.secret)
        .env("PUSHER_HOST", host)
        .env("PUSHER_PORT", port)
        .env("PUSHER_EXCLUDED", excluded);
    let program = program.display().to_string();
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("waiting does not panic");
    let output = output.unwrap_or_else(|failure| panic!("{program}: {failure}; `tests/run.sh` installs what it needs"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{program} {script}: {said}\n{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// Two users in a presence channel of three connections, of whom one is to be left out.
async fn scene(backend: &Backend) -> Vec<Socket> {
    let mut sockets = Vec::new();
    for client in ["ann", "ann", "bob"] {
        let mut socket = backend.tenant.join(client).await;
        socket.subscribe("presence-room").await;
        socket.ask(json!({"op": "presence", "channel": "presence-room", "action": "enter"})).await;
        sockets.push(socket);
    }
    until("all are counted", async || {
        let shown = backend.get("/channels/presence-room", &[("info", "subscription_count")]).await;
        (shown.expect(StatusCode::OK)["subscription_count"] == 3).then_some(())
    })
    .await;
    sockets
}

/// What the scripts publish, in order, and whom they cut off.
async fn check(library: &str, program: &Path, script: &str) {
    let (_server, backend) = start_pusher().await;
    let mut sockets = scene(&backend).await;
    let mut bob = sockets.pop().expect("three");
    let excluded = socket_id(&bob.connected["connection"]);
    let said = run(program, script, &backend, &excluded).await;
    assert!(said.trim_end().ends_with(&format!("{library}: everything is as it should be")), "{said}");
    let expected = [
        ("said", json!({"text": "hällo", "n": [1, 2.5]})),
        ("plain", json!("just text")),
        ("others", json!({"left": "out"})),
        ("first", json!({"batch": 1})),
        ("second", json!({"batch": 2})),
    ];
    backend.tenant.reaches("presence-room", expected.len() as u64).await;
    let history = backend.tenant.history("presence-room").await;
    let kept: Vec<_> =
        history.iter().map(|item| (item["name"].as_str().expect("a name"), item["data"].clone())).collect();
    assert_eq!(kept, expected);
    for at in 0..expected.len() {
        assert_eq!(bob.event().await["op"], if at == 2 { "skip" } else { "message" });
    }
    for socket in &mut sockets {
        assert_eq!(socket.close_code().await, 4202);
    }
    bob.subscribe("still").await;
}

#[tokio::test]
async fn the_stock_library_for_node_works_unmodified() {
    check("node", Path::new("node"), "http.mjs").await;
}

#[tokio::test]
async fn the_stock_library_for_python_works_unmodified() {
    check("python", &stock::python(), "http_api.py").await;
}
