//! Presence channels: members are users, whatever number of tabs they have.

use serde_json::{Value, json};

use crate::harness::{
    pusher_sockets::{PusherSocket, auth, data, start},
    tenants::Tenant,
};

const ROOM: &str = "presence-room";

async fn member(url: &str, tenant: &Tenant, user: &str) -> (PusherSocket, Value) {
    let mut socket = PusherSocket::connect(url, &tenant.key).await;
    let members = socket.join(tenant, ROOM, user).await;
    (socket, members)
}

#[actix_web::test]
async fn who_joins_is_told_who_is_there_and_the_others_that_it_came_and_went() {
    let (server, tenant) = start().await;
    let (mut ann, members) = member(server.url(), &tenant, "ann").await;
    assert_eq!(members, json!({"count": 1, "ids": ["ann"], "hash": {"ann": {"name": "ann"}}}));
    let (bob, members) = member(server.url(), &tenant, "bob").await;
    assert_eq!((&members["count"], &members["hash"]["ann"]), (&json!(2), &json!({"name": "ann"})));
    let added = ann.event_of("pusher_internal:member_added").await;
    assert_eq!(
        (&added["channel"], data(&added)),
        (&json!(ROOM), json!({"user_id": "bob", "user_info": {"name": "bob"}}))
    );
    bob.close().await;
    let removed = ann.event_of("pusher_internal:member_removed").await;
    assert_eq!((&removed["channel"], data(&removed)), (&json!(ROOM), json!({"user_id": "bob"})));
    let (mut cid, _) = member(server.url(), &tenant, "cid").await;
    ann.event_of("pusher_internal:member_added").await;
    cid.say("pusher:unsubscribe", json!({"channel": ROOM})).await;
    assert_eq!(data(&ann.event_of("pusher_internal:member_removed").await)["user_id"], "cid");
    assert!(ann.until_now().await.is_empty(), "nobody is told of itself, nor of anything twice");
}

#[actix_web::test]
async fn several_tabs_of_a_user_are_one_member() {
    let (server, tenant) = start().await;
    let (mut ann, _) = member(server.url(), &tenant, "ann").await;
    let (first, _) = member(server.url(), &tenant, "bob").await;
    let (second, members) = member(server.url(), &tenant, "bob").await;
    assert_eq!(members["count"], 2);
    assert_eq!(data(&ann.event_of("pusher_internal:member_added").await)["user_id"], "bob");
    first.drop_connection();
    second.close().await;
    assert_eq!(data(&ann.event_of("pusher_internal:member_removed").await)["user_id"], "bob");
    assert!(ann.until_now().await.is_empty(), "one came, one left");
}

#[actix_web::test]
async fn many_who_come_and_go_at_once_are_each_told_once() {
    let (server, tenant) = start().await;
    let (mut watcher, _) = member(server.url(), &tenant, "watcher").await;
    let all = futures::future::join_all((0..30).map(async |number| {
        // Two tabs of each user.
        let (one, _) = member(server.url(), &tenant, &format!("user{}", number / 2)).await;
        one
    }))
    .await;
    let mut added: Vec<String> = Vec::new();
    while added.len() < 15 {
        let said = watcher.event_of("pusher_internal:member_added").await;
        added.push(data(&said)["user_id"].as_str().unwrap().to_owned());
    }
    futures::future::join_all(all.into_iter().map(PusherSocket::close)).await;
    let mut removed: Vec<String> = Vec::new();
    while removed.len() < 15 {
        let said = watcher.event_of("pusher_internal:member_removed").await;
        removed.push(data(&said)["user_id"].as_str().unwrap().to_owned());
    }
    for told in [&mut added, &mut removed] {
        told.sort();
        told.dedup();
        assert_eq!(told.len(), 15);
    }
    assert!(watcher.until_now().await.is_empty());
}

#[actix_web::test]
async fn a_numbers_text_is_the_same_user_and_the_signed_text_counts_to_the_letter() {
    let (server, tenant) = start().await;
    let mut socket = PusherSocket::connect(server.url(), &tenant.key).await;
    let said = socket.subscribe_signed(&tenant, ROOM, Some(r#"{ "user_id" : 10 }"#)).await;
    assert_eq!(data(&said)["presence"], json!({"count": 1, "ids": ["10"], "hash": {"10": null}}));
    let (_, members) = member(server.url(), &tenant, "10").await;
    assert_eq!(members["count"], 1);
    let mut other = PusherSocket::connect(server.url(), &tenant.key).await;
    let signed = auth(&tenant, &format!("{}:{ROOM}:{}", other.socket_id, r#"{"user_id":"1"}"#));
    other
        .say("pusher:subscribe", json!({"channel": ROOM, "auth": signed, "channel_data": r#"{"user_id": "1"}"#}))
        .await;
    assert_eq!(data(&other.event_of("pusher:subscription_error").await)["type"], "AuthError");
}

#[actix_web::test]
async fn what_is_no_member_is_refused() {
    let (server, tenant) = start().await;
    let mut socket = PusherSocket::connect(server.url(), &tenant.key).await;
    let long = format!(r#"{{"user_id":"{}"}}"#, "x".repeat(129));
    let large = format!(r#"{{"user_id":"a","user_info":"{}"}}"#, "x".repeat(1_100));
    for bad in ["", "[]", "{}", "nonsense", r#"{"user_id":""}"#, r#"{"user_id":null}"#, &long, &large] {
        let said = socket.subscribe_signed(&tenant, ROOM, Some(bad)).await;
        assert_eq!(said["event"], "pusher:subscription_error", "{bad}");
    }
    let said = socket.subscribe_signed(&tenant, ROOM, None).await;
    assert_eq!(said["event"], "pusher:subscription_error", "without `channel_data` nobody joins");
    let longest = format!(r#"{{"user_id":"{}"}}"#, "x".repeat(128));
    let said = socket.subscribe_signed(&tenant, ROOM, Some(&longest)).await;
    assert_eq!(said["event"], "pusher_internal:subscription_succeeded");
}

#[actix_web::test]
async fn a_channel_has_a_hundred_members() {
    let (server, tenant) = start().await;
    let mut members = Vec::new();
    for number in 0..100 {
        members.push(member(server.url(), &tenant, &format!("user{number}")).await.0);
    }
    let mut late = PusherSocket::connect(server.url(), &tenant.key).await;
    let said = late.subscribe_signed(&tenant, ROOM, Some(r#"{"user_id":"late"}"#)).await;
    assert_eq!((&said["event"], &data(&said)["type"]), (&json!("pusher:subscription_error"), &json!("LimitReached")));
    // Another tab of a member is none more.
    member(server.url(), &tenant, "user7").await;
}
