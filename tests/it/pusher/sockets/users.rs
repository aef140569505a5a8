//! Users: signing in, what is sent to a user, and who watches whom.

use reqwest::{Method, StatusCode};
use serde_json::json;

use crate::harness::pusher_sockets::{PusherSocket, auth, data, start, switch};

/// What a watchlist tells next: a name and the users.
async fn watched(socket: &mut PusherSocket) -> Vec<(String, Vec<String>)> {
    #[derive(serde::Deserialize)]
    struct Event {
        name: String,
        user_ids: Vec<String>,
    }
    let said = data(&socket.event_of("pusher_internal:watchlist_events").await);
    let events: Vec<Event> = serde_json::from_value(said["events"].clone()).expect("a list of events");
    events.into_iter().map(|event| (event.name, event.user_ids)).collect()
}

fn one(name: &str, user: &str) -> Vec<(String, Vec<String>)> {
    vec![(name.to_owned(), vec![user.to_owned()])]
}

#[actix_web::test]
async fn a_connection_signs_in_as_one_user() {
    let (server, tenant) = start().await;
    let mut socket = PusherSocket::connect(server.url(), &tenant.key).await;
    let ann = r#"{"id":"ann","user_info":{"name":"Ann"}}"#;
    for (text, said) in [
        (format!("{}::user::{ann}x", socket.socket_id), ann),
        (format!("1.1::user::{ann}"), ann),
        (format!("{}:user:{ann}", socket.socket_id), ann),
        (format!("{}::user::{}", socket.socket_id, r#"{"id":""}"#), r#"{"id":""}"#),
        (format!("{}::user::{}", socket.socket_id, r#"{"name":"x"}"#), r#"{"name":"x"}"#),
        (format!("{}::user::nonsense", socket.socket_id), "nonsense"),
    ] {
        socket.say("pusher:signin", json!({"auth": auth(&tenant, &text), "user_data": said})).await;
        assert_eq!(socket.event().await["event"], "pusher:error", "{text}");
    }
    let said = socket.sign_in(&tenant, ann).await;
    assert_eq!(said, json!({"event": "pusher:signin_success", "data": {"user_data": ann}}));
    assert_eq!(socket.sign_in(&tenant, r#"{"id":"bob"}"#).await["data"]["code"], 4009, "as another user");
    // A presence channel needs no more than that; what the backend says overrides it.
    let joined = socket.subscribe_signed(&tenant, "presence-a", None).await;
    assert_eq!(data(&joined)["presence"]["hash"], json!({"ann": {"name": "Ann"}}));
    let joined = socket.subscribe_signed(&tenant, "presence-b", Some(r#"{"user_id":"other"}"#)).await;
    assert_eq!(data(&joined)["presence"]["ids"], json!(["other"]));
    switch(&tenant, json!({"pusher_options": {"sign_in": false}})).await;
    let mut late = PusherSocket::connect(server.url(), &tenant.key).await;
    assert_eq!(late.sign_in(&tenant, ann).await["event"], "pusher:error");
}

#[actix_web::test]
async fn what_is_sent_to_a_user_reaches_its_connections_and_no_other() {
    let (server, tenant) = start().await;
    let mut ann = PusherSocket::connect(server.url(), &tenant.key).await;
    let mut bob = PusherSocket::connect(server.url(), &tenant.key).await;
    let channel = "#server-to-user-ann";
    assert_eq!(ann.subscribe(channel).await["event"], "pusher:subscription_error", "not signed in");
    ann.sign_in(&tenant, r#"{"id":"ann"}"#).await;
    bob.sign_in(&tenant, r#"{"id":"bob"}"#).await;
    assert_eq!(ann.subscribe(channel).await["event"], "pusher_internal:subscription_succeeded");
    assert_eq!(bob.subscribe(channel).await["event"], "pusher:subscription_error");
    let mut stranger = PusherSocket::connect(server.url(), &tenant.key).await;
    assert_eq!(stranger.subscribe_signed(&tenant, channel, None).await["event"], "pusher:subscription_error");
    // Nobody sees the service's own channels.
    let listed = tenant.data(Method::GET, "/v1/channels", json!(null)).await.expect(StatusCode::OK);
    assert_eq!(listed["items"], json!([]));
}

#[actix_web::test]
async fn who_watches_is_told_who_is_there_and_who_comes_and_goes() {
    let (server, tenant) = start().await;
    let mut bob = PusherSocket::connect(server.url(), &tenant.key).await;
    bob.sign_in(&tenant, r#"{"id":"bob"}"#).await;
    let mut ann = PusherSocket::connect(server.url(), &tenant.key).await;
    ann.sign_in(&tenant, r#"{"id":"ann","watchlist":["bob","cid"]}"#).await;
    let both = vec![one("online", "bob").remove(0), one("offline", "cid").remove(0)];
    assert_eq!(watched(&mut ann).await, both);
    let mut cid = PusherSocket::connect(server.url(), &tenant.key).await;
    cid.sign_in(&tenant, r#"{"id":"cid","watchlist":["ann"]}"#).await;
    assert_eq!(watched(&mut cid).await, one("online", "ann"));
    assert_eq!(watched(&mut ann).await, one("online", "cid"));
    let mut again = PusherSocket::connect(server.url(), &tenant.key).await;
    again.sign_in(&tenant, r#"{"id":"cid"}"#).await;
    again.close().await;
    cid.close().await;
    assert_eq!(watched(&mut ann).await, one("offline", "cid"));
    bob.close().await;
    assert_eq!(watched(&mut ann).await, one("offline", "bob"), "the second tab told nothing");
}

#[actix_web::test]
async fn a_hundred_users_are_watched_and_not_one_more() {
    let (server, tenant) = start().await;
    let mut ann = PusherSocket::connect(server.url(), &tenant.key).await;
    let watchlist: Vec<String> = (0..101).map(|user| format!("user{user:03}")).collect();
    let user_data = json!({"id": "ann", "watchlist": watchlist}).to_string();
    let refused = ann.sign_in(&tenant, &user_data).await;
    assert_eq!(refused["data"]["code"], 4302);
    ann.event_of("pusher:signin_success").await;
    let told = watched(&mut ann).await;
    assert_eq!((told[0].0.as_str(), told[0].1.len()), ("offline", 100));
    assert!(!told[0].1.contains(&"user100".to_owned()));
}

#[actix_web::test]
async fn without_the_switch_nobody_is_watched() {
    let (server, tenant) = start().await;
    switch(&tenant, json!({"pusher_options": {"watchlists": false}})).await;
    let mut ann = PusherSocket::connect(server.url(), &tenant.key).await;
    ann.sign_in(&tenant, r#"{"id":"ann","watchlist":["bob"]}"#).await;
    let mut bob = PusherSocket::connect(server.url(), &tenant.key).await;
    bob.sign_in(&tenant, r#"{"id":"bob"}"#).await;
    assert!(ann.until_now().await.is_empty());
}

#[actix_web::test]
async fn who_is_disconnected_by_the_backend_stays_away() {
    let (server, tenant) = start().await;
    let mut ann = PusherSocket::connect(server.url(), &tenant.key).await;
    ann.sign_in(&tenant, r#"{"id":"ann"}"#).await;
    let mut member = PusherSocket::connect(server.url(), &tenant.key).await;
    member.join(&tenant, "presence-a", "ann").await;
    tenant.data(Method::DELETE, "/v1/clients/ann/connections", json!(null)).await;
    assert_eq!(ann.closed().await.0, 4009);
    assert!(member.until_now().await.is_empty(), "a member that did not sign in is not the user");
}
