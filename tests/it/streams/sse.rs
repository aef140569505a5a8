//! Server-sent events: the stream and its events, from the head or after a cursor, and its end.

use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{
    server::{Options, Server, signal},
    tenants::{Tenant, start},
    waiting::until,
};

#[tokio::test]
async fn a_stream_begins_at_once_with_the_positions_and_brings_what_is_published() {
    let (_server, tenant) = start().await;
    tenant.publish("chat:1", json!("before")).await;
    let token = tenant.full_token("ann").await;
    let mut stream = tenant.stream(&token, "channel=chat:1&channel=chat:2", None).await;
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    assert_eq!(stream.header("cache-control"), Some("no-cache, no-transform"));
    assert_eq!(stream.header("x-accel-buffering"), Some("no"));
    let open = stream.next_of("open").await;
    assert!(open.id.is_some());
    assert_eq!((&open.data["app"], &open.data["client"]), (&json!(tenant.app), &json!("ann")));
    let positions = open.data["positions"].as_array().expect("positions");
    let heads: Vec<_> = positions.iter().map(|one| (&one["channel"], &one["serial"], &one["backlog"])).collect();
    assert_eq!(heads, [(&json!("chat:1"), &json!(1), &json!(0)), (&json!("chat:2"), &json!(0), &json!(0))]);
    assert!(positions.iter().all(|one| one["epoch"].is_string()));

    let mut socket = tenant.join("bob").await;
    socket.subscribe("chat:1").await;
    tenant.publish("chat:1", json!({"text": "line\nbreak \u{2028}"})).await;
    let message = stream.next_of("message").await;
    assert_eq!(message.data, socket.event_of("message").await, "the object is the WebSocket's");
    assert!(message.id.is_some_and(|id| id != open.id.unwrap_or_default()));
    socket.ask(json!({"op": "publish", "channel": "chat:2", "data": "gone", "ephemeral": true})).await;
    let ephemeral = stream.next_of("message").await;
    assert_eq!(
        (&ephemeral.data["data"], &ephemeral.data["serial"], ephemeral.id),
        (&json!("gone"), &Value::Null, None)
    );
}

#[tokio::test]
async fn a_stream_goes_on_after_the_event_that_was_read_last_at_any_token() {
    let (_server, tenant) = start().await;
    let token = tenant.full_token("ann").await;
    let mut stream = tenant.stream(&token, "channel=chat:1&channel=chat:2", None).await;
    stream.next_of("open").await;
    tenant.publish("chat:1", json!(1)).await;
    stream.serials(1..=1).await;
    let last_id = stream.last_id.clone();
    drop(stream);
    for number in 2..=4 {
        tenant.publish("chat:1", json!(number)).await;
    }
    tenant.publish("chat:2", json!(1)).await;
    let other = tenant.full_token("bob").await;
    let mut stream = tenant.stream(&other, "channel=chat:2&channel=chat:1", Some(&last_id)).await;
    let open = stream.next_of("open").await;
    let backlogs: Vec<_> =
        open.data["positions"].as_array().expect("positions").iter().map(|one| &one["backlog"]).collect();
    assert_eq!(backlogs, [3, 1]);
    let mut seen = Vec::new();
    for _ in 0..4 {
        let message = stream.next_of("message").await.data;
        seen.push((message["channel"].clone(), message["serial"].clone()));
    }
    seen.sort_by_key(|(channel, _)| channel.to_string());
    let expected = [("chat:1", 2), ("chat:1", 3), ("chat:1", 4), ("chat:2", 1)];
    assert_eq!(seen, expected.map(|(channel, serial)| (json!(channel), json!(serial))));
    tenant.publish("chat:1", json!(5)).await;
    stream.serials(5..=5).await;
}

