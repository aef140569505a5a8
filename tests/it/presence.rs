//! Presence of one node, as clients and backends see it.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{
    server::{Options, Server},
    sockets::Socket,
    tenants::{Answer, Tenant, start},
    tokens::{every_right, now_s},
    waiting::until,
};

/// A socket that is told of presence on a channel.
pub async fn watcher(tenant: &Tenant, channel: &str) -> Socket {
    let mut socket = tenant.join("watcher").await;
    socket.ask(json!({"op": "subscribe", "channel": channel, "presence": true})).await;
    socket
}

pub async fn enter(socket: &mut Socket, channel: &str, data: Value) {
    let ok = socket.ask(json!({"op": "presence", "channel": channel, "action": "enter", "data": data})).await;
    assert_eq!(ok, json!({}));
}

/// The next presence event as `enter ann`.
pub async fn said(socket: &mut Socket) -> String {
    let event = socket.event_of("presence").await;
    format!("{} {}", event["action"].as_str().expect("a text"), event["client"].as_str().expect("a text"))
}

async fn members(tenant: &Tenant, channel: &str) -> Value {
    let path = format!("/v1/channels/{channel}/presence");
    tenant.data(Method::GET, &path, Value::Null).await.expect(StatusCode::OK)
}

#[tokio::test]
async fn a_member_enters_is_seen_everywhere_and_leaves() {
    let (_server, tenant) = start().await;
    let mut watcher = watcher(&tenant, "chat:1").await;
    let now = now_s();
    let claims = json!({"sub": "ann", "cap": every_right(), "info": {"name": "Ann"}, "iat": now, "exp": now + 600.0});
    let mut ann = Socket::connect(&tenant.url, &tenant.sign(&claims)).await;
    enter(&mut ann, "chat:1", json!({"mood": 1.5})).await;
    let entered = watcher.event_of("presence").await;
    assert_eq!(entered["connection"], ann.connected["connection"]);
    let shown = json!({"op": "presence", "channel": "chat:1", "action": "enter", "client": "ann", "connection": entered["connection"],
        "data": {"mood": 1.5}, "info": {"name": "Ann"}, "time": entered["time"]});
    assert_eq!(entered, shown);
    let listed = members(&tenant, "chat:1").await;
    let item = json!({"client": "ann", "connection": entered["connection"], "data": {"mood": 1.5}, "info": {"name": "Ann"}, "since": entered["time"]});
    assert_eq!(listed, json!({"items": [item], "count": 1, "next": null}));
    assert_eq!(watcher.ask(json!({"op": "presence", "channel": "chat:1", "action": "list"})).await, listed);
    ann.ask(json!({"op": "presence", "channel": "chat:1", "action": "update", "data": null})).await;
    let updated = watcher.event_of("presence").await;
    assert_eq!((&updated["action"], updated.get("data")), (&json!("update"), None));
    ann.ask(json!({"op": "presence", "channel": "chat:1", "action": "leave", "data": "bye"})).await;
    let left = watcher.event_of("presence").await;
    assert_eq!((&left["action"], &left["client"], &left["data"]), (&json!("leave"), &json!("ann"), &json!("bye")));
    assert_eq!(members(&tenant, "chat:1").await, json!({"items": [], "count": 0, "next": null}));
    assert_eq!(ann.refused(json!({"op": "presence", "channel": "chat:1", "action": "leave"})).await, "not_entered");
}

