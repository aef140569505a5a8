//! One channel for all protocols: the same messages, the same members, one order.

use serde_json::json;

use crate::harness::pusher_sockets::{PusherSocket, data, start};

#[actix_web::test]
async fn native_clients_and_pushers_see_one_order_and_each_others_events() {
    let (server, tenant) = start().await;
    let mut native = tenant.join("nat").await;
    native.subscribe("private-a").await;
    let mut pusher = PusherSocket::connect(server.url(), &tenant.key).await;
    pusher.subscribe_signed(&tenant, "private-a", None).await;
    for number in 0..50 {
        tenant.publish("private-a", json!({"n": number})).await;
    }
    let heard = native.messages(50).await;
    for (number, message) in heard.iter().enumerate() {
        assert_eq!((&message["serial"], &message["data"]["n"]), (&json!(number + 1), &json!(number)));
        assert_eq!(data(&pusher.event_of("message").await), message["data"]);
    }
    pusher.trigger("private-a", "client-typing", json!({"by": "p"})).await;
    let heard = native.event_of("message").await;
    assert_eq!(
        (&heard["name"], &heard["data"], heard.get("serial")),
        (&json!("client-typing"), &json!({"by": "p"}), None)
    );
    native.ask(json!({"op": "publish", "channel": "private-a", "name": "said", "data": "hi", "ephemeral": true})).await;
    assert_eq!(pusher.event_of("said").await["data"], "hi");
    // A native client resumes what it missed; that is the same history.
    assert_eq!(tenant.history("private-a").await.len(), 50);
}

#[actix_web::test]
async fn members_are_the_same_for_both() {
    let (server, tenant) = start().await;
    let mut native = tenant.join("nat").await;
    native.ask(json!({"op": "subscribe", "channel": "presence-a", "presence": true})).await;
    native.ask(json!({"op": "presence", "channel": "presence-a", "action": "enter", "data": {"mood": "good"}})).await;
    let mut pusher = PusherSocket::connect(server.url(), &tenant.key).await;
    let members = pusher.join(&tenant, "presence-a", "push").await;
    assert_eq!(members["hash"], json!({"nat": {"mood": "good"}, "push": {"name": "push"}}));
    loop {
        let entered = native.event_of("presence").await;
        if entered["client"] == "push" {
            assert_eq!((&entered["action"], &entered["info"]), (&json!("enter"), &json!({"name": "push"})));
            break;
        }
    }
    native.ask(json!({"op": "presence", "channel": "presence-a", "action": "leave"})).await;
    assert_eq!(data(&pusher.event_of("pusher_internal:member_removed").await)["user_id"], "nat");
    pusher.close().await;
    loop {
        let left = native.event_of("presence").await;
        if left["client"] == "push" {
            assert_eq!(left["action"], "leave");
            break;
        }
    }
}

#[actix_web::test]
async fn native_rights_are_unchanged_by_pusher() {
    let (server, tenant) = start().await;
    let mut public = crate::harness::sockets::Socket::connect_public(server.url(), &tenant.key).await;
    let refused = public.refused(json!({"op": "subscribe", "channel": "news"})).await;
    assert_eq!(refused, "forbidden", "an app key opens unprefixed channels to Pusher clients only");
}
