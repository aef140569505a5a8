//! Presence over two gateways: one that dies, one that is stopped, one that is cut off, and a Redis that forgets everything.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::future::join_all;

use super::*;
use crate::harness::{sockets::PATIENCE, stalls::Stalls, waiting::within};

const CHANNEL: &str = "room:1";

async fn watcher(fleet: &Fleet, tenant: &Tenant, gateway: usize) -> Socket {
    let mut socket = fleet.join(tenant, gateway, &format!("watcher-{gateway}")).await;
    socket.ask(json!({"op": "subscribe", "channel": CHANNEL, "presence": true})).await;
    socket
}

/// A connection of a client that has entered.
async fn member(fleet: &Fleet, tenant: &Tenant, gateway: usize, client: &str) -> Socket {
    let mut socket = fleet.join(tenant, gateway, client).await;
    let enter = json!({"op": "presence", "channel": CHANNEL, "action": "enter", "data": {"at": gateway}});
    until("the client has entered", async || {
        let answer = socket.answer(enter.clone()).await;
        match answer["error"]["code"].as_str() {
            None => Some(()),
            Some("unavailable") => None,
            Some(_) => panic!("{answer}"),
        }
    })
    .await;
    socket
}

async fn members(fleet: &Fleet, tenant: &Tenant, gateway: usize, clients: impl Iterator<Item = String>) -> Vec<Socket> {
    let mut sockets = Vec::new();
    let clients: Vec<_> = clients.collect();
    for some in clients.chunks(25) {
        sockets.extend(join_all(some.iter().map(|client| member(fleet, tenant, gateway, client))).await);
    }
    sockets
}

/// The next events, each of which must be the only one of its client.
async fn told(socket: &mut Socket, action: &str, count: usize) -> BTreeMap<String, Value> {
    let mut told = BTreeMap::new();
    for _ in 0..count {
        let event = socket.event_of("presence").await;
        assert_eq!(event["action"], action, "{event}");
        let client = event["client"].as_str().expect("a client").to_owned();
        assert!(told.insert(client, event.clone()).is_none(), "twice: {event}");
    }
    told
}

/// Somebody enters, and that must be all that there is to tell.
async fn nothing_else_was_told(
    fleet: &Fleet,
    tenant: &Tenant,
    gateway: usize,
    watchers: &mut [Socket],
    client: &str,
) -> Socket {
    let socket = member(fleet, tenant, gateway, client).await;
    for watcher in watchers {
        assert!(told(watcher, "enter", 1).await.contains_key(client));
    }
    socket
}

async fn count(fleet: &Fleet, tenant: &Tenant) -> u64 {
    let tenant = tenant.at(fleet.apis[1].url());
    let answer = tenant.data(Method::GET, &format!("/v1/channels/{CHANNEL}/presence"), Value::Null).await;
    answer.body["count"].as_u64().unwrap_or_else(|| panic!("{}", answer.body))
}

#[tokio::test]
async fn the_members_of_a_gateway_that_is_killed_leave_once_within_15_s_but_for_those_who_came_back() {
    let mut fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let mut watcher = watcher(&fleet, &tenant, 1).await;
    let _doomed = members(&fleet, &tenant, 0, (0..550).map(|number| format!("client-{number:03}"))).await;
    told(&mut watcher, "enter", 550).await;
    fleet.gateways[0].kill9().await;
    let (killed_at, stalls) = (Instant::now(), Stalls::begin());
    let _back = members(&fleet, &tenant, 1, (500..550).map(|number| format!("client-{number:03}"))).await;
    // They said something else, so that is told.
    let mut heard = BTreeMap::new();
    for _ in 0..550 {
        let event = watcher.event_of("presence").await;
        let client = event["client"].as_str().expect("a client").to_owned();
        let expected = if client.as_str() < "client-500" { "leave" } else { "update" };
        assert_eq!(event["action"], expected, "{event}");
        assert!(heard.insert(client, event.clone()).is_none(), "twice: {event}");
    }
    let took = killed_at.elapsed();
    println!("500 members of a killed gateway had left after {took:?}; {:?} were lost to others", stalls.lost());
    stalls.hold("the last leave", took, Duration::from_secs(15));
    let mut watchers = [watcher];
    let _last = nothing_else_was_told(&fleet, &tenant, 1, &mut watchers, "last").await;
    assert_eq!(count(&fleet, &tenant).await, 51);
}

#[tokio::test]
async fn a_gateway_that_was_stopped_for_long_neither_revives_nor_doubles_anybody() {
    let fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let mut watcher = watcher(&fleet, &tenant, 1).await;
    let mut stopped = members(&fleet, &tenant, 0, (0..20).map(|number| format!("client-{number:02}"))).await;
    told(&mut watcher, "enter", 20).await;
    fleet.gateways[0].stop();
    told(&mut watcher, "leave", 20).await;
    // Half of them do not wait: they are members by the other gateway, and their old sockets are gone.
    let moved = stopped.split_off(10);
    moved.into_iter().for_each(Socket::drop_connection);
    let _moved = members(&fleet, &tenant, 1, (10..20).map(|number| format!("client-{number:02}"))).await;
    told(&mut watcher, "enter", 10).await;
    fleet.gateways[0].cont();
    let revived = told(&mut watcher, "enter", 10).await;
    assert!(revived.keys().all(|client| client.as_str() < "client-10"), "{revived:?}");
    let mut watchers = [watcher];
    let _last = nothing_else_was_told(&fleet, &tenant, 0, &mut watchers, "last").await;
    assert_eq!(count(&fleet, &tenant).await, 21);
}

