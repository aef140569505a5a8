//! Retention: what is past it is told as lost or as a gap, and the rest follows.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{sockets::Socket, tenants::start};

async fn epoch(socket: &mut Socket, channel: &str) -> String {
    let page = socket.ask(json!({"op": "history", "channel": channel, "limit": 1})).await;
    page["epoch"].as_str().expect("an epoch").to_owned()
}

fn serials(messages: &[Value]) -> Vec<u64> {
    messages.iter().map(|message| message["serial"].as_u64().expect("a serial")).collect()
}

#[tokio::test]
async fn past_the_last_so_many_messages_a_resume_says_what_is_lost_and_brings_the_rest() {
    let (_server, tenant) = start().await;
    tenant.rule("chat", json!({"history": {"retention_s": 3_600, "max_messages": 3}})).await;
    for number in 1..=5 {
        tenant.publish("chat:1", json!(number)).await;
    }
    let mut socket = tenant.join("ann").await;
    let epoch = epoch(&mut socket, "chat:1").await;
    for (since, lost, expected) in
        [(0, Some(1), vec![3, 4, 5]), (1, Some(2), vec![3, 4, 5]), (2, None, vec![3, 4, 5]), (4, None, vec![5])]
    {
        let mut socket = tenant.join("ann").await;
        let ok = socket.resume("chat:1", &epoch, since).await;
        let lost = lost.map_or(Value::Null, |from| json!({"from": from, "to": 2}));
        assert_eq!(
            (&ok["resumed"], &ok["lost"], &ok["backlog"]),
            (&json!(lost.is_null()), &lost, &json!(expected.len()))
        );
        assert_eq!(serials(&socket.messages(expected.len()).await), expected);
    }
    let page = socket.ask(json!({"op": "history", "channel": "chat:1", "after": 0})).await;
    assert_eq!((serials(page["items"].as_array().expect("items")), &page["more"]), (vec![3, 4, 5], &json!(false)));
    let ok = socket.ask(json!({"op": "subscribe", "channel": "chat:1", "rewind": {"messages": 10}})).await;
    assert_eq!(ok["backlog"], 3);
    assert_eq!(serials(&socket.messages(3).await), [3, 4, 5]);
    tenant.publish("chat:1", json!(6)).await;
    assert_eq!(serials(&socket.messages(1).await), [6]);
}

#[tokio::test]
async fn past_its_time_a_message_is_lost_to_a_resume_and_gone_from_history() {
    let (_server, tenant) = start().await;
    tenant.rule("chat", json!({"history": {"retention_s": 3}})).await;
    for number in 1..=3 {
        tenant.publish("chat:1", json!(number)).await;
    }
    let mut socket = tenant.join("ann").await;
    let epoch = epoch(&mut socket, "chat:1").await;
    let all = json!({"op": "history", "channel": "chat:1", "after": 0});
    while socket.ask(all.clone()).await["items"] != json!([]) {}
    let ok = socket.resume("chat:1", &epoch, 1).await;
    let lost = json!({"from": 2, "to": 3});
    assert_eq!(
        (&ok["resumed"], &ok["lost"], &ok["backlog"], &ok["serial"]),
        (&json!(false), &lost, &json!(0), &json!(3))
    );
    assert_eq!(tenant.publish("chat:1", json!(4)).await, 4, "serials go on");
    assert_eq!(serials(&socket.messages(1).await), [4]);
    let mut other = tenant.join("bob").await;
    let ok = other.resume("chat:1", &epoch, 0).await;
    assert_eq!((&ok["resumed"], &ok["lost"]), (&json!(false), &json!({"from": 1, "to": 3})));
    assert_eq!(serials(&other.messages(1).await), [4]);
}

#[tokio::test]
async fn what_goes_past_retention_while_a_slow_resume_is_under_way_is_told_as_a_gap() {
    const MESSAGES: u64 = 240;
    let (_server, tenant) = start().await;
    // Far more than the kernel and the outbox hold, so that most of it is still to be read.
    let data = "x".repeat(60_000);
    for _ in 0..MESSAGES / 30 {
        let messages: Vec<_> = (0..30).map(|_| json!({"channel": "chat:1", "data": data})).collect();
        tenant.data(Method::POST, "/v1/messages", json!({"messages": messages})).await.expect(StatusCode::OK);
    }
    tenant.reaches("chat:1", MESSAGES).await;
    let token = tenant.full_token("ann").await;
    let mut socket = Socket::open_narrow(&tenant.url).await;
    socket.ask(json!({"op": "connect", "token": token})).await;
    let epoch = epoch(&mut socket, "other").await;
    let ok = socket.resume("chat:1", &epoch, 0).await;
    assert_eq!((&ok["resumed"], &ok["backlog"]), (&json!(true), &json!(MESSAGES)));
    assert_eq!(socket.event_of("message").await["serial"], 1);
    tenant.rule("chat", json!({"history": {"retention_s": 3_600, "max_messages": 2}})).await;
    let mut position = 1;
    let gap = loop {
        let event = socket.event().await;
        if event["op"] == "gap" {
            break event;
        }
        position += 1;
        assert_eq!((&event["op"], &event["serial"]), (&json!("message"), &json!(position)));
    };
    assert_eq!(gap, json!({"op": "gap", "channel": "chat:1", "from": position + 1, "to": MESSAGES - 2}));
    tenant.publish("chat:1", json!("live")).await;
    assert_eq!(serials(&socket.messages(3).await), [MESSAGES - 1, MESSAGES, MESSAGES + 1]);
}