#[tokio::test]
async fn a_client_is_one_member_however_many_connections_it_has_and_may_come_back_unnoticed() {
    let (_server, tenant) = start().await;
    let mut watcher = watcher(&tenant, "chat:1").await;
    // Those who come back are there already, so that it takes them a request.
    let [mut one, mut two, mut back] = [tenant.join("ann").await, tenant.join("ann").await, tenant.join("ann").await];
    let mut bob = tenant.join("bob").await;
    enter(&mut one, "chat:1", json!(1)).await;
    enter(&mut two, "chat:1", json!(1)).await;
    assert_eq!(said(&mut watcher).await, "enter ann");
    one.ask(json!({"op": "presence", "channel": "chat:1", "action": "leave"})).await;
    two.drop_connection();
    enter(&mut back, "chat:1", json!(1)).await;
    enter(&mut bob, "chat:1", json!(1)).await;
    assert_eq!(said(&mut watcher).await, "enter bob");
    let gone_at = std::time::Instant::now();
    back.drop_connection();
    assert_eq!(said(&mut watcher).await, "leave ann");
    assert!(gone_at.elapsed() > Duration::from_millis(4_500), "{:?}", gone_at.elapsed());
    assert_eq!(members(&tenant, "chat:1").await["count"], 1);
}

#[tokio::test]
async fn many_members_come_in_pages_and_a_plan_bounds_them() {
    let plan = "[plans.small]\npresence_members = 103\n";
    let server = Server::start(Options::default().config(plan).env("FANFARE_PLAN_DEFAULT", "small")).await;
    let tenant = Tenant::sign_up(&server).await;
    let mut sockets = Vec::new();
    for number in 0..104 {
        let token = tenant.short_token(&format!("client-{number:03}"), every_right(), 600.0);
        let mut socket = Socket::connect(&tenant.url, &token).await;
        let request = json!({"op": "presence", "channel": "chat:1", "action": "enter"});
        if number < 103 {
            socket.ask(request).await;
        } else {
            assert_eq!(socket.refused(request).await, "presence_limit");
        }
        sockets.push(socket);
    }
    let first = members(&tenant, "chat:1").await;
    assert_eq!((first["items"].as_array().expect("items").len(), &first["count"]), (100, &json!(103)));
    let next = first["next"].as_str().expect("there is more");
    let path = format!("/v1/channels/chat:1/presence?next={next}");
    let rest = tenant.data(Method::GET, &path, Value::Null).await.expect(StatusCode::OK);
    assert_eq!((rest["items"].as_array().expect("items").len(), &rest["next"]), (3, &Value::Null));
    let by_socket =
        sockets[0].ask(json!({"op": "presence", "channel": "chat:1", "action": "list", "next": next})).await;
    assert_eq!(by_socket, rest);
    let wrong = tenant.data(Method::GET, "/v1/channels/chat:1/presence?next=x", Value::Null).await;
    wrong.expect_problem(422, "invalid_body");
}

#[tokio::test]
async fn presence_needs_its_right_and_ends_with_it() {
    let (_server, tenant) = start().await;
    let mut watcher = watcher(&tenant, "chat:1").await;
    let reader = tenant.token("eve", json!({"*": ["subscribe"]})).await;
    let mut eve = Socket::connect(&tenant.url, &reader).await;
    for request in [
        json!({"op": "presence", "channel": "chat:1", "action": "enter"}),
        json!({"op": "presence", "channel": "chat:1", "action": "list"}),
        json!({"op": "subscribe", "channel": "chat:1", "presence": true}),
    ] {
        assert_eq!(eve.refused(request).await, "forbidden");
    }
    let mut anonymous = Socket::connect_public(&tenant.url, &tenant.key).await;
    let request = json!({"op": "presence", "channel": "chat:1", "action": "enter"});
    assert_eq!(anonymous.refused(request.clone()).await, "forbidden");
    let listed = Answer::of(tenant.request(Method::GET, "/v1/channels/chat:1/presence").bearer_auth(&reader)).await;
    listed.expect_problem(403, "forbidden");

    let mut ann = tenant.join("ann").await;
    enter(&mut ann, "chat:1", json!(1)).await;
    assert_eq!(said(&mut watcher).await, "enter ann");
    let narrow = tenant.token("ann", json!({"*": ["subscribe"]})).await;
    ann.ask(json!({"op": "token", "token": narrow})).await;
    assert_eq!(said(&mut watcher).await, "leave ann");

    let own = tenant.with_key(json!({"name": "second"})).await;
    let mut bob = own.join("bob").await;
    enter(&mut bob, "chat:1", json!(1)).await;
    assert_eq!(said(&mut watcher).await, "enter bob");
    let path = format!("/v1/apps/{}/keys/{}", own.app, own.key);
    tenant.control(Method::DELETE, &path, Value::Null).await.expect(StatusCode::NO_CONTENT);
    assert_eq!(said(&mut watcher).await, "leave bob");

    tenant.rule("chat", json!({"presence": false})).await;
    let ended = watcher.event_of("unsubscribed").await;
    assert_eq!(ended["error"]["code"], "forbidden");
    assert_eq!(watcher.refused(request).await, "forbidden");
    tenant.data(Method::GET, "/v1/channels/chat:1/presence", Value::Null).await.expect_problem(403, "forbidden");
}

