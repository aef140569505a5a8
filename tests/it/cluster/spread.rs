//! Publishers and subscribers spread over the nodes: one order, no hole, nothing twice.

use std::collections::HashMap;

use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::{Value, json};

use super::*;

const CHANNELS: usize = 4;
const PUBLISHERS: usize = 4;
const EACH: u64 = 60;

fn channel(n: usize) -> String {
    format!("spread:{n}")
}

/// Publishes one message after the other in turn to every channel, even ones over REST at both nodes, odd ones by socket.
async fn publish(fleet: &Fleet, tenant: &Tenant, number: usize) {
    let mut socket = fleet.join(tenant, number % 2, &format!("publisher-{number}")).await;
    for n in 0..EACH {
        let (to, data) = (channel((number + n as usize) % CHANNELS), json!({"by": number, "n": n}));
        if number.is_multiple_of(2) {
            post(&tenant.at(fleet.apis[n as usize % 2].url()), &to, data).await.expect(StatusCode::ACCEPTED);
        } else {
            socket.ask(json!({"op": "publish", "channel": to, "data": data})).await;
        }
    }
}

/// Everything of every channel, each in the order of its serials.
async fn follow(mut socket: Socket) -> HashMap<String, Vec<Value>> {
    let mut received: HashMap<String, Vec<Value>> = HashMap::new();
    for message in socket.messages(PUBLISHERS * EACH as usize).await {
        let name = message["channel"].as_str().expect("a channel").to_owned();
        let before = received.entry(name).or_default();
        assert_eq!(message["serial"], before.len() as u64 + 1, "{message}");
        before.push(message);
    }
    received
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_all_nodes_a_channel_has_one_order_without_a_hole_and_nothing_twice() {
    let fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let mut subscribers = Vec::new();
    for n in 0..4 {
        let mut socket = fleet.join(&tenant, n % 2, &format!("subscriber-{n}")).await;
        for n in 0..CHANNELS {
            socket.subscribe(&channel(n)).await;
        }
        subscribers.push(socket);
    }
    let publishing = join_all((0..PUBLISHERS).map(|n| publish(&fleet, &tenant, n)));
    let (_, received) = tokio::join!(publishing, join_all(subscribers.into_iter().map(follow)));
    for n in 0..CHANNELS {
        let history = tenant.at(fleet.apis[1].url()).history(&channel(n)).await;
        let mut last: HashMap<String, u64> = HashMap::new();
        for item in &history {
            let before = last.insert(item["data"]["by"].to_string(), item["data"]["n"].as_u64().expect("a number"));
            assert!(before < item["data"]["n"].as_u64(), "a publisher's order is kept: {item}");
        }
        let ids = |items: &[Value]| items.iter().map(|item| item["id"].clone()).collect::<Vec<_>>();
        for one in &received {
            assert_eq!(ids(&one[&channel(n)]), ids(&history), "{}", channel(n));
        }
    }
}