#[tokio::test]
async fn a_redis_that_forgets_everything_is_told_again_and_nobody_notices() {
    let mut fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let mut watchers = [watcher(&fleet, &tenant, 0).await, watcher(&fleet, &tenant, 1).await];
    let _sockets = [
        members(&fleet, &tenant, 0, (0..20).map(|number| format!("a-{number}"))).await,
        members(&fleet, &tenant, 1, (0..20).map(|number| format!("b-{number}"))).await,
    ];
    for watcher in &mut watchers {
        told(watcher, "enter", 40).await;
    }
    fleet.production.redis.engine().kill9().await;
    let mut ann = fleet.join(&tenant, 0, "ann").await;
    let enter = json!({"op": "presence", "channel": CHANNEL, "action": "enter"});
    assert_eq!(ann.refused(enter).await, "unavailable");
    fleet.production.redis.engine().restart().await;
    // Whoever took a part of them for everyone would never be told of the rest, since nothing is told of those who are named again.
    let api = tenant.at(fleet.apis[1].url());
    let mut lister = fleet.join(&tenant, 1, "lister").await;
    let (mut by_http, mut by_socket) = (None, None);
    within(2 * PATIENCE, "who is there is told", async || {
        let answer = api.data(Method::GET, &format!("/v1/channels/{CHANNEL}/presence"), Value::Null).await;
        match answer.status {
            200 => by_http = answer.body["count"].as_u64().or(by_http),
            _ => assert_eq!(answer.body["code"], "unavailable", "{}", answer.body),
        }
        let request = json!({"op": "presence", "channel": CHANNEL, "action": "list"});
        let answer = lister.answer(request).await;
        match answer.get("ok") {
            Some(listed) => by_socket = listed["count"].as_u64(),
            None => assert_eq!(answer["error"]["code"], "unavailable", "{answer}"),
        }
        for count in [by_http, by_socket].into_iter().flatten() {
            assert_eq!(count, 40, "a part of those who are there was told as everyone");
        }
        by_http.and(by_socket)
    })
    .await;
    let _last = nothing_else_was_told(&fleet, &tenant, 1, &mut watchers, "last").await;
    // Past the time in which nobody counts as gone there is still nothing to tell.
    let begun = Instant::now();
    until("the time is over", async || (begun.elapsed().as_secs() >= 16).then_some(())).await;
    let _end = nothing_else_was_told(&fleet, &tenant, 0, &mut watchers, "end").await;
    assert_eq!(count(&fleet, &tenant).await, 42);
}

#[tokio::test]
async fn a_gateway_that_was_cut_off_from_the_bus_tells_the_difference() {
    let fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let (mut cut_off, mut other) = (watcher(&fleet, &tenant, 1).await, watcher(&fleet, &tenant, 0).await);
    let mut sockets = members(&fleet, &tenant, 0, ["ann", "bob"].into_iter().map(str::to_owned)).await;
    for socket in [&mut cut_off, &mut other] {
        told(socket, "enter", 2).await;
    }
    let link = fleet.gateways[1].links.redis();
    link.cut();
    sockets[0].ask(json!({"op": "presence", "channel": CHANNEL, "action": "leave"})).await;
    sockets[1].ask(json!({"op": "presence", "channel": CHANNEL, "action": "update", "data": 7})).await;
    let _cat = member(&fleet, &tenant, 0, "cat").await;
    let expected = ["leave ann", "update bob", "enter cat"];
    let mut seen = Vec::new();
    for socket in [&mut other, &mut cut_off] {
        let mut told = Vec::new();
        for _ in 0..3 {
            let event = socket.event_of("presence").await;
            told.push(format!(
                "{} {}",
                event["action"].as_str().expect("a text"),
                event["client"].as_str().expect("a text")
            ));
        }
        seen.push(told);
        link.restore();
    }
    seen[1].sort();
    assert_eq!(
        (seen[0].clone(), seen[1].clone()),
        (expected.map(str::to_owned).to_vec(), ["enter cat", "leave ann", "update bob"].map(str::to_owned).to_vec())
    );
}

#[tokio::test]
async fn clients_that_move_from_a_gateway_that_ends_have_never_left() {
    let mut fleet = fleet().await;
    let tenant = fleet.tenant().await;
    let mut watcher = watcher(&fleet, &tenant, 1).await;
    let enter = async |fleet: &Fleet, gateway, client: &str| {
        let mut socket = fleet.join(&tenant, gateway, client).await;
        socket.ask(json!({"op": "presence", "channel": CHANNEL, "action": "enter", "data": 1})).await;
        socket
    };
    let mut sockets = Vec::new();
    for client in ["ann", "bob"] {
        sockets.push(enter(&fleet, 0, client).await);
    }
    told(&mut watcher, "enter", 2).await;
    // Who moves does so when it is closed, and does not wait for the end of the process.
    let token = tenant.short_token("ann", crate::harness::tokens::every_right(), 3_600.0);
    let (one, other) = fleet.gateways.split_at_mut(1);
    let moving = async {
        let [ann, bob] = sockets.as_mut_slice() else { panic!("there are two") };
        ann.closed().await;
        let mut moved = Socket::connect(other[0].url(), &token).await;
        moved.ask(json!({"op": "presence", "channel": CHANNEL, "action": "enter", "data": 1})).await;
        bob.closed().await;
        moved
    };
    let (status, _ann) = tokio::join!(one[0].terminate(), moving);
    assert!(status.success(), "{status}");
    let left = told(&mut watcher, "leave", 1).await;
    assert!(left.contains_key("bob"), "{left:?}");
    assert_eq!(count(&fleet, &tenant).await, 1);
}
