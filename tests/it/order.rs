//! D2–D4: one order, no hole, no double, for publishers that repeat themselves and subscribers that come and go.

use std::{collections::HashMap, sync::Arc};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::harness::{
    server::{Options, Server},
    sockets::{Received, Socket},
    tenants::Tenant,
};

const PUBLISHERS: usize = 50;
const CHANNELS: usize = 20;
const SUBSCRIBERS: usize = 50;
const MESSAGES_EACH: usize = 40;

fn channel(n: usize) -> String {
    format!("room:{}", n % CHANNELS)
}

/// Publishes in turn; each message up to three times under the same key, sometimes at once.
async fn publisher(tenant: Tenant, n: usize) {
    let mut random = StdRng::seed_from_u64(n as u64);
    let path = format!("/v1/channels/{}/messages?ack=persisted", channel(n));
    for message in 0..MESSAGES_EACH {
        let body = json!({"data": {"by": n, "n": message}, "idempotency_key": format!("{n}-{message}")});
        let send = || tenant.data(Method::POST, &path, body.clone());
        let answers = match random.random_range(0..3) {
            0 => vec![send().await],
            1 => vec![send().await, send().await],
            _ => {
                let (a, b, c) = tokio::join!(send(), send(), send());
                vec![a, b, c]
            }
        };
        let places: Vec<_> = answers.into_iter().map(|answer| answer.expect(StatusCode::CREATED)).collect();
        assert!(places.iter().all(|place| *place == places[0]), "one key, several answers: {places:?}");
    }
}

