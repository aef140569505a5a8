//! Connecting: what is told of a connection, what keeps one from being established, and how it is kept alive.

use serde_json::json;

use crate::harness::{
    metrics::Metrics,
    pusher_sockets::{PusherSocket, start, start_with, switch},
    server::Options,
    sockets::Received,
    tenants::Tenant,
};

#[actix_web::test]
async fn a_connection_is_told_its_id_and_how_long_it_may_be_silent() {
    let (server, tenant) = start().await;
    let mut ids = Vec::new();
    for protocol in [4, 5, 6, 7] {
        let path = format!("/app/{}?client=js&version=8.6.0&more=x&protocol={protocol}", tenant.key);
        let socket = PusherSocket::open_at(server.url(), &path, None).await.established().await;
        assert_eq!(socket.established["activity_timeout"], 120);
        let parts: Vec<_> = socket.socket_id.split('.').collect();
        assert!(parts.len() == 2 && parts.iter().all(|part| part.parse::<u64>().is_ok()), "{}", socket.socket_id);
        ids.push(socket.socket_id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 4);
}

#[actix_web::test]
async fn what_keeps_a_connection_from_being_established_is_told_by_its_close_code() {
    let (server, tenant) = start().await;
    let off = Tenant::sign_up(&server).await;
    let disabled = Tenant::sign_up(&server).await;
    switch(&disabled, json!({"pusher": true, "enabled": false})).await;
    let own = Tenant::sign_up(&server).await;
    switch(&own, json!({"pusher": true, "origins": ["https://own.example.com"]})).await;
    let key = &tenant.key;
    for (path, origin, code) in [
        ("/app/unknown?protocol=7".to_owned(), None, 4001),
        (format!("/app/fk_{}?protocol=7", "0".repeat(26)), None, 4001),
        (format!("/app/{}?protocol=7", off.key), None, 4001),
        (format!("/app/{}?protocol=7", disabled.key), None, 4003),
        (format!("/app/{key}/more?protocol=7"), None, 4005),
        ("/app/?protocol=7".to_owned(), None, 4005),
        (format!("/app/{key}?protocol=seven"), None, 4006),
        (format!("/app/{key}?protocol="), None, 4006),
        (format!("/app/{key}?protocol=3"), None, 4007),
        (format!("/app/{key}?protocol=8"), None, 4007),
        (format!("/app/{key}?version=8.6.0"), None, 4008),
        (format!("/app/{}?protocol=7", own.key), Some("https://other.example.com"), 4009),
    ] {
        let mut socket = PusherSocket::open_at(server.url(), &path, origin).await;
        let (closed, reason) = socket.closed().await;
        assert_eq!(closed, code, "{path}: {reason}");
        assert!(!reason.is_empty(), "{path}");
    }
    let path = format!("/app/{}?protocol=7", own.key);
    PusherSocket::open_at(server.url(), &path, Some("https://own.example.com")).await.established().await;
}

#[actix_web::test]
async fn who_comes_over_plain_http_from_another_machine_is_sent_to_tls() {
    let (server, tenant) = start_with(Options::default().env("FANFARE_TRUSTED_PROXIES", "127.0.0.1")).await;
    let path = format!("/app/{}?protocol=7", tenant.key);
    let more = "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: http\r\n";
    let request = crate::harness::raw::handshake(&path, more);
    let (head, mut socket) = crate::harness::raw::Raw::request(server.url(), request).await;
    assert_eq!((head.status, socket.closed().await.1), (101, Some(4000)));
}

#[actix_web::test]
async fn an_app_has_so_many_connections_whatever_they_speak() {
    let config = "[plans.small]\nconnections = 1\n";
    let options = Options::default().config(config).env("FANFARE_PLAN_DEFAULT", "small");
    let (server, tenant) = start_with(options).await;
    let first = PusherSocket::connect(server.url(), &tenant.key).await;
    let path = format!("/app/{}?protocol=5", tenant.key);
    let mut second = PusherSocket::open_at(server.url(), &path, None).await;
    // Versions before 6 are told the code by an event too.
    let told = second.event_of("pusher:error").await;
    assert_eq!((told["data"]["code"].as_u64(), second.closed().await.0), (Some(4004), 4004));
    first.close().await;
}

#[actix_web::test]
async fn disabling_switching_off_and_revoking_close_with_codes_that_keep_clients_away() {
    let (server, tenant) = start().await;
    for (change, code) in [(json!({"pusher": false}), 4001), (json!({"pusher": true, "enabled": false}), 4003)] {
        let mut socket = PusherSocket::connect(server.url(), &tenant.key).await;
        switch(&tenant, change).await;
        assert_eq!(socket.closed().await.0, code);
        switch(&tenant, json!({"pusher": true, "enabled": true})).await;
    }
    let mut socket = PusherSocket::connect(server.url(), &tenant.key).await;
    let gone = format!("/v1/apps/{}/keys/{}", tenant.app, tenant.key);
    tenant.control(reqwest::Method::DELETE, &gone, json!(null)).await.expect(reqwest::StatusCode::NO_CONTENT);
    assert_eq!(socket.closed().await.0, 4009);
}

#[actix_web::test]
async fn who_is_silent_is_pinged_and_who_stays_silent_is_closed() {
    let options = Options::default()
        .env("FANFARE_GATEWAY_PUSHER_ACTIVITY_TIMEOUT", "1s")
        .env("FANFARE_GATEWAY_PUSHER_PONG_TIMEOUT", "1s");
    let (server, tenant) = start_with(options).await;
    let mut socket = PusherSocket::connect(server.url(), &tenant.key).await;
    assert_eq!(socket.established["activity_timeout"], 1);
    for _ in 0..2 {
        assert_eq!(socket.event().await["event"], "pusher:ping");
    }
    // A client that reads and never answers.
    let (head, mut silent) = crate::harness::raw::Raw::request(
        server.url(),
        crate::harness::raw::handshake(&format!("/app/{}?protocol=7", tenant.key), ""),
    )
    .await;
    assert_eq!(head.status, 101);
    let (frames, code) = silent.closed().await;
    assert_eq!(code, Some(4201));
    assert_eq!(frames.len(), 2, "the connection, and a ping");
}

#[actix_web::test]
async fn signs_of_life_are_answered_and_nonsense_is_refused_without_a_close() {
    let (server, tenant) = start().await;
    let mut socket = PusherSocket::connect(server.url(), &tenant.key).await;
    for ping in
        [r#"{"event":"pusher:ping"}"#, r#"{"event":"pusher:ping","data":{}}"#, r#"{"event":"pusher:ping","data":"{}"}"#]
    {
        socket.send_text(ping).await;
        assert_eq!(socket.event().await, json!({"event": "pusher:pong", "data": "{}"}));
    }
    for nonsense in ["", "{", "[]", "7", "{}", r#"{"event":7}"#, r#"{"event":"pusher:subscribe"}"#, r#"{"event":"x"}"#]
    {
        socket.send_text(nonsense).await;
        let said = socket.event().await;
        assert_eq!(said["event"], "pusher:error", "{nonsense}: {said}");
        assert!(said["data"]["message"].is_string(), "{said}");
    }
    socket.send_binary(b"binary").await;
    assert_eq!(socket.event().await["event"], "pusher:error");
    assert!(socket.until_now().await.is_empty(), "it is still there");
}

#[actix_web::test]
async fn a_server_that_ends_sends_its_clients_to_another_at_their_times() {
    let options = Options::default().env("FANFARE_DRAIN_WINDOW", "2s");
    let (mut server, tenant) = start_with(options).await;
    let url = server.url().to_owned();
    let mut sockets = Vec::new();
    for _ in 0..4 {
        let mut socket = PusherSocket::connect(&url, &tenant.key).await;
        socket.subscribe("news").await;
        sockets.push(socket);
    }
    let ended = server.terminate();
    let closes = futures::future::join_all(sockets.iter_mut().map(async |socket| {
        let (code, _) = socket.closed().await;
        (code, std::time::Instant::now())
    }));
    let (status, closes) = tokio::join!(ended, closes);
    assert!(status.success());
    assert!(closes.iter().all(|(code, _)| *code == 4200), "{closes:?}");
    let mut times: Vec<_> = closes.iter().map(|(_, at)| *at).collect();
    times.sort();
    assert!(times[3].duration_since(times[0]) >= std::time::Duration::from_millis(1_000), "they leave over the window");
}

#[actix_web::test]
async fn a_connection_that_does_not_prove_itself_in_time_is_closed_where_the_app_wants_that() {
    let options = Options::default().env("FANFARE_GATEWAY_PUSHER_AUTHORIZATION_TIMEOUT", "2s");
    let (server, tenant) = start_with(options).await;
    switch(&tenant, json!({"pusher_options": {"authorized_connections": true}})).await;
    let mut public = PusherSocket::connect(server.url(), &tenant.key).await;
    let mut private = PusherSocket::connect(server.url(), &tenant.key).await;
    let mut user = PusherSocket::connect(server.url(), &tenant.key).await;
    public.subscribe("news").await;
    let said = private.subscribe_signed(&tenant, "private-a", None).await;
    assert_eq!(said["event"], "pusher_internal:subscription_succeeded");
    assert_eq!(user.sign_in(&tenant, r#"{"id":"ann"}"#).await["event"], "pusher:signin_success");
    assert_eq!(public.closed().await.0, 4009);
    assert!(
        private.until_now().await.iter().chain(&user.until_now().await).all(|said| said["event"] != "pusher:error")
    );
}

#[actix_web::test]
async fn clients_that_are_slow_are_closed_and_come_back() {
    let config = "[plans.small]\noutbox_bytes = 65536\n";
    let options = Options::default().config(config).env("FANFARE_PLAN_DEFAULT", "small");
    let (server, tenant) = start_with(options).await;
    let mut slow = PusherSocket::connect(server.url(), &tenant.key).await;
    slow.subscribe("news").await;
    let (data, mut published) = ("x".repeat(8_000), 0);
    while Metrics::of(&server).await.sample("fanfare_drops_total{reason=\"slow_consumer\"}") == 0.0 {
        tenant.publish("news", json!(data)).await;
        published += 1;
        assert!(published < 5_000, "40 MB wait for one socket");
    }
    let mut read = 0;
    let code = loop {
        match slow.receive().await {
            Received::Json(_) => read += 1,
            Received::Close(code, _) => break code,
            Received::Lost => panic!("it is closed with a code"),
        }
    };
    assert_eq!(code, 4100);
    assert!(read < published);
}