#[tokio::test]
async fn what_is_past_retention_or_not_for_the_reader_is_told() {
    let (_server, tenant) = start().await;
    tenant.rule("chat", json!({"history": {"retention_s": 3_600, "max_messages": 2}})).await;
    let token = tenant.full_token("ann").await;
    let mut stream = tenant.stream(&token, "channel=chat:1", None).await;
    let connection = stream.next_of("open").await.data["connection"].clone();
    let cursor = stream.last_id.clone();
    let excluded = json!({"data": 1, "exclude": connection});
    tenant.data(Method::POST, "/v1/channels/chat:1/messages", excluded).await.expect(StatusCode::ACCEPTED);
    let skip = stream.next_of("skip").await;
    assert_eq!((&skip.data["serial"], skip.id.is_some()), (&json!(1), true));
    for number in 2..=5 {
        tenant.publish("chat:1", json!(number)).await;
    }
    let mut stream = tenant.stream(&token, &format!("channel=chat:1&cursor={cursor}"), None).await;
    let open = stream.next_of("open").await.data;
    assert_eq!(open["positions"][0]["lost"], json!({"from": 1, "to": 3}));
    let gap = stream.next_of("gap").await.data;
    assert_eq!((&gap["channel"], &gap["from"], &gap["to"]), (&json!("chat:1"), &json!(1), &json!(3)));
    stream.serials(4..=5).await;
}

#[tokio::test]
async fn an_idle_stream_says_every_15_s_that_it_lives() {
    let server = Server::start(Options::default().env("FANFARE_GATEWAY_CONNECTION_PING_INTERVAL", "2s")).await;
    let tenant = Tenant::sign_up(&server).await;
    let token = tenant.full_token("ann").await;
    let asked = Instant::now();
    let mut stream = tenant.stream(&token, "channel=chat:1", None).await;
    stream.next_of("open").await;
    for comment in 1..=2 {
        stream.until_comment().await;
        let since = asked.elapsed();
        assert!(since >= comment * Duration::from_secs(15), "comment {comment} after {since:?}");
    }
    // The machine's own pings were answered meanwhile, and are no events.
    tenant.publish("chat:1", json!(1)).await;
    stream.serials(1..=1).await;
}

#[tokio::test]
async fn a_stream_ends_with_its_key_its_app_and_its_last_channel() {
    let (_server, tenant) = start().await;
    let second = tenant.with_key(json!({"name": "second"})).await;
    let token = second.full_token("ann").await;
    let mut stream = tenant.stream(&token, "channel=chat:1", None).await;
    stream.next_of("open").await;
    let key = format!("/v1/apps/{}/keys/{}", tenant.app, second.key);
    tenant.control(Method::DELETE, &key, Value::Null).await.expect(StatusCode::NO_CONTENT);
    assert_eq!(stream.next_of("error").await.data["error"]["code"], "bad_key");
    assert_eq!(stream.next().await, None);

    tenant.rule("open", json!({"public": true})).await;
    let request = tenant.request(Method::GET, &format!("/v1/sse?channel=open:1&key={}", tenant.key));
    let mut stream = crate::harness::streams::EventStream::new(request.send().await.expect("the server answers"));
    stream.next_of("open").await;
    tenant.rule("open", json!({"public": false})).await;
    assert_eq!(stream.next_of("unsubscribed").await.data["error"]["code"], "forbidden");
    assert_eq!(stream.next().await, None);

    let token = tenant.full_token("ann").await;
    let mut stream = tenant.stream(&token, "channel=chat:1", None).await;
    stream.next_of("open").await;
    let app = format!("/v1/apps/{}", tenant.app);
    tenant.control(Method::PATCH, &app, json!({"enabled": false})).await.expect(StatusCode::OK);
    assert_eq!(stream.next_of("error").await.data["error"]["code"], "app_disabled");
}

#[tokio::test]
async fn a_node_that_goes_tells_when_to_come_back_and_the_next_one_goes_on() {
    let (mut server, tenant) = start().await;
    let token = tenant.full_token("ann").await;
    let mut stream = tenant.stream(&token, "channel=chat:1", None).await;
    stream.next_of("open").await;
    tenant.publish("chat:1", json!(1)).await;
    stream.serials(1..=1).await;
    let told = stream.retries.len();
    let (status, events) = tokio::join!(server.terminate(), stream.ended());
    assert!(status.success(), "{status}");
    assert!(events.iter().any(|event| event.event == "reconnect"), "{events:?}");
    assert!(stream.retries.len() > told, "{:?}", stream.retries);
    server.restart().await;
    tenant.publish("chat:1", json!(2)).await;
    let mut stream = tenant.stream(&token, "channel=chat:1", Some(&stream.last_id.clone())).await;
    stream.next_of("open").await;
    stream.serials(2..=2).await;
}

