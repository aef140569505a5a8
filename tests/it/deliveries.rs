//! What became of a message for a client, as backends ask it.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{
    server::{Options, Server},
    sockets::Socket,
    tenants::{self, Answer, Tenant},
    tokens::every_right,
    waiting::until,
};

/// Switches the trace of a tenant's app on or off.
pub async fn trace(tenant: &Tenant, is_on: bool) -> Value {
    let path = format!("/v1/apps/{}", tenant.app);
    tenant.control(Method::PATCH, &path, json!({"delivery_trace": is_on})).await.expect(StatusCode::OK)
}

/// Publishes and gives the message's id.
pub async fn publish(tenant: &Tenant, channel: &str, body: Value) -> String {
    let path = format!("/v1/channels/{channel}/messages?ack=persisted");
    let answer = tenant.data(Method::POST, &path, body).await.expect(StatusCode::CREATED);
    answer["message"].as_str().expect("an id").to_owned()
}

pub async fn ask(tenant: &Tenant, channel: &str, message: &str, client: &str) -> Answer {
    let path = format!("/v1/channels/{channel}/messages/{message}/delivery?client={client}");
    tenant.data(Method::GET, &path, Value::Null).await
}

/// Asks until the outcome is this one: the trace is some seconds behind.
pub async fn becomes(tenant: &Tenant, channel: &str, message: &str, client: &str, outcome: &str) -> Value {
    let wanted = format!("{message} for {client} is {outcome}");
    until(&wanted, async || {
        let told = ask(tenant, channel, message, client).await.expect(StatusCode::OK);
        (told["outcome"] == outcome).then_some(told)
    })
    .await
}