#[tokio::test]
async fn data_is_bounded() {
    let (_server, tenant) = start().await;
    let mut ann = tenant.join("ann").await;
    let with =
        |bytes: usize| json!({"op": "presence", "channel": "chat:1", "action": "enter", "data": "x".repeat(bytes - 2)});
    ann.ask(with(1_024)).await;
    assert_eq!(ann.refused(with(1_025)).await, "message_too_large");
}

#[tokio::test]
async fn a_token_that_was_expired_for_a_while_is_told_what_was_missed() {
    let (_server, tenant) = start().await;
    let mut watcher = tenant.join("watcher").await;
    watcher.ask(json!({"op": "subscribe", "channel": "chat:1", "presence": true})).await;
    let (mut ann, mut bob) = (tenant.join("ann").await, tenant.join("bob").await);
    enter(&mut ann, "chat:1", json!(1)).await;
    assert_eq!(said(&mut watcher).await, "enter ann");
    tenant.shorten(&mut watcher, "watcher").await;
    let request = json!({"op": "presence", "channel": "chat:1", "action": "list"});
    until("the token runs out", async || {
        (watcher.answer(request.clone()).await["error"]["code"] == "token_expired").then_some(())
    })
    .await;
    ann.ask(json!({"op": "presence", "channel": "chat:1", "action": "leave"})).await;
    enter(&mut bob, "chat:1", json!(2)).await;
    until("both are known", async || (members(&tenant, "chat:1").await["items"][0]["client"] == "bob").then_some(()))
        .await;
    let fresh = tenant.full_token("watcher").await;
    watcher.ask(json!({"op": "token", "token": fresh})).await;
    let mut told = [said(&mut watcher).await, said(&mut watcher).await];
    told.sort();
    assert_eq!(told, ["enter bob", "leave ann"]);
}

#[tokio::test]
async fn many_watchers_are_told_every_event_in_order_and_whoever_comes_later_only_what_is_new() {
    const WATCHERS: usize = 60;
    const MEMBERS: usize = 40;
    let (_server, tenant) = start().await;
    let mut watchers = Vec::new();
    for _ in 0..WATCHERS {
        watchers.push(watcher(&tenant, "hall:1").await);
    }
    let mut early = Vec::new();
    for number in 0..MEMBERS {
        let mut member = tenant.join(&format!("member-{number:02}")).await;
        enter(&mut member, "hall:1", json!(number)).await;
        early.push(member);
    }
    // Not every watcher, nor its gateway, may have heard of all by now.
    let mut late = watcher(&tenant, "hall:1").await;
    for member in &mut early {
        member.ask(json!({"op": "presence", "channel": "hall:1", "action": "leave"})).await;
    }
    let of = |action: &str| (0..MEMBERS).map(|number| format!("{action} member-{number:02}")).collect::<Vec<_>>();
    for watcher in &mut watchers {
        let mut told = Vec::new();
        for _ in 0..2 * MEMBERS {
            told.push(said(watcher).await);
        }
        assert_eq!(told, [of("enter"), of("leave")].concat());
    }
    let mut told = Vec::new();
    while told.len() < MEMBERS || !told.ends_with(&of("leave")) {
        told.push(said(&mut late).await);
    }
    let entered = &told[..told.len() - MEMBERS];
    assert!(of("enter").ends_with(entered), "{entered:?}");
}
