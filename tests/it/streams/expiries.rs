//! Tokens that end under streams and polls: whoever comes back with its cursor and a fresh token misses nothing and gets nothing twice.

use serde_json::json;

use crate::harness::{
    streams::serials,
    tenants::{Tenant, start},
    tokens::every_right,
};

/// A token that ends soon, and what was asked with it first, which it was good for; on a slow machine a very short one may end before it is looked at.
async fn with_short<T>(tenant: &Tenant, mut ask: impl AsyncFnMut(String) -> Option<T>) -> (String, T) {
    for ttl_s in [2.0, 4.0, 8.0, 16.0] {
        let token = tenant.short_token("ann", every_right(), ttl_s);
        if let Some(answer) = ask(token.clone()).await {
            return (token, answer);
        }
    }
    panic!("no token lived long enough");
}

#[tokio::test]
async fn a_stream_whose_token_ended_is_opened_again_at_its_cursor_with_a_fresh_one() {
    let (_server, tenant) = start().await;
    let fresh = tenant.full_token("ann").await;
    let mut first = tenant.stream(&fresh, "channel=chat:1", None).await;
    first.next_of("open").await;
    let mut last_id = first.last_id.clone();
    let (mut published, mut seen) = (0, 0);
    for _ in 0..2 {
        let (token, mut stream) = with_short(&tenant, async |token| {
            let request = tenant.request(reqwest::Method::GET, "/v1/sse?channel=chat:1");
            let response = request.bearer_auth(&token).header("last-event-id", &last_id).send().await;
            let response = response.expect("the server answers");
            (response.status() == 200).then(|| crate::harness::streams::EventStream::new(response))
        })
        .await;
        stream.next_of("open").await;
        let ended = loop {
            published += 1;
            assert_eq!(tenant.publish("chat:1", json!(published)).await, published);
            let event = stream.next().await.expect("an error comes before the end");
            if event.event == "error" {
                break event;
            }
            seen += 1;
            assert_eq!((event.event.as_str(), &event.data["serial"]), ("message", &json!(seen)));
            last_id.clone_from(&stream.last_id);
        };
        assert_eq!(ended.data["error"]["code"], "token_expired");
        assert_eq!(stream.next().await, None);
        tenant.refused_stream(&token, "channel=chat:1").await.expect_problem(401, "token_expired");
    }
    // What came while no stream was open, and what comes now.
    let mut stream = tenant.stream(&fresh, "channel=chat:1", Some(&last_id)).await;
    stream.next_of("open").await;
    published += 1;
    assert_eq!(tenant.publish("chat:1", json!(published)).await, published);
    assert!(seen + 2 < published, "{seen} of {published} were seen before");
    stream.serials(seen + 1..=published).await;
    // A token that may less opens nothing of which it may not everything.
    let narrow = tenant.token("ann", json!({"chat:2": ["subscribe"]})).await;
    let refused = tenant.refused_stream(&narrow, &format!("channel=chat:1&cursor={last_id}")).await;
    refused.expect_problem(403, "forbidden");
}

#[tokio::test]
async fn a_client_that_polls_goes_on_at_its_cursor_with_a_fresh_token() {
    let (_server, tenant) = start().await;
    let fresh = tenant.full_token("ann").await;
    let (_, mut cursor) = tenant.polled(&fresh, "channel=chat:1").await;
    let (mut published, mut seen) = (0, 0);
    let (token, ()) =
        with_short(&tenant, async |token| (tenant.poll(&token, "channel=chat:1").await.status == 200).then_some(()))
            .await;
    loop {
        published += 1;
        assert_eq!(tenant.publish("chat:1", json!(published)).await, published);
        let answer = tenant.poll(&token, &format!("channel=chat:1&cursor={cursor}")).await;
        if answer.status != 200 {
            answer.expect_problem(401, "token_expired");
            break;
        }
        for serial in serials(answer.body["messages"].as_array().expect("messages")) {
            seen += 1;
            assert_eq!(serial, seen);
        }
        answer.body["cursor"].as_str().expect("a cursor").clone_into(&mut cursor);
    }
    // This one waits while its token ends.
    let (waited, ()) =
        with_short(&tenant, async |token| (tenant.poll(&token, "channel=chat:2").await.status == 200).then_some(()))
            .await;
    let (_, other) = tenant.polled(&fresh, "channel=chat:2").await;
    tenant.poll(&waited, &format!("channel=chat:2&cursor={other}")).await.expect_problem(401, "token_expired");
    tenant.publish("chat:2", json!(1)).await;
    let (messages, _) = tenant.polled(&fresh, &format!("channel=chat:2&cursor={other}")).await;
    assert_eq!(serials(&messages), [1]);

    published += 1;
    assert_eq!(tenant.publish("chat:1", json!(published)).await, published);
    let (messages, _) = tenant.polled(&fresh, &format!("channel=chat:1&cursor={cursor}")).await;
    assert_eq!(serials(&messages), (seen + 1..=published).collect::<Vec<_>>());
    assert!(messages.len() >= 2, "what came while there was no good token is among them");
}
