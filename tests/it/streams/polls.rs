//! Long-poll: at once, or when something comes, or empty when the time is up.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{
    streams::{polls_are_in, serials},
    tenants::start,
};

#[tokio::test]
async fn a_first_poll_brings_the_heads_and_the_next_what_came_since() {
    let (_server, tenant) = start().await;
    tenant.publish("chat:1", json!("before")).await;
    let token = tenant.full_token("ann").await;
    let channels = "channel=chat:1&channel=chat:2";
    let (messages, cursor) = tenant.polled(&token, channels).await;
    assert_eq!(messages, [] as [Value; 0]);
    for number in 2..=3 {
        tenant.publish("chat:1", json!(number)).await;
    }
    let next = format!("{channels}&cursor={cursor}&wait_ms=0");
    let (messages, cursor) = tenant.polled(&token, &next).await;
    assert_eq!(serials(&messages), [2, 3]);
    assert!(messages.iter().all(|message| message["op"] == "message" && message["channel"] == "chat:1"));
    let (again, _) = tenant.polled(&token, &next).await;
    assert_eq!(again, messages, "a poll that is repeated brings the same");
    let (messages, after) = tenant.polled(&token, &format!("{channels}&cursor={cursor}&wait_ms=0")).await;
    assert_eq!((messages.len(), after), (0, cursor));
}

#[tokio::test]
async fn a_poll_waits_for_what_comes_and_no_longer_than_it_was_told() {
    let (server, tenant) = start().await;
    let token = tenant.full_token("ann").await;
    let (_, cursor) = tenant.polled(&token, "channel=chat:1").await;
    let query = format!("channel=chat:1&cursor={cursor}");
    let waiting = async {
        let polled = tenant.polled(&token, &query).await;
        (polled, Instant::now())
    };
    let publishing = async {
        polls_are_in(&server, 2).await;
        tenant.publish("chat:1", json!(1)).await;
        Instant::now()
    };
    let (((messages, cursor), answered), published) = tokio::join!(waiting, publishing);
    assert_eq!(serials(&messages), [1]);
    assert!(answered.saturating_duration_since(published) < Duration::from_secs(5));

    let begun = Instant::now();
    let (messages, _) = tenant.polled(&token, &format!("channel=chat:1&cursor={cursor}&wait_ms=700")).await;
    assert_eq!(messages.len(), 0);
    assert!(begun.elapsed() >= Duration::from_millis(700) && begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_poll_tells_what_is_lost_and_brings_the_rest() {
    let (_server, tenant) = start().await;
    tenant.rule("chat", json!({"history": {"retention_s": 3_600, "max_messages": 2}})).await;
    let token = tenant.full_token("ann").await;
    let (_, cursor) = tenant.polled(&token, "channel=chat:1").await;
    for number in 1..=5 {
        tenant.publish("chat:1", json!(number)).await;
    }
    let (messages, cursor) = tenant.polled(&token, &format!("channel=chat:1&cursor={cursor}")).await;
    assert_eq!(messages[0], json!({"op": "gap", "channel": "chat:1", "from": 1, "to": 3}));
    assert_eq!(serials(&messages[1..]), [4, 5]);
    tenant.rule("chat", json!({"history": null})).await;
    let (messages, cursor) = tenant.polled(&token, &format!("channel=chat:1&cursor={cursor}&wait_ms=0")).await;
    assert_eq!(messages.len(), 0, "a channel that keeps nothing any more goes on from its head: {messages:?}");
    tenant.polled(&token, &format!("channel=chat:1&cursor={cursor}&wait_ms=0")).await;
}

#[tokio::test]
async fn a_waiting_poll_ends_with_the_key_and_is_answered_by_a_node_that_goes() {
    let (mut server, tenant) = start().await;
    let second = tenant.with_key(json!({"name": "second"})).await;
    let token = second.full_token("ann").await;
    let (_, cursor) = tenant.polled(&token, "channel=chat:1").await;
    let query = format!("channel=chat:1&cursor={cursor}");
    let revoking = async {
        polls_are_in(&server, 2).await;
        let key = format!("/v1/apps/{}/keys/{}", tenant.app, second.key);
        tenant.control(Method::DELETE, &key, Value::Null).await.expect(StatusCode::NO_CONTENT);
    };
    let (answer, ()) = tokio::join!(tenant.poll(&token, &query), revoking);
    answer.expect_problem(401, "bad_key");

    let token = tenant.full_token("ann").await;
    let ending = async {
        polls_are_in(&server, 3).await;
        server.terminate().await
    };
    let (answer, status) = tokio::join!(tenant.poll(&token, &query), ending);
    assert!(status.success());
    assert_eq!(answer.expect(StatusCode::OK)["messages"], json!([]));
}

#[tokio::test]
async fn a_poll_that_asks_for_presence_and_occupancy_is_answered_by_who_enters_and_leaves() {
    let (server, tenant) = start().await;
    let token = tenant.full_token("ann").await;
    let mut bob = tenant.join("bob").await;
    let (_, cursor) = tenant.polled(&token, "channel=chat:1").await;
    let query = format!("channel=chat:1&cursor={cursor}");
    for (turn, action) in (2..).zip(["enter", "leave"]) {
        let acting = async {
            polls_are_in(&server, turn).await;
            bob.ask(json!({"op": "presence", "channel": "chat:1", "action": action})).await;
        };
        let presence = format!("{query}&presence=true");
        let ((messages, after), ()) = tokio::join!(tenant.polled(&token, &presence), acting);
        let [event] = messages.as_slice() else { panic!("{messages:?}") };
        assert_eq!(
            (&event["op"], &event["action"], &event["client"]),
            (&json!("presence"), &json!(action), &json!("bob"))
        );
        assert!(event.get("id").is_none() && after == cursor, "{event}");
    }
    // The first count of a connection is a change, so a poll that asks for it does not wait long.
    let (messages, after) = tenant.polled(&token, &format!("{query}&occupancy=true")).await;
    let [event] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!(
        (&event["op"], &event["channel"], &event["subscribers"]),
        (&json!("occupancy"), &json!("chat:1"), &json!(1))
    );
    assert!(event.get("id").is_none() && after == cursor, "{event}");
}

#[tokio::test]
async fn no_page_is_larger_than_a_mebibyte() {
    const MESSAGES: u64 = 40;
    let (_server, tenant) = start().await;
    let token = tenant.full_token("ann").await;
    let (_, mut cursor) = tenant.polled(&token, "channel=chat:1").await;
    let text = "x".repeat(60_000);
    for serial in 1..=MESSAGES {
        assert_eq!(tenant.publish("chat:1", json!(text)).await, serial);
    }
    let (mut next, mut pages) = (1, 0);
    while next <= MESSAGES {
        let answer = tenant.poll(&token, &format!("channel=chat:1&cursor={cursor}")).await;
        assert!(answer.text.len() <= 1024 * 1024, "{} bytes", answer.text.len());
        let page = answer.expect(StatusCode::OK);
        for serial in serials(page["messages"].as_array().expect("messages")) {
            assert_eq!(serial, next);
            next += 1;
        }
        page["cursor"].as_str().expect("a cursor").clone_into(&mut cursor);
        pages += 1;
    }
    assert!((3..=6).contains(&pages), "{MESSAGES} messages of 60 KB came in {pages} pages");
}
