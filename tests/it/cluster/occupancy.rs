//! Occupancy over all nodes: exact, and within 15 s of a crash.

use std::time::{Duration, Instant};

use super::*;

/// How long a node that was killed may be counted.
const BOUND: Duration = Duration::from_secs(15);

/// The subscribers of `chat`, as both API nodes tell them; `None` while they differ or cannot be counted.
async fn counted(fleet: &Fleet, tenant: &Tenant) -> Option<u64> {
    counted_as(fleet, tenant, "subscribers").await
}

/// The same of `subscribers` or `members`.
async fn counted_as(fleet: &Fleet, tenant: &Tenant, whom: &str) -> Option<u64> {
    let mut counts = Vec::new();
    for api in &fleet.apis {
        let answer = tenant.at(api.url()).data(Method::GET, "/v1/channels/chat", Value::Null).await;
        match answer.status {
            200 => counts.push(answer.body[whom].as_u64()?),
            503 => return None,
            _ => panic!("{answer:?}"),
        }
    }
    (counts[0] == counts[1]).then_some(counts[0])
}

async fn until_counted(fleet: &Fleet, tenant: &Tenant, count: u64) -> Duration {
    let begun = Instant::now();
    within(BOUND, &format!("{count} are counted"), async || {
        (counted(fleet, tenant).await == Some(count)).then_some(())
    })
    .await;
    begun.elapsed()
}

async fn subscribe(fleet: &Fleet, tenant: &Tenant, gateway: usize, count: usize) -> Vec<Socket> {
    let mut sockets = Vec::new();
    for n in 0..count {
        let mut socket = fleet.join(tenant, gateway, &format!("client-{gateway}-{n}")).await;
        socket.subscribe("chat").await;
        sockets.push(socket);
    }
    sockets
}

#[tokio::test]
async fn the_subscribers_of_all_gateways_are_counted_and_those_of_a_killed_one_are_not() {
    let mut fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let mut watcher = fleet.join(&tenant, 1, "watcher").await;
    watcher.ask(json!({"op": "subscribe", "channel": "chat", "occupancy": true})).await;
    let (mut one, two) = (subscribe(&fleet, &tenant, 0, 12).await, subscribe(&fleet, &tenant, 1, 7).await);
    until_counted(&fleet, &tenant, 20).await;
    one.truncate(9);
    until_counted(&fleet, &tenant, 17).await;
    while watcher.event_of("occupancy").await["subscribers"] != 17 {}
    fleet.gateways[0].kill9().await;
    let took = until_counted(&fleet, &tenant, 8).await;
    println!("the subscribers of a killed gateway are gone after {took:?}");
    while watcher.event_of("occupancy").await["subscribers"] != 8 {}
    let page = tenant.data(Method::GET, "/v1/channels", Value::Null).await.body;
    assert_eq!((page["items"].as_array().map(Vec::len), &page["items"][0]["subscribers"]), (Some(1), &json!(8)));
    drop(two);
    until_counted(&fleet, &tenant, 1).await;
}

/// A connection of a client that is a member of `chat`, and does not subscribe.
async fn member(fleet: &Fleet, tenant: &Tenant, gateway: usize, client: &str) -> Socket {
    let mut socket = fleet.join(tenant, gateway, client).await;
    socket.ask(json!({"op": "presence", "channel": "chat", "action": "enter"})).await;
    socket
}

/// Waits until both API nodes say so, of the channel and in the list of channels.
async fn until_members(fleet: &Fleet, tenant: &Tenant, count: u64) -> Duration {
    let begun = Instant::now();
    within(BOUND, &format!("{count} members are counted"), async || {
        for api in &fleet.apis {
            let answer = tenant.at(api.url()).data(Method::GET, "/v1/channels", Value::Null).await;
            let item = answer.body["items"].get(0).filter(|item| item["channel"] == "chat")?;
            if item["members"] != count {
                return None;
            }
        }
        (counted_as(fleet, tenant, "members").await == Some(count)).then_some(())
    })
    .await;
    begun.elapsed()
}

/// Reads events of occupancy until one says so many members.
async fn until_told(watcher: &mut Socket, members: u64) {
    while watcher.event_of("occupancy").await["members"] != members {}
}

#[tokio::test]
async fn the_members_of_all_gateways_are_counted_each_client_once_and_those_of_a_killed_one_are_not() {
    let mut fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let mut watcher = fleet.join(&tenant, 1, "watcher").await;
    watcher.ask(json!({"op": "subscribe", "channel": "chat", "occupancy": true})).await;
    let mut members = Vec::new();
    for (gateway, client) in [(0, "ann"), (0, "bob"), (0, "cem"), (0, "dan"), (1, "dan"), (1, "eva"), (1, "fay")] {
        members.push(member(&fleet, &tenant, gateway, client).await);
    }
    until_members(&fleet, &tenant, 6).await;
    until_told(&mut watcher, 6).await;
    fleet.gateways[0].kill9().await;
    // Who is at both gateways is still there.
    let took = until_members(&fleet, &tenant, 3).await;
    println!("the members of a killed gateway are gone after {took:?}");
    until_told(&mut watcher, 3).await;
}

#[tokio::test]
async fn a_gateway_that_was_stopped_and_one_that_ends_are_counted_with_what_they_have() {
    let mut fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let (one, two) = (subscribe(&fleet, &tenant, 0, 5).await, subscribe(&fleet, &tenant, 1, 3).await);
    until_counted(&fleet, &tenant, 8).await;
    fleet.gateways[0].stop();
    until_counted(&fleet, &tenant, 3).await;
    drop(two);
    until_counted(&fleet, &tenant, 0).await;
    fleet.gateways[0].cont();
    until_counted(&fleet, &tenant, 5).await;
    let ended = fleet.gateways[0].terminate().await;
    assert!(ended.success(), "{ended}");
    let took = until_counted(&fleet, &tenant, 0).await;
    assert!(took < Duration::from_secs(5), "a gateway that ends says so: {took:?}");
    drop(one);
}

#[tokio::test]
async fn without_redis_nothing_is_counted_and_afterwards_nothing_is_counted_wrong() {
    let mut fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let (mut one, _two) = (subscribe(&fleet, &tenant, 0, 4).await, subscribe(&fleet, &tenant, 1, 3).await);
    until_counted(&fleet, &tenant, 7).await;
    fleet.production.redis.engine().kill9().await;
    until("it says so", async || {
        let answer = tenant.data(Method::GET, "/v1/channels/chat", Value::Null).await;
        (answer.status == 503).then(|| answer.expect_problem(503, "unavailable"))
    })
    .await;
    tenant.data(Method::GET, "/v1/channels", Value::Null).await.expect_problem(503, "unavailable");
    // Sockets are served all the same.
    one.pop();
    one[0].ask(json!({"op": "unsubscribe", "channel": "chat"})).await;
    fleet.production.redis.engine().restart().await;
    within(BOUND, "channels are counted again", async || {
        let count = counted(&fleet, &tenant).await?;
        assert_eq!(count, 5, "it is forgotten that Redis was away only once all is told");
        Some(())
    })
    .await;
}