#[tokio::test]
async fn what_became_of_a_message_is_told_for_each_client_with_the_reason() {
    let (_server, tenant) = tenants::start().await;
    assert_eq!(trace(&tenant, true).await["delivery_trace"], true);
    let mut sockets = Vec::new();
    for client in ["ann", "cid", "dan"] {
        let mut socket = tenant.join(client).await;
        let begun = socket.subscribe("chat").await;
        sockets.push((socket, begun));
    }
    let stranger = tenant.token("eve", json!({"other": ["subscribe"]})).await;
    let mut eve = Socket::connect(&tenant.url, &stranger).await;
    assert_eq!(eve.refused(json!({"op": "subscribe", "channel": "chat"})).await, "forbidden");
    let full = tenant.full_token("sue").await;
    let mut sue = tenant.stream(&full, "channel=chat", None).await;
    sue.next_of("open").await;
    let pam = tenant.full_token("pam").await;
    let (_, cursor) = tenant.polled(&pam, "channel=chat").await;
    let (mut ann, mut cid) = (sockets.remove(0).0, sockets.remove(0).0);
    let (dan, begun) = sockets.remove(0);
    dan.close().await;
    cid.ask(json!({"op": "unsubscribe", "channel": "chat"})).await;

    let published = json!({"op": "publish", "channel": "chat", "data": 1, "echo": false, "ack": "persisted"});
    let own = ann.ask(published).await["message"].as_str().expect("an id").to_owned();
    let message = publish(&tenant, "chat", json!({"data": 2})).await;
    assert_eq!(ann.event_of("skip").await["serial"], 1);
    ann.event_of("message").await;
    sue.serials(1..=2).await;

    let told = becomes(&tenant, "chat", &message, "ann", "delivered").await;
    assert_eq!((&told["accepted"], &told["persisted"], &told["delivered"]), (&json!(true), &json!(true), &json!(true)));
    assert_eq!((&told["serial"], &told["client"], &told["message"]), (&json!(2), &json!("ann"), &json!(message)));
    let subscription = &told["subscriptions"][0];
    assert_eq!(
        (&subscription["connection"], &subscription["transport"], &subscription["written"]),
        (&ann.connected["connection"], &json!("websocket"), &json!(2))
    );
    assert!(subscription["written_by"].as_u64() >= told["time"].as_u64(), "{told}");
    let told = becomes(&tenant, "chat", &own, "ann", "filtered").await;
    assert_eq!(told["delivered"], false);
    becomes(&tenant, "chat", &own, "sue", "delivered").await;
    let told = becomes(&tenant, "chat", &message, "sue", "delivered").await;
    assert_eq!(told["subscriptions"][0]["transport"], "sse");
    let told = becomes(&tenant, "chat", &message, "bob", "not_subscribed").await;
    assert_eq!((&told["delivered"], &told["subscriptions"]), (&json!(false), &json!([])));
    let told = becomes(&tenant, "chat", &message, "cid", "not_subscribed").await;
    assert_eq!(told["subscriptions"][0]["ended_by"], "unsubscribed");
    let told = becomes(&tenant, "chat", &message, "eve", "no_right").await;
    assert_eq!(told["subscriptions"][0]["ended_by"], "forbidden");
    let told = becomes(&tenant, "chat", &message, "dan", "disconnected").await;
    assert_eq!(told["subscriptions"][0]["ended_by"], "client");

    // Who comes back where it was gets it then.
    let mut dan = tenant.join("dan").await;
    dan.resume("chat", begun["epoch"].as_str().expect("an epoch"), 0).await;
    dan.messages(2).await;
    let told = becomes(&tenant, "chat", &message, "dan", "delivered").await;
    assert_eq!(told["subscriptions"].as_array().map(Vec::len), Some(2), "{told}");
    becomes(&tenant, "chat", &message, "pam", "disconnected").await;
    assert_eq!(tenant.polled(&pam, &format!("channel=chat&cursor={cursor}")).await.0.len(), 2);
    let told = becomes(&tenant, "chat", &message, "pam", "delivered").await;
    assert_eq!(told["subscriptions"][0]["transport"], "poll");
    // A right that ends is told as the reason for what comes after.
    let narrow = tenant.token("ann", json!({"other": ["subscribe"]})).await;
    ann.ask(json!({"op": "token", "token": narrow})).await;
    let after = publish(&tenant, "chat", json!({"data": 3})).await;
    becomes(&tenant, "chat", &after, "ann", "no_right").await;
    becomes(&tenant, "chat", &message, "ann", "delivered").await;
}

#[tokio::test]
async fn what_a_slow_reader_was_cut_off_from_is_told_apart_from_what_it_was_sent() {
    let config = "[plans.narrow]\npublishes_per_s = 1000000\noutbox_bytes = 65536\n";
    let server = Server::start(Options::default().config(config).env("FANFARE_PLAN_DEFAULT", "narrow")).await;
    let tenant = Tenant::sign_up(&server).await;
    trace(&tenant, true).await;
    let mut slow = Socket::open_narrow(&tenant.url).await;
    let token = tenant.short_token("ann", every_right(), 600.0);
    slow.ask(json!({"op": "connect", "token": token})).await;
    slow.subscribe("room").await;
    let text = "x".repeat(16 * 1024);
    let first = publish(&tenant, "room", json!({"data": text})).await;
    let mut last = first.clone();
    let told = until("it is closed", async || {
        for _ in 0..10 {
            last = publish(&tenant, "room", json!({"data": text})).await;
        }
        let told = ask(&tenant, "room", &last, "ann").await.expect(StatusCode::OK);
        (told["subscriptions"][0]["ended_by"] == "slow_consumer").then_some(told)
    });
    let told = told.await;
    assert!(told["subscriptions"][0]["written"].as_u64() < told["serial"].as_u64(), "{told}");
    let told = becomes(&tenant, "room", &last, "ann", "slow").await;
    assert_eq!(told["delivered"], false);
    becomes(&tenant, "room", &first, "ann", "delivered").await;
    drop(slow);
}

