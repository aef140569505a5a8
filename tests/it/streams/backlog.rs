//! A long absence: 50,000 messages in order and then what is live, while what waits in memory stays under its bound.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::harness::{
    metrics::most_held,
    tenants::{Tenant, start},
};

const MESSAGES: u64 = 50_000;
/// The bound of one connection in the plan that the tests run on.
const OUTBOX_BYTES: f64 = 4.0 * 1024.0 * 1024.0;

/// Publishes so many messages after the first, in order.
async fn publish_many(tenant: &Tenant, channel: &str) {
    for batch in 0..MESSAGES / 1_000 {
        let number = |at| 2 + batch * 1_000 + at;
        let messages: Vec<_> = (0..1_000).map(|at| json!({"channel": channel, "data": {"n": number(at)}})).collect();
        let answer = tenant.data(Method::POST, "/v1/messages", json!({"messages": messages})).await;
        let results = answer.expect(StatusCode::OK)["results"].clone();
        assert!(results.as_array().expect("results").iter().all(|result| result["message"].is_string()), "{results}");
    }
    tenant.reaches(channel, MESSAGES + 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_thousand_messages_are_resumed_over_streams_and_polls_within_the_bound() {
    let (server, tenant) = start().await;
    let token = tenant.full_token("ann").await;
    let mut stream = tenant.stream(&token, "channel=chat:1", None).await;
    stream.next_of("open").await;
    tenant.publish("chat:1", json!({"n": 1})).await;
    stream.serials(1..=1).await;
    let cursor = stream.last_id.clone();
    drop(stream);
    publish_many(&tenant, "chat:1").await;

    let streamed = async {
        let mut stream = tenant.stream(&token, "channel=chat:1", Some(&cursor)).await;
        stream.next_of("open").await;
        for serial in 2..=MESSAGES + 1 {
            let data = stream.next_of("message").await.data;
            assert_eq!((&data["serial"], &data["data"]["n"]), (&json!(serial), &json!(serial)));
        }
        tenant.publish("chat:1", json!("live")).await;
        assert_eq!(stream.next_of("message").await.data["serial"], MESSAGES + 2);
    };
    let held = most_held(&server, streamed).await;
    assert!(held <= OUTBOX_BYTES, "{held} bytes waited");

    let polled = async {
        let (mut cursor, mut next, mut pages) = (cursor.clone(), 2, 0);
        while next <= MESSAGES + 2 {
            let (messages, after) = tenant.polled(&token, &format!("channel=chat:1&cursor={cursor}")).await;
            for message in &messages {
                assert_eq!(message["serial"], next, "{message}");
                next += 1;
            }
            (cursor, pages) = (after, pages + 1);
        }
        assert!(pages < 30, "{pages} pages");
        tenant.publish("chat:1", json!("live")).await;
        let (messages, _) = tenant.polled(&token, &format!("channel=chat:1&cursor={cursor}")).await;
        assert_eq!((messages.len(), &messages[0]["serial"]), (1, &json!(MESSAGES + 3)));
    };
    let held = most_held(&server, polled).await;
    assert!(held <= OUTBOX_BYTES, "{held} bytes waited");
}
