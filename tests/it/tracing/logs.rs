//! The log of a request names its trace.

use reqwest::Method;
use serde_json::{Value, json};

use super::{CALLER, TRACE, collector::Collector, exporting, publish_traced};
use crate::harness::{
    server::{Options, Server},
    tenants::{Answer, Tenant},
    waiting::until,
};

const PATH: &str = "/v1/channels/chat:1/messages?ack=persisted";

fn in_json() -> Options {
    Options::default().env("FANFARE_LOG", "debug").env("FANFARE_LOG_FORMAT", "json")
}

/// The log's lines, each of which is an object with the fields that all have.
fn lines(log: &str) -> Vec<Value> {
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    for line in &lines {
        for field in ["timestamp", "level", "target", "message"] {
            assert!(line[field].is_string(), "`{field}` is missing: {line}");
        }
    }
    lines
}

/// The line that says how a request was answered.
async fn answered(server: &Server, request: &str) -> Value {
    until("the answer is logged", async || {
        let log = server.stderr();
        // The last line may still be half written.
        let whole = &log[..log.rfind('\n').map_or(0, |end| end + 1)];
        lines(whole).into_iter().find(|line| {
            line["span"]["request.id"] == request
                && line["message"].as_str().is_some_and(|text| text.starts_with("Answered"))
        })
    })
    .await
}

#[actix_web::test]
async fn a_request_that_comes_with_a_trace_is_logged_with_its_id_though_nothing_is_exported() {
    let server = Server::start(in_json()).await;
    let tenant = Tenant::sign_up(&server).await;
    let publish =
        |id: &str| tenant.request(Method::POST, PATH).bearer_auth(tenant.credential()).header("x-request-id", id);
    let body = json!({"data": 1});
    Answer::of(publish("traced").header("traceparent", CALLER).json(&body)).await.expect(reqwest::StatusCode::CREATED);
    Answer::of(publish("untraced").json(&body)).await.expect(reqwest::StatusCode::CREATED);
    Answer::of(publish("odd").header("traceparent", "00-x\"y").json(&body)).await.expect(reqwest::StatusCode::CREATED);

    let line = answered(&server, "traced").await;
    assert_eq!(line["span"]["trace.id"], TRACE, "{line}");
    assert_eq!((&line["level"], &line["http.status"]), (&json!("DEBUG"), &json!(201)));
    assert_eq!(line["span"]["http.method"], "POST");
    for request in ["untraced", "odd"] {
        let line = answered(&server, request).await;
        assert!(line["span"].get("trace.id").is_none(), "{line}");
    }
}

#[actix_web::test]
async fn a_publish_whose_trace_begins_here_is_logged_with_its_id() {
    let mut collector = Collector::start().await;
    let (server, tenant) = exporting(&collector, in_json()).await;
    let request =
        tenant.request(Method::POST, PATH).bearer_auth(tenant.credential()).header("x-request-id", "begun-here");
    Answer::of(request.json(&json!({"data": 1}))).await.expect(reqwest::StatusCode::CREATED);
    let publish = collector.one("publish").await;
    let line = answered(&server, "begun-here").await;
    assert_eq!(line["span"]["trace.id"], publish.trace.as_str(), "{line}");
    publish_traced(&tenant, PATH, CALLER, json!({"data": 1})).await;
    collector.named("publish", 2).await;
    assert!(!server.stderr().contains("fanfare_traces"), "what is exported is not logged as well");
}
