//! Webhooks as they are added, changed and refused.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::start_private;
use crate::harness::{tenants::start, webhooks::Receiver};

#[tokio::test]
async fn a_webhook_is_added_listed_shown_changed_and_removed() {
    let (_server, tenant) = start().await;
    let path = format!("/v1/apps/{}/webhooks", tenant.app);
    let events = ["channel_occupied", "member_added"];
    let added = tenant.add_webhook("https://example.com/hook", &events).await.expect(StatusCode::CREATED);
    let id = added["id"].as_str().expect("an id");
    assert!(id.starts_with("hook_"), "{id}");
    assert_eq!(
        (&added["url"], &added["format"], &added["events"], &added["enabled"]),
        (&json!("https://example.com/hook"), &json!("pusher"), &json!(events), &json!(true))
    );
    let own = format!("{path}/{id}");
    let list = tenant.control(Method::GET, &path, Value::Null).await.expect(StatusCode::OK);
    assert_eq!(list["items"], json!([added]));
    assert_eq!(tenant.control(Method::GET, &own, Value::Null).await.expect(StatusCode::OK), added);
    let changes = json!({"enabled": false, "events": ["cache_miss"], "url": "https://example.com/other"});
    let changed = tenant.control(Method::PATCH, &own, changes.clone()).await.expect(StatusCode::OK);
    for field in ["enabled", "events", "url"] {
        assert_eq!(changed[field], changes[field]);
    }
    tenant.control(Method::DELETE, &own, Value::Null).await.expect(StatusCode::NO_CONTENT);
    tenant.control(Method::GET, &own, Value::Null).await.expect_problem(404, "not_found");
    tenant.control(Method::PATCH, &own, json!({})).await.expect_problem(404, "not_found");
    for _ in 0..20 {
        tenant.webhook("https://example.com/hook", &["cache_miss"]).await;
    }
    tenant.add_webhook("https://example.com/hook", &["cache_miss"]).await.expect_problem(409, "plan_limit");
}

#[tokio::test]
async fn what_is_no_webhook_is_refused_by_its_field() {
    let (_server, tenant) = start().await;
    let path = format!("/v1/apps/{}/webhooks", tenant.app);
    let good = json!({"url": "https://example.com/", "format": "pusher", "events": ["cache_miss"]});
    for (field, wrong, pointer) in [
        ("url", json!("http://example.com/"), "/url"),
        ("url", json!("https://127.0.0.1/"), "/url"),
        ("url", json!("https://10.0.0.1/"), "/url"),
        ("url", json!("https://[::1]/"), "/url"),
        ("url", json!("https://169.254.169.254/latest"), "/url"),
        ("url", json!("https://localhost/"), "/url"),
        ("url", json!("https://ann:secret@example.com/"), "/url"),
        ("format", json!("soketi"), "/format"),
        ("events", json!([]), "/events"),
        ("events", json!(["channel_existence"]), "/events/0"),
        ("events", json!(["cache_miss", "cache_miss"]), "/events/1"),
    ] {
        let mut body = good.clone();
        body[field] = wrong;
        let problem = tenant.control(Method::POST, &path, body).await.expect_problem(422, "invalid_body");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{problem}");
    }
}

#[tokio::test]
async fn without_the_switch_nothing_on_this_machine_is_told_whatever_is_stored() {
    let (mut server, tenant) = start_private().await;
    let receiver = Receiver::start().await;
    tenant.webhook(&receiver.url("/"), &["channel_occupied"]).await;
    let mut ann = tenant.join("ann").await;
    ann.subscribe("a").await;
    receiver.events("/", 1).await;
    drop(ann);
    server.terminate().await;
    server.set_env("FANFARE_WEBHOOK_ALLOW_PRIVATE", "false");
    server.restart().await;
    let mut ann = tenant.join("ann").await;
    ann.subscribe("b").await;
    crate::harness::waiting::until("the refusal is logged", async || {
        server.stderr().contains("A webhook takes no events").then_some(())
    })
    .await;
    assert_eq!(receiver.received().len(), 1);
    assert!(!server.stderr().contains(&receiver.url("/")), "no address is logged");
}
