//! What became of a message, asked at any node, of clients at any other, also while parts are away.

use std::time::Duration;

use super::*;
use crate::deliveries::{ask, becomes, publish, trace};

/// By when a gateway that was killed is known to be lost.
const BOUND: Duration = Duration::from_secs(40);

#[tokio::test]
async fn every_node_explains_what_any_gateway_delivered_and_says_what_a_lost_one_did_not_tell() {
    let mut fleet = fleet().await;
    let tenant = fleet.tenant().await;
    trace(&tenant, true).await;
    let (mut ann, mut bob) = (fleet.join(&tenant, 0, "ann").await, fleet.join(&tenant, 1, "bob").await);
    let begun = ann.subscribe("chat").await;
    bob.subscribe("chat").await;
    let message = publish(&tenant, "chat", json!({"data": 1})).await;
    for api in &fleet.apis {
        let tenant = tenant.at(api.url());
        becomes(&tenant, "chat", &message, "ann", "delivered").await;
        becomes(&tenant, "chat", &message, "bob", "delivered").await;
        becomes(&tenant, "chat", &message, "cid", "not_subscribed").await;
    }

    // While no worker works, what is accepted waits in the queue.
    fleet.workers.iter().for_each(|worker| worker.stop());
    let waiting = post(&tenant, "chat", json!(2)).await;
    assert_eq!(waiting.status, 202, "{}", waiting.text);
    let waiting = waiting.body["message"].as_str().expect("an id").to_owned();
    let told = until("it is known", async || {
        let answer = ask(&tenant, "chat", &waiting, "ann").await;
        (answer.status == 200).then_some(answer.body)
    })
    .await;
    assert_eq!(
        (&told["outcome"], &told["accepted"], &told["persisted"], &told["delivered"]),
        (&json!("not_persisted"), &json!(true), &json!(false), &json!(false))
    );
    fleet.workers.iter().for_each(|worker| worker.cont());
    for socket in [&mut ann, &mut bob] {
        receive_numbers(socket, 1..=2).await;
    }
    becomes(&tenant, "chat", &waiting, "ann", "delivered").await;

    // A gateway that is killed told what it had written until then, and nothing more is claimed of it.
    fleet.gateways[0].kill9().await;
    let after = publish(&tenant, "chat", json!({"data": 3})).await;
    let told = within(BOUND, "the gateway is lost", async || {
        let told = ask(&tenant, "chat", &after, "ann").await.body;
        assert_ne!(told["delivered"], true, "{told}");
        (told["subscriptions"][0]["ended_by"] == "node_lost").then_some(told)
    })
    .await;
    assert_eq!((&told["outcome"], &told["delivered"]), (&json!("unknown"), &Value::Null), "{told}");
    becomes(&tenant, "chat", &message, "ann", "delivered").await;
    becomes(&tenant, "chat", &after, "bob", "delivered").await;
    let mut ann = fleet.join(&tenant, 1, "ann").await;
    ann.resume("chat", begun["epoch"].as_str().expect("an epoch"), 2).await;
    receive_numbers(&mut ann, 3..=3).await;
    becomes(&tenant, "chat", &after, "ann", "delivered").await;

    // One that ends says how.
    let ended = fleet.gateways[1].terminate().await;
    assert!(ended.success(), "{ended}");
    let last = publish(&tenant, "chat", json!({"data": 4})).await;
    let told = becomes(&tenant, "chat", &last, "bob", "disconnected").await;
    assert_eq!(told["subscriptions"][0]["ended_by"], "draining", "{told}");
}
