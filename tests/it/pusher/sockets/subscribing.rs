//! Subscribing: who may, what is told, and that events follow.

use serde_json::{Value, json};

use crate::harness::pusher_sockets::{PusherSocket, auth, data, start};

const SUCCEEDED: &str = "pusher_internal:subscription_succeeded";
const REFUSED: &str = "pusher:subscription_error";

#[actix_web::test]
async fn an_unprefixed_channel_is_open_and_events_come_as_strings() {
    let (server, tenant) = start().await;
    let mut socket = PusherSocket::connect(server.url(), &tenant.key).await;
    assert_eq!(socket.subscribe("news").await, json!({"event": SUCCEEDED, "channel": "news", "data": "{}"}));
    tenant.publish("news", json!({"n": 1.5, "text": "hi"})).await;
    let said = socket.event_of("message").await;
    assert_eq!(said, json!({"event": "message", "channel": "news", "data": r#"{"n":1.5,"text":"hi"}"#}));
    tenant.publish("news", json!("plain")).await;
    assert_eq!(socket.event_of("message").await["data"], "plain");
    socket.say("pusher:unsubscribe", json!({"channel": "news"})).await;
    socket.until_now().await;
    tenant.publish("news", json!("unheard")).await;
    socket.subscribe("news").await;
    tenant.publish("news", json!("heard")).await;
    assert_eq!(socket.event_of("message").await["data"], "heard");
}

#[actix_web::test]
async fn private_channels_open_to_signatures_of_this_app_for_this_connection_only() {
    let (server, tenant) = start().await;
    let other = crate::harness::tenants::Tenant::sign_up(&server).await;
    let mut socket = PusherSocket::connect(server.url(), &tenant.key).await;
    let id = socket.socket_id.clone();
    for channel in ["private-a", "private-encrypted-a", "private-cache-a", "private-encrypted-cache-a"] {
        let good = auth(&tenant, &format!("{id}:{channel}"));
        for bad in [
            String::new(),
            "nonsense".to_owned(),
            good.replace(':', ""),
            format!("{}:{}", other.key, good.split_once(':').unwrap().1),
            auth(&other, &format!("{id}:{channel}")),
            auth(&tenant, &format!("1.1:{channel}")),
            auth(&tenant, &format!("{id}:{channel}x")),
            auth(&tenant, &format!("{id}:{channel}:")),
        ] {
            socket.say("pusher:subscribe", json!({"channel": channel, "auth": bad})).await;
            let said = socket.event_of(REFUSED).await;
            assert_eq!((&said["channel"], &data(&said)["type"]), (&json!(channel), &json!("AuthError")), "{bad}");
            assert_eq!(data(&said)["status"], 401);
        }
        let said = socket.subscribe_signed(&tenant, channel, None).await;
        assert_eq!(said["event"], SUCCEEDED, "{said}");
    }
    // What the backend says with it is signed too.
    let said = socket.subscribe_signed(&tenant, "private-b", Some(r#"{"any":"thing"}"#)).await;
    assert_eq!(said["event"], SUCCEEDED, "{said}");
    let signed_without = auth(&tenant, &format!("{id}:private-c"));
    socket.say("pusher:subscribe", json!({"channel": "private-c", "auth": signed_without, "channel_data": "{}"})).await;
    assert_eq!(socket.event_of(REFUSED).await["channel"], "private-c");
    tenant.publish("private-a", json!(1)).await;
    assert_eq!(socket.event_of("message").await["data"], "1");
}

#[actix_web::test]
async fn names_are_held_to_their_alphabet_and_length() {
    let (server, tenant) = start().await;
    let mut socket = PusherSocket::connect(server.url(), &tenant.key).await;
    for good in ["-_=@,.;", &"x".repeat(164), &"x".repeat(200), "Private-a", "not-private-a", "not-cache-a"] {
        assert_eq!(socket.subscribe(good).await["event"], SUCCEEDED, "{good}");
    }
    for bad in ["", "a b", "a/b", "a:b", "ä", "#a", "#server-to-user-", &"x".repeat(201)] {
        let said = socket.subscribe(bad).await;
        assert_eq!((&said["event"], data(&said)["status"].as_u64()), (&json!(REFUSED), Some(400)), "{bad}");
    }
}

#[actix_web::test]
async fn subscribing_twice_is_told_and_delivers_once() {
    let (server, tenant) = start().await;
    let mut socket = PusherSocket::connect(server.url(), &tenant.key).await;
    socket.subscribe("news").await;
    socket.say("pusher:subscribe", json!({"channel": "news"})).await;
    assert_eq!(socket.event_of("pusher:error").await["data"]["code"], Value::Null);
    tenant.publish("news", json!(1)).await;
    tenant.publish("news", json!(2)).await;
    for expected in ["1", "2"] {
        assert_eq!(socket.event_of("message").await["data"], expected);
    }
    // Whatever is not subscribed can be left.
    socket.say("pusher:unsubscribe", json!({"channel": "other"})).await;
    socket.say("pusher:unsubscribe", json!({"channel": "a b"})).await;
    assert!(socket.until_now().await.iter().all(|said| said["event"] != "pusher:error"));
}

#[actix_web::test]
async fn data_of_a_request_may_be_a_string_that_holds_an_object() {
    let (server, tenant) = start().await;
    let mut socket = PusherSocket::connect(server.url(), &tenant.key).await;
    socket.say("pusher:subscribe", json!(json!({"channel": "news"}).to_string())).await;
    assert_eq!(socket.event_of(SUCCEEDED).await["channel"], "news");
}

#[actix_web::test]
async fn events_of_a_channel_come_after_its_confirmation_and_in_order() {
    let (server, tenant) = start().await;
    let publishing = async {
        for number in 0..200 {
            tenant.publish("busy", json!(number)).await;
        }
    };
    let listening = async {
        let mut firsts = Vec::new();
        for _ in 0..10 {
            let mut socket = PusherSocket::connect(server.url(), &tenant.key).await;
            socket.say("pusher:subscribe", json!({"channel": "busy"})).await;
            assert_eq!(socket.event().await["event"], SUCCEEDED);
            firsts.push(socket);
        }
        firsts
    };
    let ((), mut sockets) = tokio::join!(publishing, listening);
    tenant.publish("busy", json!("last")).await;
    for socket in &mut sockets {
        let mut numbers: Vec<u64> = Vec::new();
        loop {
            let said = socket.event_of("message").await;
            match said["data"].as_str().unwrap() {
                "last" => break,
                number => numbers.push(number.parse().unwrap()),
            }
        }
        assert!(numbers.windows(2).all(|two| two[1] == two[0] + 1), "{numbers:?}");
        assert!(numbers.last().is_none_or(|last| *last == 199), "{numbers:?}");
    }
}
