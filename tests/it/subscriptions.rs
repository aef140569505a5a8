//! Subscribing: live, from a position, from some way back, to many channels, and no more.

use std::collections::BTreeMap;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{
    server::Server,
    sockets::{Received, Socket},
    tenants::{Tenant, start},
};

async fn publish_all(tenant: &Tenant, channel: &str, data: impl IntoIterator<Item = u64>) {
    for number in data {
        assert_eq!(tenant.publish(channel, json!(number)).await, number);
    }
}

fn serials(messages: &[Value]) -> Vec<u64> {
    messages.iter().map(|message| message["serial"].as_u64().expect("a serial")).collect()
}

/// The head's epoch and serial, as a subscription of a moment learns them.
async fn head(tenant: &Tenant, channel: &str) -> (String, u64) {
    let head = tenant.join("looker").await.subscribe(channel).await;
    (head["epoch"].as_str().expect("an epoch").to_owned(), head["serial"].as_u64().expect("a serial"))
}

#[tokio::test]
async fn who_reads_too_slowly_is_closed_and_resumes_and_the_others_still_receive() {
    let (server, tenant) = start().await;
    let token = tenant.full_token("ann").await;
    let mut stalled = Socket::open_narrow(&tenant.url).await;
    stalled.ask(json!({"op": "connect", "token": token})).await;
    let epoch = stalled.subscribe("room").await["epoch"].clone();
    let mut healthy = tenant.join("bob").await;
    healthy.subscribe("room").await;
    let (text, mut head) = ("x".repeat(60_000), 0);
    while !is_closed_as_slow(&server).await {
        head = tenant.publish("room", json!(text)).await;
        assert_eq!(healthy.event_of("message").await["serial"], head);
        assert!(head < 1_000, "60 MB wait for one socket");
    }
    let (events, end) = stalled.closed().await;
    assert_eq!(end, Received::Close(4122, "slow_consumer".into()));
    let (error, messages) = events.split_last().expect("an error comes before the close");
    assert_eq!(error["error"]["code"], "slow_consumer");
    let received: Vec<_> = messages.iter().map(|message| message["serial"].as_u64().expect("a serial")).collect();
    assert_eq!(received, (1..=received.len() as u64).collect::<Vec<_>>());
    let mut resumed = tenant.join("ann").await;
    let ok = resumed.resume("room", epoch.as_str().expect("an epoch"), received.len() as u64).await;
    assert_eq!(ok["resumed"], true);
    for serial in received.len() as u64 + 1..=head {
        assert_eq!(resumed.event_of("message").await["serial"], serial);
    }
}

/// Whether a server has let go what waited for a slow socket.
async fn is_closed_as_slow(server: &Server) -> bool {
    let answer = reqwest::get(format!("{}/metrics", server.ops_url())).await.expect("the server answers");
    let metrics = answer.text().await.expect("metrics are text");
    let drops = metrics.lines().find_map(|line| line.strip_prefix("fanfare_drops_total{reason=\"slow_consumer\"} "));
    drops.is_some_and(|count| count != "0")
}

#[tokio::test]
async fn a_subscription_is_live_from_the_head_in_its_answer() {
    let (_server, tenant) = start().await;
    let mut socket = tenant.join("ann").await;
    let empty = socket.subscribe("empty").await;
    assert_eq!((&empty["channel"], &empty["serial"], &empty["backlog"]), (&json!("empty"), &json!(0), &json!(0)));
    publish_all(&tenant, "room", 1..=2).await;
    let head = socket.subscribe("room").await;
    assert_eq!(head, json!({"channel": "room", "epoch": empty["epoch"], "serial": 2, "backlog": 0}));
    publish_all(&tenant, "room", 3..=4).await;
    let messages = socket.messages(2).await;
    assert_eq!(serials(&messages), [3, 4]);
    assert_eq!((&messages[0]["channel"], &messages[0]["data"]), (&json!("room"), &json!(3)));
    assert!(messages[0]["time"].as_u64() <= messages[1]["time"].as_u64());
}

#[tokio::test]
async fn since_brings_everything_after_it_and_then_what_is_live() {
    let (_server, tenant) = start().await;
    publish_all(&tenant, "room", 1..=5).await;
    let (epoch, head) = head(&tenant, "room").await;
    for (since, resumed) in [(0, vec![1, 2, 3, 4, 5]), (3, vec![4, 5]), (5, vec![])] {
        let mut socket = tenant.join("ann").await;
        let ok = socket.resume("room", &epoch, since).await;
        let backlog = resumed.len();
        assert_eq!(ok, json!({"channel": "room", "epoch": epoch, "serial": head, "resumed": true, "backlog": backlog}));
        assert_eq!(serials(&socket.messages(backlog).await), resumed);
    }
    let mut socket = tenant.join("ann").await;
    socket.resume("room", &epoch, 4).await;
    publish_all(&tenant, "room", 6..=7).await;
    assert_eq!(serials(&socket.messages(3).await), [5, 6, 7]);
}

