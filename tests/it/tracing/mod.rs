//! One trace from a publisher's request to the fan-out, as a collector of OTLP sees it.

mod away;
mod collector;
mod logs;
mod processes;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{
    server::{Options, Server},
    tenants::{Answer, Tenant},
};
use collector::Collector;

/// What a caller sends who records its trace: `traceparent`, its trace and its span.
const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";

/// A server that exports to the collector, and a tenant on it.
async fn exporting(collector: &Collector, options: Options) -> (Server, Tenant) {
    let server = Server::start(options.env("FANFARE_OTLP_ENDPOINT", collector.url())).await;
    let tenant = Tenant::sign_up(&server).await;
    (server, tenant)
}

/// Publishes as a caller who sends this `traceparent`, and gives the answer.
async fn publish_traced(tenant: &Tenant, path: &str, traceparent: &str, body: Value) -> Value {
    let request = tenant.request(Method::POST, path).bearer_auth(tenant.credential());
    let answer = Answer::of(request.header("traceparent", traceparent).json(&body)).await;
    assert!(StatusCode::from_u16(answer.status).is_ok_and(|status| status.is_success()), "{}", answer.text);
    answer.body
}

#[actix_web::test]
async fn a_request_its_delivery_and_its_fan_out_are_one_trace() {
    let mut collector = Collector::start().await;
    let (_server, tenant) = exporting(&collector, Options::default()).await;
    let mut socket = tenant.join("ann").await;
    socket.subscribe("chat:1").await;
    let answer = publish_traced(&tenant, "/v1/channels/chat:1/messages", CALLER, json!({"data": 1})).await;
    socket.event_of("message").await;

    let publish = collector.one("publish").await;
    let deliver = collector.one("deliver").await;
    let fan_out = collector.one("fan_out").await;
    assert_eq!([&publish.trace, &deliver.trace, &fan_out.trace], [TRACE; 3]);
    assert_eq!(publish.parent, SPAN);
    assert_eq!((&deliver.parent, &fan_out.parent), (&publish.id, &deliver.id));
    for step in ["append", "send"] {
        let step = collector.one(step).await;
        assert_eq!((step.trace.as_str(), &step.parent), (TRACE, &deliver.id));
    }
    for span in [&publish, &deliver, &fan_out] {
        assert_eq!(span.attributes["message.id"], answer["message"].as_str().unwrap(), "{span:#?}");
        assert_eq!((&span.attributes["app.id"], span.service.as_str()), (&tenant.app, "fanfare"));
    }
}

#[actix_web::test]
async fn a_socket_s_publish_begins_a_trace_of_its_own() {
    let mut collector = Collector::start().await;
    let (_server, tenant) = exporting(&collector, Options::default()).await;
    let mut socket = tenant.join("ann").await;
    socket.subscribe("chat:1").await;
    for _ in 0..2 {
        socket.ask(json!({"op": "publish", "channel": "chat:1", "data": 1})).await;
    }
    socket.messages(2).await;
    let publishes = collector.named("publish", 2).await;
    let delivers = collector.named("deliver", 2).await;
    let fan_outs = collector.named("fan_out", 2).await;
    assert_ne!(publishes[0].trace, publishes[1].trace);
    for publish in &publishes {
        let deliver = delivers.iter().find(|deliver| deliver.trace == publish.trace).expect("it was delivered");
        let fan_out = fan_outs.iter().find(|fan_out| fan_out.trace == publish.trace).expect("it was fanned out");
        assert_eq!((publish.parent.as_str(), &deliver.parent, &fan_out.parent), ("", &publish.id, &deliver.id));
    }
}