#[tokio::test]
async fn what_cannot_be_explained_is_refused_with_what_to_do() {
    let (_server, tenant) = tenants::start().await;
    let before = publish(&tenant, "chat", json!({"data": 1})).await;
    let off = ask(&tenant, "chat", &before, "ann").await.expect_problem(409, "trace_off");
    assert!(off["remedy"].as_str().is_some_and(|remedy| remedy.contains("delivery_trace")), "{off}");
    let mut ann = tenant.join("ann").await;
    ann.subscribe("chat").await;
    trace(&tenant, true).await;
    // Once the gateway has heard of it, and told of the subscription.
    until("the subscription is traced", async || {
        let told = ask(&tenant, "chat", &before, "ann").await.expect(StatusCode::OK);
        assert_eq!(
            (&told["outcome"], &told["delivered"], &told["persisted"]),
            (&json!("unknown"), &Value::Null, &json!(true))
        );
        told["subscriptions"].as_array().is_some_and(|all| all.len() == 1).then_some(())
    })
    .await;
    // A subscription that was there before is traced from now on.
    let since = publish(&tenant, "chat", json!({"data": 2})).await;
    becomes(&tenant, "chat", &since, "ann", "delivered").await;
    becomes(&tenant, "chat", &since, "bob", "not_subscribed").await;

    let path = format!("/v1/channels/chat/messages/{since}/delivery");
    for query in ["", "?client=", "?client=%00"] {
        let wrong = tenant.data(Method::GET, &format!("{path}{query}"), Value::Null).await;
        assert_eq!(wrong.expect_problem(422, "invalid_body")["errors"][0]["pointer"], "/client", "{query}");
    }
    for nothing in ["x", "msg_00000000000000000000000000", tenant.app.as_str()] {
        ask(&tenant, "chat", nothing, "ann").await.expect_problem(404, "not_found");
    }
    ask(&tenant, "other", &since, "ann").await.expect_problem(404, "not_found");
    ask(&tenant, "%23x", &since, "ann").await.expect_problem(422, "bad_channel");
    let narrow = tenant.with_key(json!({"name": "narrow", "cap": {"*": ["subscribe", "publish", "history"]}})).await;
    ask(&narrow, "chat", &since, "ann").await.expect_problem(403, "forbidden");
    let token = tenant.request(Method::GET, &format!("{path}?client=ann")).bearer_auth(tenant.full_token("ann").await);
    Answer::of(token).await.expect_problem(403, "forbidden");

    // An ephemeral message leaves no record of who got it.
    let ephemeral =
        tenant.data(Method::POST, "/v1/channels/chat/messages", json!({"data": 3, "ephemeral": true})).await;
    let ephemeral = ephemeral.expect(StatusCode::ACCEPTED)["message"].as_str().expect("an id").to_owned();
    let told = until("the trace knows of it", async || {
        let answer = ask(&tenant, "chat", &ephemeral, "ann").await;
        (answer.status == 200).then_some(answer.body)
    })
    .await;
    assert_eq!(
        (&told["outcome"], &told["persisted"], &told["delivered"]),
        (&json!("ephemeral"), &json!(false), &Value::Null)
    );
    tenant.rule("_default", json!({"history": {"retention_s": 3_600, "max_messages": 1}})).await;
    let last = publish(&tenant, "chat", json!({"data": 4})).await;
    let past = ask(&tenant, "chat", &since, "ann").await.expect_problem(404, "not_found");
    assert!(past["detail"].as_str().is_some_and(|detail| detail.contains("past retention")), "{past}");
    becomes(&tenant, "chat", &last, "ann", "delivered").await;

    assert_eq!(trace(&tenant, false).await["delivery_trace"], false);
    ask(&tenant, "chat", &last, "ann").await.expect_problem(409, "trace_off");
    trace(&tenant, true).await;
    becomes(&tenant, "chat", &last, "ann", "unknown").await;
}