#[tokio::test]
async fn a_position_that_means_nothing_is_told_and_delivery_is_live_only() {
    let (_server, tenant) = start().await;
    publish_all(&tenant, "room", 1..=3).await;
    let (epoch, _) = head(&tenant, "room").await;
    // The first is just past the head, wherever that is by then.
    let cases = [(epoch.as_str(), None), (&epoch, Some((1 << 53) - 2)), ("elsewhere", Some(1)), ("", Some(0))];
    for (head, (claimed, since)) in (3..).zip(cases) {
        let since = since.unwrap_or(head + 1);
        let mut socket = tenant.join("ann").await;
        let ok = socket.resume("room", claimed, since).await;
        let lost = json!({"from": since + 1});
        assert_eq!(
            ok,
            json!({"channel": "room", "epoch": epoch, "serial": head, "resumed": false, "backlog": 0, "lost": lost})
        );
        publish_all(&tenant, "room", [head + 1]).await;
        assert_eq!(serials(&socket.messages(1).await), [head + 1]);
    }
}

#[tokio::test]
async fn rewind_goes_back_by_messages() {
    let (_server, tenant) = start().await;
    publish_all(&tenant, "room", 1..=5).await;
    for (back, expected) in [(2, vec![4, 5]), (5, vec![1, 2, 3, 4, 5]), (1_000_000, vec![1, 2, 3, 4, 5]), (0, vec![])] {
        let mut socket = tenant.join("ann").await;
        let ok = socket.ask(json!({"op": "subscribe", "channel": "room", "rewind": {"messages": back}})).await;
        assert_eq!((&ok["serial"], &ok["backlog"]), (&json!(5), &json!(expected.len())), "{ok}");
        assert_eq!((&ok["resumed"], &ok["lost"]), (&Value::Null, &Value::Null), "{ok}");
        assert_eq!(serials(&socket.messages(expected.len()).await), expected);
    }
    let mut socket = tenant.join("ann").await;
    socket.ask(json!({"op": "subscribe", "channel": "room", "rewind": {"messages": 1}})).await;
    publish_all(&tenant, "room", [6]).await;
    assert_eq!(serials(&socket.messages(2).await), [5, 6]);
}

#[tokio::test]
async fn rewind_goes_back_by_seconds() {
    let (_server, tenant) = start().await;
    publish_all(&tenant, "room", 1..=2).await;
    let mut socket = tenant.join("ann").await;
    let ok = socket.ask(json!({"op": "subscribe", "channel": "room", "rewind": {"seconds": 3_600}})).await;
    assert_eq!(ok["backlog"], 2);
    assert_eq!(serials(&socket.messages(2).await), [1, 2]);
    // As time goes by, what is three seconds back no longer reaches the messages.
    let back = json!({"op": "subscribe", "channel": "room", "rewind": {"seconds": 3}});
    loop {
        let mut other = tenant.join("bob").await;
        let ok = other.ask(back.clone()).await;
        if ok["backlog"] == 0 {
            break;
        }
    }
    publish_all(&tenant, "room", [3]).await;
    let mut other = tenant.join("bob").await;
    assert_eq!(other.ask(back).await["backlog"], 1);
    assert_eq!(serials(&other.messages(1).await), [3]);
}

#[tokio::test]
async fn since_is_part_of_subscribing_and_rewinding_needs_the_right_to_history() {
    let (_server, tenant) = start().await;
    publish_all(&tenant, "room", 1..=2).await;
    let (epoch, _) = head(&tenant, "room").await;
    let token = tenant.token("ann", json!({"*": ["subscribe"]})).await;
    let mut socket = Socket::connect(&tenant.url, &token).await;
    let rewind = |rewind: Value| json!({"op": "subscribe", "channel": "room", "rewind": rewind});
    assert_eq!(socket.refused(rewind(json!({"messages": 1}))).await, "forbidden");
    assert_eq!(socket.refused(rewind(json!({"seconds": 1}))).await, "forbidden");
    assert_eq!(socket.refused(json!({"op": "history", "channel": "room"})).await, "forbidden");
    assert_eq!(socket.resume("room", &epoch, 1).await["resumed"], true);
    assert_eq!(serials(&socket.messages(1).await), [2]);
}