#[tokio::test]
async fn streams_of_a_node_that_drains_are_told_their_time_as_browsers_obey_it_and_new_ones_are_refused() {
    let mut server = Server::start(Options::default().env("FANFARE_DRAIN_WINDOW", "6s")).await;
    let tenant = Tenant::sign_up(&server).await;
    let token = tenant.full_token("ann").await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let mut stream = tenant.stream(&token, "channel=chat:1", None).await;
        stream.next_of("open").await;
        streams.push(stream);
    }
    let begun = Instant::now();
    signal(server.pid(), "TERM");
    let mut told = Vec::new();
    for stream in &mut streams {
        let after_ms = stream.next_of("reconnect").await.data["after_ms"].as_u64().expect("a number");
        // Nobody comes back in less than a tenth of a second.
        assert_eq!(stream.retries.last(), Some(&after_ms.max(100)));
        told.push(after_ms);
    }
    tenant.refused_stream(&token, "channel=chat:1").await.expect_problem(503, "draining");
    tenant.poll(&token, "channel=chat:1").await.expect_problem(503, "draining");
    for (stream, after_ms) in streams.iter_mut().zip(&told) {
        stream.ended().await;
        assert!(begun.elapsed() >= Duration::from_millis(*after_ms), "{after_ms} ms were told: {:?}", begun.elapsed());
    }
    told.sort_unstable();
    assert!(told[0] == 0 && told[1] > 1_000 && told[2] > told[1] + 1_000, "{told:?}");
    assert!(server.exited().await.success());
}

#[tokio::test]
async fn presence_and_occupancy_come_to_a_stream_that_asks_and_do_not_move_its_cursor() {
    let (_server, tenant) = start().await;
    let token = tenant.full_token("ann").await;
    let mut stream = tenant.stream(&token, "channel=chat:1&presence=true&occupancy=true", None).await;
    let mut plain = tenant.stream(&token, "channel=chat:1", None).await;
    for stream in [&mut stream, &mut plain] {
        stream.next_of("open").await;
    }
    let cursor = stream.last_id.clone();
    let mut bob = tenant.join("bob").await;
    let presence = |action: &str| json!({"op": "presence", "channel": "chat:1", "action": action, "data": "here"});
    // The two kinds come in an order of their own; each event is read as it comes.
    let mut read = async |action: &str, members: u64| {
        let (mut has_acted, mut is_counted) = (false, false);
        while !has_acted || !is_counted {
            let event = stream.next().await.expect("the stream goes on");
            assert_eq!(event.id, None, "{event:?}");
            match event.event.as_str() {
                "presence" => {
                    let shown = (&event.data["action"], &event.data["client"], &event.data["data"]);
                    assert_eq!(shown, (&json!(action), &json!("bob"), &json!("here")));
                    assert!(!std::mem::replace(&mut has_acted, true), "twice: {event:?}");
                }
                "occupancy" => {
                    assert!(event.data["subscribers"].is_u64(), "{event:?}");
                    is_counted = event.data["members"] == members;
                }
                other => panic!("{other}: {event:?}"),
            }
        }
    };
    bob.ask(presence("enter")).await;
    read("enter", 1).await;
    bob.ask(presence("leave")).await;
    read("leave", 0).await;
    assert_eq!(stream.last_id, cursor);
    // Who did not ask is told nothing.
    tenant.publish("chat:1", json!(1)).await;
    plain.serials(1..=1).await;
}

#[tokio::test]
async fn a_stream_counts_as_a_connection_until_its_client_is_gone() {
    let server = Server::start(Options::default().config("[plans.unlimited]\nconnections = 1\n")).await;
    let tenant = Tenant::sign_up(&server).await;
    let token = tenant.full_token("ann").await;
    let stream = tenant.stream(&token, "channel=chat:1", None).await;
    tenant.refused_stream(&token, "channel=chat:1").await.expect_problem(429, "connection_limit");
    tenant.poll(&token, "channel=chat:1").await.expect_problem(429, "connection_limit");
    drop(stream);
    until("the place is given back", async || {
        (tenant.poll(&token, "channel=chat:1").await.status == 200).then_some(())
    })
    .await;
}
