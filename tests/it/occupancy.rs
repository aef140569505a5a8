//! How occupied channels are, as backends read it and as subscribers are told.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{
    sockets::Socket,
    tenants::{self, Answer, Tenant},
    waiting::until,
};

async fn show(tenant: &Tenant, channel: &str) -> Value {
    tenant.data(Method::GET, &format!("/v1/channels/{channel}"), Value::Null).await.expect(StatusCode::OK)
}

async fn list(tenant: &Tenant, query: &str) -> Answer {
    tenant.data(Method::GET, &format!("/v1/channels{query}"), Value::Null).await
}

/// Waits until a channel has so many subscribers.
async fn until_there_are(tenant: &Tenant, channel: &str, count: u64) -> Value {
    until("the channel is counted", async || {
        Some(show(tenant, channel).await).filter(|shown| shown["subscribers"] == count)
    })
    .await
}

fn names(page: &Value) -> Vec<&str> {
    page["items"].as_array().expect("items").iter().map(|item| item["channel"].as_str().expect("a name")).collect()
}

async fn watch(socket: &mut Socket, channel: &str) {
    socket.ask(json!({"op": "subscribe", "channel": channel, "occupancy": true})).await;
}

#[tokio::test]
async fn a_channel_tells_how_many_subscribe_and_where_it_stands() {
    let (_server, tenant) = tenants::start().await;
    let fresh = show(&tenant, "chat:1").await;
    let epoch = fresh["epoch"].as_str().expect("an epoch").to_owned();
    let expected = |subscribers: u64, serial: u64| json!({"channel": "chat:1", "subscribers": subscribers, "members": 0, "epoch": epoch, "serial": serial});
    assert_eq!(fresh, expected(0, 0));
    let (mut ann, mut bob, mut cid) = (tenant.join("ann").await, tenant.join("ann").await, tenant.join("cid").await);
    for socket in [&mut ann, &mut bob, &mut cid] {
        socket.subscribe("chat:1").await;
        socket.subscribe("chat:2").await;
    }
    assert_eq!(ann.refused(json!({"op": "subscribe", "channel": "chat:1"})).await, "already_subscribed");
    until_there_are(&tenant, "chat:1", 3).await;
    tenant.publish("chat:1", json!(1)).await;
    assert_eq!(until_there_are(&tenant, "chat:1", 3).await, expected(3, 1));
    ann.ask(json!({"op": "unsubscribe", "channel": "chat:1"})).await;
    until_there_are(&tenant, "chat:1", 2).await;
    bob.close().await;
    until_there_are(&tenant, "chat:1", 1).await;
    cid.drop_connection();
    assert_eq!(until_there_are(&tenant, "chat:1", 0).await, expected(0, 1));
    until_there_are(&tenant, "chat:2", 1).await;
    assert_eq!(names(&list(&tenant, "").await.expect(StatusCode::OK)), ["chat:2"]);
}

#[tokio::test]
async fn a_subscription_that_loses_its_right_is_counted_no_more() {
    let (_server, tenant) = tenants::start().await;
    let mut ann = tenant.join("ann").await;
    watch(&mut ann, "chat").await;
    until_there_are(&tenant, "chat", 1).await;
    let narrow = tenant.token("ann", json!({"other": ["subscribe"]})).await;
    ann.ask(json!({"op": "token", "token": narrow})).await;
    until_there_are(&tenant, "chat", 0).await;
}

