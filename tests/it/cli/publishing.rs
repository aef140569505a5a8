//! `fanfare publish` and `fanfare token` against a running server.

use std::process::Command;

use serde_json::{Value, json};

use super::run;
use crate::harness::{
    server::{Options, Server, fanfare},
    tenants::Tenant,
};

fn publish(tenant: &Tenant, args: &[&str]) -> Command {
    let mut command = fanfare();
    command.arg("publish").args(args).env("FANFARE_URL", &tenant.url).env("FANFARE_KEY", tenant.credential());
    command
}

#[actix_web::test]
async fn what_is_published_is_in_history_as_it_was_given() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let answer =
        run(&mut publish(&tenant, &["chat:1", r#"{"text": "hi"}"#, "--name", "said", "--persisted"])).succeeded();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["serial"], 1);
    run(&mut publish(&tenant, &["chat:1", "-5"])).succeeded();
    run(&mut publish(&tenant, &["chat:1", "no JSON", "--text"])).succeeded();
    let history = tenant.history("chat:1").await;
    let data: Vec<&Value> = history.iter().map(|item| &item["data"]).collect();
    assert_eq!(data, [&json!({"text": "hi"}), &json!(-5), &json!("no JSON")]);
    assert_eq!((&history[0]["name"], &history[0]["id"]), (&json!("said"), &answer["message"]));
}

#[actix_web::test]
async fn an_idempotency_key_makes_a_repeat_safe() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let args = ["orders", "7", "--idempotency-key", "order-7", "--persisted"];
    let first = run(&mut publish(&tenant, &args)).succeeded();
    assert_eq!(run(&mut publish(&tenant, &args)).succeeded(), first);
    let other = ["orders", "8", "--idempotency-key", "order-7"];
    run(&mut publish(&tenant, &other)).failed_saying(&["idempotency_conflict", "new key"]);
}

#[actix_web::test]
async fn what_is_refused_comes_with_its_remedy() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    run(&mut publish(&tenant, &["chat:1", "hi"])).failed_saying(&["not JSON", "--text"]);
    run(&mut publish(&tenant, &["chat 1", "1"])).failed_saying(&["channel", "1 to 200 bytes"]);
    let stranger = format!("{}.fs_{}", tenant.key, "x".repeat(43));
    run(publish(&tenant, &["chat:1", "1"]).env("FANFARE_KEY", stranger)).failed_saying(&["bad_key", "revoked"]);
    run(publish(&tenant, &["chat:1", "1"]).env_remove("FANFARE_KEY")).failed_saying(&["no API key", "FANFARE_KEY"]);
    run(publish(&tenant, &["chat:1", "1"]).env("FANFARE_URL", "https://127.0.0.1:1"))
        .failed_saying(&["did not answer"]);
}

#[actix_web::test]
async fn a_server_that_is_away_is_said_to_be() {
    let mut server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    server.kill9().await;
    run(&mut publish(&tenant, &["chat:1", "1"])).failed_saying(&["did not answer", "fanfare serve"]);
}

#[actix_web::test]
async fn a_token_minted_here_is_good_there() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let mint = |args: &[&str]| run(fanfare().arg("token").args(args).env("FANFARE_KEY", tenant.credential()));
    let token = mint(&["--client", "ann", "--cap", "chat:*=publish", "--ttl", "5m"]).succeeded();
    let sent = tenant.request(reqwest::Method::POST, "/v1/channels/chat:1/messages").bearer_auth(token.trim());
    assert_eq!(sent.json(&json!({"data": 1})).send().await.unwrap().status(), 202);
    let sent = tenant.request(reqwest::Method::POST, "/v1/channels/news/messages").bearer_auth(token.trim());
    assert_eq!(sent.json(&json!({"data": 1})).send().await.unwrap().status(), 403);
    assert_eq!(tenant.history("chat:1").await[0]["client"], "ann");
    mint(&["--cap", "chat:*=dance"]).failed_saying(&["`dance`", "subscribe, publish, presence and history"]);
    mint(&["--ttl", "2days"]).failed_saying(&["1s to 24h"]);
}
