//! `fanfare serve --demo --dev-tls`, by nothing but what it prints.

use std::process::{Command, Stdio};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::harness::{
    authority::{client, connect, shown, trusting},
    server::{Options, Server, fanfare},
    sockets::PATIENCE,
    tenants::Answer,
    waiting::until,
};

/// The rest of the first line that begins so, once it is printed.
async fn printed(server: &Server, begin: &str) -> String {
    until(begin, async || {
        let lines = server.stdout();
        lines.lines().find_map(|line| line.trim().strip_prefix(begin)).map(|rest| rest.trim().to_owned())
    })
    .await
}

#[actix_web::test]
async fn the_lines_that_are_printed_work_as_they_are_and_the_certificate_is_kept() {
    let mut server = Server::start(Options::default().arg("--demo").arg("--dev-tls")).await;
    assert!(server.url().starts_with("https://127.0.0.1:"), "{}", server.url());
    let cert = printed(&server, "TLS: a certificate for development,").await;
    let pem = std::fs::read_to_string(&cert).expect("the certificate is where it says");
    let stream = connect(trusting(&pem, &[]), server.url()).await.expect("the certificate is trusted");
    let fingerprint: Vec<_> =
        <sha2::Sha256 as sha2::Digest>::digest(shown(&stream)).iter().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(printed(&server, "SHA-256").await, fingerprint.join(":"));
    let answer = Answer::of(client(trusting(&pem, &["h2"])).get(server.url())).await;
    assert!(answer.status == 200 && !answer.headers.contains_key("strict-transport-security"));

    // As a person does: the lines are pasted into a shell.
    let key = printed(&server, "FANFARE_KEY=").await.split(' ').next().expect("a key").to_owned();
    let mut tail = tokio::process::Command::from(fanfare());
    tail.args(["tail", "demo:hello", "--rewind", "1", "--url", server.url(), "--ca", &cert]).env("FANFARE_KEY", key);
    tail.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut tail = tail.spawn().expect("the binary can be started");
    let curl = format!("curl -sS --cacert {}", printed(&server, "curl --cacert").await);
    let fetched = Command::new("sh").args(["-c", &curl]).output().expect("curl is installed");
    assert!(fetched.status.success() && !fetched.stdout.is_empty(), "{curl}: {fetched:?}");
    let stdout = server.stdout();
    let publish = stdout.lines().find(|line| line.contains("/messages -H")).expect("a line that publishes").trim();
    let published = Command::new("sh").args(["-c", publish]).output().expect("curl is installed");
    assert!(published.status.success(), "{publish}: {published:?}");
    let mut lines = BufReader::new(tail.stdout.take().expect("standard output is piped")).lines();
    let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("a message comes");
    let line = line.expect("it is text").expect("the tail goes on");
    let message: Value = serde_json::from_str(&line).expect("a line is JSON");
    assert_eq!(message["data"]["text"], "hello", "{message}");

    assert!(server.terminate().await.success());
    server.restart().await;
    let again = connect(trusting(&pem, &[]), server.url()).await.expect("the certificate was kept");
    assert_eq!(shown(&again), shown(&stream));
    assert!(!server.stderr().contains("PRIVATE KEY"));
}
