//! Triggering events: what is taken, at its bounds and one past them, and what arrives.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::start_pusher;
use crate::harness::pusher::{Backend, socket_id};

/// Triggers an event with some members changed; `null` leaves one out.
async fn with(backend: &Backend, changes: Value) -> crate::harness::tenants::Answer {
    let mut event = json!({"name": "said", "channel": "room", "data": "1"});
    for (name, value) in changes.as_object().expect("members") {
        event[name.as_str()] = value.clone();
    }
    event.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
    backend.post("/events", event).await
}

#[tokio::test]
async fn data_arrives_byte_for_byte_and_json_stays_json() {
    let (_server, backend) = start_pusher().await;
    let mut socket = backend.tenant.join("ann").await;
    socket.subscribe("room").await;
    let texts = [
        r#"{"a": 1.50,  "b":[ ],"ü":"\u00e9"}"#,
        "hello",
        "",
        " 7 ",
        r#""quoted""#,
        "1.50e2",
        "{\n\t\"a\": 1\r\n}",
        "null",
        "\u{0}\u{1F600}</script>",
    ];
    for text in texts {
        backend.trigger("room", text).await;
    }
    let mut received = Vec::new();
    for _ in texts {
        let raw = socket.receive_text().await;
        received.push(raw);
    }
    for (text, raw) in texts.iter().zip(&received) {
        let is_json = !text.contains('\n')
            && !text.starts_with('"')
            && !text.starts_with(' ')
            && serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok();
        let data = if is_json { (*text).to_owned() } else { serde_json::to_string(text).expect("a string") };
        assert!(raw.contains(&format!("\"data\":{data}")), "{text:?} came as {raw}");
    }
    let history = backend.tenant.data(Method::GET, "/v1/channels/room/messages?after=0", Value::Null).await;
    assert!(history.text.contains(r#"{"a": 1.50,  "b":[ ],"ü":"\u00e9"}"#), "{}", history.text);
    let page = history.expect(StatusCode::OK);
    let items = page["items"].as_array().expect("items");
    let serials: Vec<_> = items.iter().map(|item| item["serial"].as_u64().expect("a serial")).collect();
    assert_eq!(serials, (1..=texts.len() as u64).collect::<Vec<_>>());
    assert!(items.iter().all(|item| item["name"] == "said" && item.get("client").is_none()), "{page}");
    assert_eq!((&items[1]["data"], &items[6]["data"]), (&json!("hello"), &json!("{\n\t\"a\": 1\r\n}")));
}

#[tokio::test]
async fn one_event_reaches_its_channels_in_order_and_each_once() {
    let (_server, backend) = start_pusher().await;
    let mut socket = backend.tenant.join("ann").await;
    for channel in ["a", "private-b", "presence-cache-c"] {
        socket.subscribe(channel).await;
    }
    let channels = json!(["a", "private-b", "a", "presence-cache-c"]);
    with(&backend, json!({"channel": null, "channels": channels})).await.expect(StatusCode::OK);
    let mut reached: Vec<_> = socket
        .messages(3)
        .await
        .iter()
        .map(|message| message["channel"].as_str().expect("a name").to_owned())
        .collect();
    reached.sort();
    assert_eq!(reached, ["a", "presence-cache-c", "private-b"]);
    for number in 0..30 {
        backend.trigger("a", &number.to_string()).await;
    }
    let data: Vec<_> = socket.messages(30).await.iter().map(|message| message["data"].as_u64()).collect();
    assert_eq!(data, (0..30).map(Some).collect::<Vec<_>>());
}

#[tokio::test]
async fn names_channels_and_data_are_taken_up_to_their_bounds() {
    let (_server, backend) = start_pusher().await;
    let many = |count: usize| (0..count).map(|at| format!("c{at}")).collect::<Vec<_>>();
    for good in [
        json!({"name": "x"}),
        json!({"name": "x".repeat(200)}),
        json!({"name": "App\\Events\\Said.It"}),
        json!({"name": "pusher-like"}),
        json!({"name": "client-x"}),
        json!({"data": "x".repeat(10_240)}),
        json!({"data": "\u{1}".repeat(10_240)}),
        json!({"data": ""}),
        json!({"channel": "x".repeat(164)}),
        json!({"channel": "x".repeat(200)}),
        json!({"channel": "-aZ9_=@,.;"}),
        json!({"channel": "private-encrypted-a"}),
        json!({"channel": "#server-to-user-ann"}),
        json!({"channel": null, "channels": many(100)}),
        json!({"socket_id": "1.2"}),
        json!({"socket_id": "123.456", "later": {"any": 1}}),
    ] {
        assert_eq!(with(&backend, good).await.expect(StatusCode::OK), json!({}));
    }
    for bad in [
        json!({"name": null}),
        json!({"name": ""}),
        json!({"name": 7}),
        json!({"name": "x".repeat(201)}),
        json!({"name": "pusher:said"}),
        json!({"name": "pusher_internal:said"}),
        json!({"data": null}),
        json!({"data": {"a": 1}}),
        json!({"channel": null}),
        json!({"channel": ""}),
        json!({"channel": "x".repeat(201)}),
        json!({"channel": "a b"}),
        json!({"channel": "a:b"}),
        json!({"channel": "#other"}),
        json!({"channel": "#server-to-user-"}),
        json!({"channel": null, "channels": []}),
        json!({"channel": null, "channels": many(101)}),
        json!({"channel": null, "channels": ["a", "b c"]}),
        json!({"channel": null, "channels": "a"}),
        json!({"socket_id": ""}),
        json!({"socket_id": "1"}),
        json!({"socket_id": "1.2.3"}),
        json!({"socket_id": "a.b"}),
        json!({"socket_id": 1.2}),
    ] {
        assert_eq!(with(&backend, bad.clone()).await.status, 400, "{bad}");
        with(&backend, bad).await.expect_refused(400);
    }
    with(&backend, json!({"data": "x".repeat(10_241)})).await.expect_refused(413);
    with(&backend, json!({"data": "ü".repeat(5_121)})).await.expect_refused(413);
    with(&backend, json!({"data": "x".repeat(1_100_000)})).await.expect_refused(413);
}

#[tokio::test]
async fn what_is_no_json_object_is_refused_with_400() {
    let (_server, backend) = start_pusher().await;
    for bad in ["{", "nonsense", "[]", "\"x\"", "7", "null", " ", "{\"name\":\"a\",\"name\":\"b\"}"] {
        backend.call(Method::POST, "/events", &[], bad).await.expect_refused(400);
        backend.call(Method::POST, "/batch_events", &[], bad).await.expect_refused(400);
    }
    backend.call(Method::POST, "/events", &[], "").await.expect_refused(400);
    backend.call(Method::POST, "/batch_events", &[], "").await.expect_refused(400);
}

#[tokio::test]
async fn parameters_may_stand_in_the_query() {
    let (_server, backend) = start_pusher().await;
    let query = [("name", "said it"), ("data", "{\"a\": \"ü&=\"}"), ("channels[]", "a"), ("channels[]", "b")];
    backend.call(Method::POST, "/events", &query, "").await.expect(StatusCode::OK);
    let body = json!({"name": "of the body"}).to_string();
    let query = [("name", "of the query"), ("data", "2"), ("channel", "a")];
    backend.call(Method::POST, "/events", &query, &body).await.expect(StatusCode::OK);
    backend.tenant.reaches("a", 2).await;
    let (a, b) = (backend.tenant.history("a").await, backend.tenant.history("b").await);
    assert_eq!((&a[0]["name"], &a[0]["data"]), (&json!("said it"), &json!({"a": "ü&="})));
    assert_eq!((&a[1]["name"], &a[1]["data"], b.len()), (&json!("of the body"), &json!(2), 1));
}

#[tokio::test]
async fn the_connection_of_a_socket_id_is_left_out() {
    let (_server, backend) = start_pusher().await;
    let (mut ann, mut bob) = (backend.tenant.join("ann").await, backend.tenant.join("bob").await);
    for socket in [&mut ann, &mut bob] {
        socket.subscribe("room").await;
    }
    let excluded = socket_id(&ann.connected["connection"]);
    with(&backend, json!({"socket_id": excluded})).await.expect(StatusCode::OK);
    backend.trigger("room", "2").await;
    assert_eq!(bob.messages(2).await[0]["data"], 1);
    assert_eq!(ann.event_of("skip").await["serial"], 1);
    assert_eq!(ann.event_of("message").await["data"], 2);
}

#[tokio::test]
async fn a_channels_rule_decides_whether_there_is_history_and_how_large_messages_are() {
    let (_server, backend) = start_pusher().await;
    let mut socket = backend.tenant.join("ann").await;
    backend.tenant.rule("_default", json!({"history": null, "max_message_bytes": 8})).await;
    socket.subscribe("room").await;
    backend.trigger("room", "[1, 2]").await;
    let message = socket.event_of("message").await;
    assert_eq!((&message["data"], message.get("serial")), (&json!([1, 2]), None));
    let refused = with(&backend, json!({"data": "123456789"})).await.expect_refused(413);
    assert!(refused["error"].as_str().expect("a text").contains("room"), "{refused}");
}