/// Follows two channels from the start, dropping the connection at random, until every one is complete; gives the serials it received.
async fn subscriber(
    tenant: Tenant,
    token: Arc<String>,
    n: usize,
    mut heads: watch::Receiver<Option<HashMap<String, u64>>>,
) -> HashMap<String, Vec<u64>> {
    let mut random = StdRng::seed_from_u64(1_000 + n as u64);
    let follows = [channel(n), channel(n * 7 + 3)];
    let mut received: HashMap<String, Vec<u64>> = follows.iter().map(|name| (name.clone(), Vec::new())).collect();
    let mut epochs: HashMap<String, String> = HashMap::new();
    loop {
        let mut socket = Socket::connect(&tenant.url, &token).await;
        for name in received.keys().cloned().collect::<Vec<_>>() {
            let position = received[&name].last().copied().unwrap_or(0);
            let ok = match epochs.get(&name) {
                Some(epoch) => socket.resume(&name, epoch, position).await,
                None => {
                    socket.ask(json!({"op": "subscribe", "channel": name, "rewind": {"messages": 1_000_000}})).await
                }
            };
            assert!(ok["lost"].is_null(), "{ok}");
            epochs.insert(name, ok["epoch"].as_str().expect("an epoch").to_owned());
        }
        let mut left = random.random_range(5..120);
        while left > 0 {
            let is_complete = |heads: &Option<HashMap<String, u64>>| {
                heads
                    .as_ref()
                    .is_some_and(|heads| received.iter().all(|(name, serials)| heads[name] == serials.len() as u64))
            };
            if is_complete(&heads.borrow()) {
                return received;
            }
            tokio::select! {
                event = socket.event() => {
                    assert_eq!(event["op"], "message", "{event}");
                    let serials = received.get_mut(event["channel"].as_str().expect("a channel")).expect("one that is followed");
                    serials.push(event["serial"].as_u64().expect("a serial"));
                    left -= 1;
                }
                changed = heads.changed() => changed.expect("the heads are told"),
            }
        }
        socket.drop_connection();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_subscribers_that_come_and_go_each_see_every_serial_once_and_in_order() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let token = Arc::new(tenant.full_token("watcher").await);
    let heads = watch::Sender::new(None);
    let subscribers: Vec<_> = (0..SUBSCRIBERS)
        .map(|n| tokio::spawn(subscriber(tenant.clone(), Arc::clone(&token), n, heads.subscribe())))
        .collect();
    let publishers: Vec<_> = (0..PUBLISHERS).map(|n| tokio::spawn(publisher(tenant.clone(), n))).collect();
    for publisher in publishers {
        publisher.await.expect("a publisher succeeds");
    }
    let mut complete = HashMap::new();
    for n in 0..CHANNELS {
        let history = tenant.history(&channel(n)).await;
        check_history(&history);
        complete.insert(channel(n), history.len() as u64);
    }
    assert_eq!(complete.values().sum::<u64>(), (PUBLISHERS * MESSAGES_EACH) as u64);
    heads.send_replace(Some(complete.clone()));
    for subscriber in subscribers {
        for (name, serials) in subscriber.await.expect("a subscriber succeeds") {
            assert_eq!(serials, (1..=complete[&name]).collect::<Vec<_>>(), "{name}");
        }
    }
}

/// Serials without holes, each publisher's messages once and in its order.
fn check_history(history: &[Value]) {
    let mut next: HashMap<u64, u64> = HashMap::new();
    for (at, item) in history.iter().enumerate() {
        assert_eq!(item["serial"], at as u64 + 1);
        let (by, n) = (item["data"]["by"].as_u64().expect("who"), item["data"]["n"].as_u64().expect("which"));
        let expected = next.entry(by).or_default();
        assert_eq!(n, *expected, "publisher {by}");
        *expected += 1;
    }
}

/// Publishes as fast as answers come, until told to stop.
async fn publish_until(tenant: Tenant, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow_and_update() {
        tenant.publish("busy", json!("x")).await;
    }
}

/// Where a subscription starts, in turn: live, after the first message, and a few back.
fn start(round: usize, epoch: &Value, sent: u64) -> Value {
    match round % 3 {
        0 => json!({"op": "subscribe", "channel": "busy"}),
        1 => json!({"op": "subscribe", "channel": "busy", "since": {"epoch": epoch, "serial": sent}}),
        _ => json!({"op": "subscribe", "channel": "busy", "rewind": {"messages": 10}}),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscribing_at_full_speed_loses_nothing_between_history_and_live() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let first = tenant.publish("busy", json!("first")).await;
    assert_eq!(first, 1);
    let stop = watch::Sender::new(false);
    let publishers: Vec<_> = (0..6).map(|_| tokio::spawn(publish_until(tenant.clone(), stop.subscribe()))).collect();
    let mut socket = tenant.join("watcher").await;
    let epoch = socket.subscribe("busy").await["epoch"].clone();
    socket.ask(json!({"op": "unsubscribe", "channel": "busy"})).await;
    let mut last_seen = 1;
    for round in 0..150 {
        let mut socket = tenant.join("watcher").await;
        let ok = socket.ask(start(round, &epoch, last_seen)).await;
        let head = ok["serial"].as_u64().expect("a head");
        let backlog = ok["backlog"].as_u64().expect("a backlog");
        let mut expected = head - backlog + 1;
        if round % 3 == 1 {
            assert_eq!((ok["resumed"].clone(), expected), (json!(true), last_seen + 1));
        }
        for message in socket.messages(backlog as usize + 20).await {
            assert_eq!(message["serial"], expected, "round {round}");
            expected += 1;
        }
        last_seen = expected - 1;
    }
    stop.send_replace(true);
    for publisher in publishers {
        publisher.await.expect("a publisher succeeds");
    }
}

#[tokio::test]
async fn a_subscription_survives_the_death_of_the_server_without_a_hole() {
    let mut server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let token = tenant.full_token("ann").await;
    let mut socket = Socket::connect(&tenant.url, &token).await;
    let ok = socket.subscribe("room:1").await;
    tenant.publish("room:1", json!(1)).await;
    assert_eq!(socket.event_of("message").await["serial"], 1);
    server.kill9().await;
    assert_eq!(socket.receive().await, Received::Lost);
    server.restart().await;
    tenant.publish("room:1", json!(2)).await;
    let mut socket = Socket::connect(&tenant.url, &token).await;
    let ok = socket.resume("room:1", ok["epoch"].as_str().expect("an epoch"), 1).await;
    assert_eq!((&ok["resumed"], &ok["backlog"]), (&json!(true), &json!(1)));
    tenant.publish("room:1", json!(3)).await;
    let serials: Vec<_> = socket.messages(2).await.iter().map(|message| message["serial"].clone()).collect();
    assert_eq!(serials, [2, 3]);
}
