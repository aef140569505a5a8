//! Client events: to the others, as they were sent, at most ten a second.

use serde_json::{Value, json};

use crate::harness::{
    pusher_sockets::{PusherSocket, start, switch},
    waiting::until,
};

#[actix_web::test]
async fn the_others_get_an_event_as_it_was_sent_and_the_sender_does_not() {
    let (server, tenant) = start().await;
    let mut ann = PusherSocket::connect(server.url(), &tenant.key).await;
    let mut bob = PusherSocket::connect(server.url(), &tenant.key).await;
    for socket in [&mut ann, &mut bob] {
        socket.subscribe_signed(&tenant, "private-a", None).await;
    }
    ann.join(&tenant, "presence-a", "ann").await;
    bob.join(&tenant, "presence-a", "bob").await;
    for sent in [json!({"a": [1, "x"]}), json!("{\"a\": 1}"), json!("text"), json!(null), json!(7)] {
        ann.trigger("private-a", "client-said", sent.clone()).await;
        let said = bob.event_of("client-said").await;
        assert_eq!(said, json!({"event": "client-said", "channel": "private-a", "data": sent}));
    }
    // Who it was is what the membership says, whatever the frame does.
    let forged = json!({"event": "client-said", "channel": "presence-a", "data": {}, "user_id": "bob"});
    ann.send_text(forged.to_string()).await;
    assert_eq!(bob.event_of("client-said").await["user_id"], "ann");
    assert!(ann.until_now().await.iter().all(|said| said["event"] != "client-said"));
}

#[actix_web::test]
async fn what_clients_may_not_send_is_told_and_reaches_nobody() {
    let (server, tenant) = start().await;
    let mut ann = PusherSocket::connect(server.url(), &tenant.key).await;
    let mut bob = PusherSocket::connect(server.url(), &tenant.key).await;
    for socket in [&mut ann, &mut bob] {
        socket.subscribe_signed(&tenant, "private-a", None).await;
        socket.subscribe("news").await;
    }
    bob.subscribe_signed(&tenant, "private-b", None).await;
    let large = "x".repeat(10_239);
    for (channel, event, sent) in [
        ("news", "client-x", json!(1)),
        ("private-b", "client-x", json!(1)),
        ("private-a", "x", json!(1)),
        ("private-a", "pusher:x", json!(1)),
        ("private-a", "pusher_internal:x", json!(1)),
        ("private-a", &format!("client-{}", "x".repeat(194)), json!(1)),
        ("private-a", "client-x", json!(large)),
    ] {
        ann.trigger(channel, event, sent).await;
        let said = ann.event_of("pusher:error").await;
        assert!(said["data"]["message"].is_string(), "{channel} {event}: {said}");
    }
    ann.trigger("private-a", "client-x", json!(&large[1..])).await;
    assert_eq!(bob.event_of("client-x").await["data"], json!(&large[1..]));
    assert!(bob.until_now().await.iter().all(|said| !said["event"].as_str().unwrap().ends_with('x')));
    switch(&tenant, json!({"pusher_options": {"client_events": false}})).await;
    // Connections that are open are told just after the change is answered.
    let refused = until("the switch holds for open connections", async || {
        ann.trigger("private-a", "client-x", json!(1)).await;
        ann.until_now().await.into_iter().find(|said| said["event"] == "pusher:error")
    });
    let refused = refused.await;
    assert!(refused["data"]["message"].as_str().unwrap().contains("switched off"), "{refused}");
    assert_eq!(refused["data"]["code"], 4301);
}

#[actix_web::test]
async fn past_ten_a_second_events_are_dropped_and_the_connection_stays() {
    let (server, tenant) = start().await;
    let mut ann = PusherSocket::connect(server.url(), &tenant.key).await;
    let mut bob = PusherSocket::connect(server.url(), &tenant.key).await;
    for socket in [&mut ann, &mut bob] {
        socket.subscribe_signed(&tenant, "private-a", None).await;
    }
    for number in 0..40 {
        ann.trigger("private-a", "client-n", json!(number)).await;
    }
    let refused = ann.until_now().await;
    let errors: Vec<&Value> = refused.iter().filter(|said| said["event"] == "pusher:error").collect();
    assert!(errors.iter().all(|said| said["data"]["code"] == 4301), "{errors:?}");
    assert!(!errors.is_empty() && errors.len() <= 30, "{}", errors.len());
    let mut last = None;
    for _ in 0..40 - errors.len() {
        let number = bob.event_of("client-n").await["data"].as_u64();
        assert!(number > last, "in the order in which they were sent");
        last = number;
    }
}