#[tokio::test]
async fn occupied_channels_are_listed_page_by_page_under_a_prefix() {
    let (_server, tenant) = tenants::start().await;
    let mut sockets = Vec::new();
    let mut expected = BTreeSet::new();
    for n in 0..5 {
        let mut socket = tenant.join(&format!("client-{n}")).await;
        for number in 0..90 {
            let channel = format!("{}:{}", ["room", "hall"][number % 2], n * 40 + number);
            socket.subscribe(&channel).await;
            expected.insert(channel);
        }
        sockets.push(socket);
    }
    let whole = async |query: &str| -> Vec<Value> {
        let (mut items, mut next) = (Vec::new(), String::new());
        loop {
            let page = list(&tenant, &format!("?{query}{next}")).await.expect(StatusCode::OK);
            items.extend(page["items"].as_array().expect("items").iter().cloned());
            match page["next"].as_str() {
                Some(cursor) => next = format!("&next={cursor}"),
                None => return items,
            }
        }
    };
    for (query, prefix) in [("limit=100", ""), ("limit=33&prefix=room:", "room:"), ("prefix=hall%3A1", "hall:1")] {
        let wanted: Vec<_> = expected.iter().filter(|name| name.starts_with(prefix)).collect();
        until("all are listed", async || {
            let items = whole(query).await;
            let names: Vec<_> = items.iter().map(|item| item["channel"].as_str().expect("a name")).collect();
            let counted: u64 = items.iter().filter_map(|item| item["subscribers"].as_u64()).sum();
            let is_whole = prefix.is_empty() && counted == 450 || !prefix.is_empty();
            (names == wanted && is_whole).then_some(())
        })
        .await;
    }
    for wrong in ["?limit=101", "?limit=0", "?prefix=%23x", "?next=%25", "?prefix=a&prefix=b"] {
        list(&tenant, wrong).await.expect_problem(422, "invalid_body");
    }
    sockets.truncate(1);
    until("those that were left are gone", async || {
        let items = whole("").await;
        (items.len() == 90 && items.iter().all(|item| item["subscribers"] == 1)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn only_keys_with_the_right_see_channels_and_only_those_of_their_app() {
    let (server, tenant) = tenants::start().await;
    let other = Tenant::sign_up(&server).await;
    let mut ann = tenant.join("ann").await;
    for channel in ["chat:1", "secret:1"] {
        ann.subscribe(channel).await;
        until_there_are(&tenant, channel, 1).await;
    }
    assert_eq!(names(&list(&other, "").await.expect(StatusCode::OK)), Vec::<&str>::new());
    assert_eq!(show(&other, "chat:1").await["subscribers"], 0);
    let with = async |capability: Value| tenant.with_key(json!({"name": "narrow", "cap": capability})).await;
    let narrow = with(json!({"chat:*": ["admin"], "secret:*": ["subscribe"]})).await;
    assert_eq!(names(&list(&narrow, "").await.expect(StatusCode::OK)), ["chat:1"]);
    assert_eq!(show(&narrow, "chat:1").await["subscribers"], 1);
    assert_eq!(show(&narrow, "secret:1").await["subscribers"], 1);
    let publisher = with(json!({"*": ["publish", "history"]})).await;
    list(&publisher, "").await.expect_problem(403, "forbidden");
    publisher.data(Method::GET, "/v1/channels/chat:1", Value::Null).await.expect_problem(403, "forbidden");
    let token = tenant.full_token("ann").await;
    for path in ["/v1/channels", "/v1/channels/chat:1"] {
        let asked = tenant.request(Method::GET, path).bearer_auth(&token);
        Answer::of(asked).await.expect_problem(403, "forbidden");
        Answer::of(tenant.request(Method::GET, path)).await.expect_problem(401, "unauthorized");
    }
    tenant.data(Method::GET, "/v1/channels/%23x", Value::Null).await.expect_problem(422, "bad_channel");
}

/// The subscribers of the next event, which must be of occupancy.
async fn counted(socket: &mut Socket) -> u64 {
    let event = socket.event_of("occupancy").await;
    assert!(event["time"].is_u64() && event["members"] == 0, "{event}");
    event["subscribers"].as_u64().expect("a count")
}

#[tokio::test]
async fn who_asks_is_told_the_counts_at_most_once_a_second_and_at_last_exactly() {
    let (_server, tenant) = tenants::start().await;
    let (mut watcher, mut plain) = (tenant.join("watcher").await, tenant.join("plain").await);
    plain.subscribe("chat").await;
    let asked = Instant::now();
    watch(&mut watcher, "chat").await;
    let mut last = counted(&mut watcher).await;
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    let mut crowd = Vec::new();
    let mut events = 0;
    for n in 0..40 {
        let mut socket = tenant.join(&format!("client-{n}")).await;
        socket.subscribe("chat").await;
        crowd.push(socket);
    }
    let mut expect = async |count: u64| {
        while last != count {
            let next = counted(&mut watcher).await;
            assert_ne!(next, last, "only changes are told");
            last = next;
            // However late some of them come.
            events += 1;
            assert!(asked.elapsed() > Duration::from_secs(events), "{events} after {:?}", asked.elapsed());
        }
    };
    expect(42).await;
    crowd.truncate(7);
    expect(9).await;
    drop(crowd);
    expect(2).await;
    assert!(events >= 3, "{events}");
    watcher.ask(json!({"op": "unsubscribe", "channel": "chat"})).await;
    watcher.subscribe("chat").await;
    // Who did not ask is told nothing.
    tenant.publish("chat", json!(1)).await;
    for socket in [&mut watcher, &mut plain] {
        socket.event_of("message").await;
    }
}

#[tokio::test]
async fn members_are_counted_by_client_and_told() {
    let (_server, tenant) = tenants::start().await;
    let mut watcher = tenant.join("watcher").await;
    watch(&mut watcher, "chat:1").await;
    let mut members = Vec::new();
    for client in ["ann", "bob", "bob", "cem"] {
        let mut socket = tenant.join(client).await;
        socket.ask(json!({"op": "presence", "channel": "chat:1", "action": "enter"})).await;
        members.push(socket);
    }
    let mut told = async |count: u64| while watcher.event_of("occupancy").await["members"] != count {};
    told(3).await;
    let item = json!({"channel": "chat:1", "subscribers": 1, "members": 3});
    until("all are counted", async || {
        let page = list(&tenant, "").await.expect(StatusCode::OK);
        let shown = &page["items"][0];
        (["channel", "subscribers", "members"].iter().all(|name| shown[*name] == item[*name])).then_some(())
    })
    .await;
    assert_eq!(show(&tenant, "chat:1").await["members"], 3);
    members[0].ask(json!({"op": "presence", "channel": "chat:1", "action": "leave"})).await;
    // One of two connections of a client.
    members[1].ask(json!({"op": "presence", "channel": "chat:1", "action": "leave"})).await;
    told(2).await;
    assert_eq!(show(&tenant, "chat:1").await["members"], 2);
}