#[actix_web::test]
async fn the_messages_of_a_request_share_its_span_and_an_ephemeral_one_goes_straight_to_the_fan_out() {
    let mut collector = Collector::start().await;
    let (_server, tenant) = exporting(&collector, Options::default()).await;
    let mut socket = tenant.join("ann").await;
    socket.subscribe("chat:1").await;
    let batch = json!({"messages": [
        {"channel": "chat:1", "data": 1},
        {"channel": "chat:1", "data": 2},
        {"channel": "chat:1", "data": 3, "ephemeral": true},
    ]});
    let answer = publish_traced(&tenant, "/v1/messages", CALLER, batch).await;
    socket.messages(3).await;

    let publish = collector.one("publish").await;
    assert_eq!((publish.parent.as_str(), publish.attributes["messages"].as_str()), (SPAN, "3"));
    let delivers = collector.named("deliver", 2).await;
    let fan_outs = collector.named("fan_out", 3).await;
    assert!(delivers.iter().all(|deliver| deliver.parent == publish.id), "{delivers:#?}");
    let ephemeral = answer["results"][2]["message"].as_str().unwrap();
    for fan_out in fan_outs {
        let id = &fan_out.attributes["message.id"];
        let deliver = delivers.iter().find(|deliver| deliver.attributes["message.id"] == *id);
        let parent = deliver.map_or(&publish.id, |deliver| &deliver.id);
        assert_eq!((deliver.is_none(), &fan_out.parent), (id == ephemeral, parent));
    }
}

#[actix_web::test]
async fn what_is_exported_names_ids_and_nothing_that_the_tenant_wrote() {
    let mut collector = Collector::start().await;
    let (mut server, tenant) = exporting(&collector, Options::default()).await;
    let token = tenant.full_token("client-marker").await;
    let mut socket = tenant.join("client-marker").await;
    socket.subscribe("channel-marker").await;
    let body = json!({
        "data": "payload-marker", "name": "event-marker", "headers": {"name-marker": "value-marker"},
        "client": "client-marker", "idempotency_key": "key-marker",
    });
    let path = "/v1/channels/channel-marker/messages";
    let answer = publish_traced(&tenant, path, CALLER, body.clone()).await;
    let mut request = body;
    (request["op"], request["channel"], request["idempotency_key"]) =
        (json!("publish"), json!("channel-marker"), json!("second-marker"));
    socket.ask(request).await;
    socket.messages(2).await;
    assert!(server.terminate().await.success());
    collector.take_all();

    assert_eq!(collector.named("fan_out", 2).await.len(), 2);
    let sent: Vec<_> = collector.bodies.iter().map(|body| String::from_utf8_lossy(body).into_owned()).collect();
    let is_sent = |text: &str| sent.iter().any(|body| body.contains(text));
    assert!(is_sent(answer["message"].as_str().unwrap()) && is_sent(&tenant.app), "ids are looked for rightly");
    assert!(!is_sent("-marker"), "{:#?}", collector.spans);
    for secret in [tenant.secret.as_str(), &tenant.key, &token, &tenant.email] {
        assert!(!is_sent(secret), "{:#?}", collector.spans);
    }
}

#[actix_web::test]
async fn what_ended_before_the_process_is_exported_before_it_is_gone() {
    let mut collector = Collector::start().await;
    let (mut server, tenant) = exporting(&collector, Options::default()).await;
    let path = "/v1/channels/chat:1/messages?ack=persisted";
    publish_traced(&tenant, path, CALLER, json!({"data": 1})).await;
    assert!(server.terminate().await.success());
    collector.take_all();
    let names: Vec<_> = collector.spans.iter().map(|span| span.name.as_str()).collect();
    for name in ["publish", "deliver", "append", "send"] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
}

#[actix_web::test]
async fn a_trace_that_its_caller_does_not_record_or_that_is_not_drawn_is_not_exported() {
    let unrecorded = format!("{}-00", CALLER.trim_end_matches("-01"));
    for (share, traceparent) in [("1", unrecorded.as_str()), ("0", CALLER)] {
        let mut collector = Collector::start().await;
        let (mut server, tenant) = exporting(&collector, Options::default().env("FANFARE_OTLP_SAMPLE", share)).await;
        let path = "/v1/channels/chat:1/messages?ack=persisted";
        publish_traced(&tenant, path, traceparent, json!({"data": 1})).await;
        assert!(server.terminate().await.success());
        collector.take_all();
        assert!(collector.spans.is_empty(), "{:#?}", collector.spans);
    }
}
