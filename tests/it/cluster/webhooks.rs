//! Webhooks of several nodes: told once, also of a gateway that was killed, and by whichever worker is left.

use super::*;
use crate::harness::webhooks::Receiver;

const ALL: [&str; 4] = ["channel_occupied", "channel_vacated", "member_added", "member_removed"];

async fn private() -> Fleet {
    let production = Production::start(PARTITIONS).await;
    Fleet::start(production, |options| options.env("FANFARE_WEBHOOK_ALLOW_PRIVATE", "true")).await
}

fn sorted(events: &[Value]) -> Vec<String> {
    let mut texts: Vec<_> = events.iter().map(Value::to_string).collect();
    texts.sort();
    texts
}

#[tokio::test]
async fn what_a_killed_gateway_had_is_told_gone_and_nothing_is_told_twice() {
    let mut fleet = private().await;
    let tenant = fleet.tenant().await;
    let receiver = Receiver::start().await;
    tenant.webhook(&receiver.url("/"), &ALL).await;
    let (mut ann, mut bob) = (fleet.join(&tenant, 0, "ann").await, fleet.join(&tenant, 1, "bob").await);
    for socket in [&mut ann, &mut bob] {
        socket.subscribe("both").await;
        socket.ask(json!({"op": "presence", "channel": "presence-a", "action": "enter"})).await;
    }
    ann.subscribe("one").await;
    let told = receiver.events("/", 4).await;
    let expected = [
        json!({"name": "channel_occupied", "channel": "both"}),
        json!({"name": "channel_occupied", "channel": "one"}),
        json!({"name": "member_added", "channel": "presence-a", "user_id": "ann"}),
        json!({"name": "member_added", "channel": "presence-a", "user_id": "bob"}),
    ];
    assert_eq!(sorted(&told), sorted(&expected));
    fleet.gateways[0].kill9().await;
    let told = receiver.events("/", 6).await;
    let gone = [
        json!({"name": "channel_vacated", "channel": "one"}),
        json!({"name": "member_removed", "channel": "presence-a", "user_id": "ann"}),
    ];
    assert_eq!(sorted(&told[4..]), sorted(&gone));
    for request in receiver.received() {
        request.verify(&tenant);
    }
    // Both workers look for what nobody noted, again and again until the last is gone; what one has told the other does not.
    bob.drop_connection();
    let told = receiver.events("/", 8).await;
    let gone = [
        json!({"name": "channel_vacated", "channel": "both"}),
        json!({"name": "member_removed", "channel": "presence-a", "user_id": "bob"}),
    ];
    assert_eq!(sorted(&told[6..]), sorted(&gone));
    assert_eq!(receiver.received().len(), 8);
}

#[tokio::test]
async fn what_a_killed_worker_had_in_hand_is_told_by_the_other() {
    let mut fleet = private().await;
    let tenant = fleet.tenant().await;
    let receiver = Receiver::start().await;
    receiver.always(Some(500));
    tenant.webhook(&receiver.url("/"), &ALL).await;
    let mut ann = fleet.join(&tenant, 0, "ann").await;
    ann.subscribe("a").await;
    until("it was tried", async || (!receiver.received().is_empty()).then_some(())).await;
    // One of them had it; whichever is killed, the other has it, or takes over.
    fleet.workers[0].kill9().await;
    receiver.always(None);
    let told = receiver.events("/", 1).await;
    assert_eq!(told[0], json!({"name": "channel_occupied", "channel": "a"}));
    ann.subscribe("b").await;
    let told = receiver.events("/", 2).await;
    assert_eq!(told[1], json!({"name": "channel_occupied", "channel": "b"}));
}