#[tokio::test]
async fn a_long_backlog_streams_in_order_while_publishing_goes_on() {
    const BACKLOG: u64 = 20_000;
    const MORE: u64 = 300;
    let (_server, tenant) = start().await;
    let text = "x".repeat(200);
    for _ in 0..BACKLOG / 1_000 {
        let messages: Vec<_> = (0..1_000).map(|_| json!({"channel": "long", "data": text})).collect();
        tenant.data(Method::POST, "/v1/messages", json!({"messages": messages})).await.expect(StatusCode::OK);
    }
    tenant.reaches("long", BACKLOG).await;
    let (epoch, _) = head(&tenant, "long").await;
    let mut socket = tenant.join("ann").await;
    let publishing = async {
        for number in 1..=MORE {
            assert_eq!(tenant.publish("long", json!(number)).await, BACKLOG + number);
        }
    };
    let receiving = async {
        let ok = socket.resume("long", &epoch, 0).await;
        assert_eq!(ok["resumed"], true);
        assert!(ok["backlog"].as_u64() >= Some(BACKLOG), "{ok}");
        for serial in 1..=BACKLOG + MORE {
            assert_eq!(socket.event_of("message").await["serial"], serial);
        }
    };
    tokio::join!(publishing, receiving);
}

#[tokio::test]
async fn one_socket_follows_many_channels_each_in_its_own_order() {
    const CHANNELS: usize = 300;
    let (_server, tenant) = start().await;
    let mut socket = tenant.join("ann").await;
    let name = |at: usize| format!("room:{at}");
    let mut ids = Vec::new();
    for at in 0..CHANNELS {
        ids.push(socket.send(json!({"op": "subscribe", "channel": name(at)})).await);
    }
    for id in ids {
        assert_eq!(socket.answer_to(id).await["ok"]["backlog"], 0);
    }
    for round in 1..=2 {
        let messages: Vec<_> = (0..CHANNELS).map(|at| json!({"channel": name(at), "data": round})).collect();
        tenant.data(Method::POST, "/v1/messages", json!({"messages": messages})).await.expect(StatusCode::OK);
    }
    let mut received: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for message in socket.messages(2 * CHANNELS).await {
        assert_eq!(message["serial"], message["data"]);
        let channel = message["channel"].as_str().expect("a channel").to_owned();
        received.entry(channel).or_default().push(message["serial"].as_u64().expect("a serial"));
    }
    assert_eq!(received.len(), CHANNELS);
    assert!(received.values().all(|serials| serials == &[1, 2]), "{received:?}");
}

#[tokio::test]
async fn what_is_unsubscribed_is_delivered_no_more() {
    let (_server, tenant) = start().await;
    let mut socket = tenant.join("ann").await;
    socket.subscribe("left").await;
    socket.subscribe("kept").await;
    assert_eq!(socket.ask(json!({"op": "unsubscribe", "channel": "left"})).await, json!({}));
    for channel in ["left", "kept", "left", "kept"] {
        tenant.publish(channel, json!(channel)).await;
    }
    for _ in 0..2 {
        assert_eq!(socket.event_of("message").await["channel"], "kept");
    }
    // It can be followed again, from its head.
    assert_eq!(socket.subscribe("left").await["serial"], 2);
    tenant.publish("left", json!("back")).await;
    let message = socket.event_of("message").await;
    assert_eq!((&message["channel"], &message["serial"]), (&json!("left"), &json!(3)));
}

#[tokio::test]
async fn a_channel_is_subscribed_once_and_unsubscribed_once() {
    let (_server, tenant) = start().await;
    let mut socket = tenant.join("ann").await;
    let (subscribe, unsubscribe) =
        (json!({"op": "subscribe", "channel": "a"}), json!({"op": "unsubscribe", "channel": "a"}));
    assert_eq!(socket.refused(unsubscribe.clone()).await, "not_subscribed");
    socket.ask(subscribe.clone()).await;
    assert_eq!(socket.refused(subscribe.clone()).await, "already_subscribed");
    tenant.publish("a", json!(1)).await;
    tenant.publish("a", json!(2)).await;
    assert_eq!(serials(&socket.messages(2).await), [1, 2]);
    socket.ask(unsubscribe.clone()).await;
    assert_eq!(socket.refused(unsubscribe).await, "not_subscribed");
    socket.ask(subscribe).await;
}

#[tokio::test]
async fn every_socket_of_a_client_receives_what_it_follows() {
    let (_server, tenant) = start().await;
    let token = tenant.full_token("ann").await;
    let mut sockets = Vec::new();
    for _ in 0..4 {
        let mut socket = Socket::connect(&tenant.url, &token).await;
        assert_eq!(socket.connected["client"], "ann");
        socket.subscribe("room").await;
        sockets.push(socket);
    }
    let ids: std::collections::BTreeSet<_> =
        sockets.iter().map(|socket| socket.connected["connection"].to_string()).collect();
    assert_eq!(ids.len(), 4);
    sockets[0].ask(json!({"op": "publish", "channel": "room", "data": "hello"})).await;
    for socket in &mut sockets {
        let message = socket.event_of("message").await;
        assert_eq!((&message["data"], &message["client"]), (&json!("hello"), &json!("ann")));
    }
    sockets.remove(1).drop_connection();
    sockets.remove(1).close().await;
    tenant.publish("room", json!(2)).await;
    for socket in &mut sockets {
        assert_eq!(socket.event_of("message").await["serial"], 2);
    }
}
