//! Cutting off a token, a client, a key, a tenant, by every path; and what stays good.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::harness::{
    server::{Options, Server},
    sockets::{PATIENCE, Received, Socket},
    streams::polls_are_in,
    tenants::{Answer, Tenant, start},
    tokens::{every_right, now_s},
};

/// Revokes something; gives the number.
pub async fn revoke(tenant: &Tenant, what: Value) -> u64 {
    let answer = tenant.data(Method::POST, "/v1/revocations", what).await.expect(StatusCode::OK);
    answer["revision"].as_u64().expect("a revision is a number")
}

/// A token of `client` with an id, good for ten minutes.
pub fn token(tenant: &Tenant, client: &str, id: &str) -> String {
    let now = now_s();
    tenant.sign(&json!({"sub": client, "cap": every_right(), "iat": now, "exp": now + 600.0, "jti": id}))
}

/// The close of a socket, which says why before.
pub async fn closed(socket: &mut Socket) -> (u16, String) {
    let (events, end) = socket.closed().await;
    let Received::Close(code, reason) = end else { panic!("{end:?} after {events:?}") };
    let error = events.last().expect("an error comes before the close");
    assert_eq!((&error["op"], &error["error"]["code"]), (&json!("error"), &json!(reason)), "{events:?}");
    (code, reason)
}

async fn publish(tenant: &Tenant, token: &str) -> Answer {
    let request = tenant.request(Method::POST, "/v1/channels/room/messages").bearer_auth(token);
    Answer::of(request.json(&json!({"data": 1}))).await
}

/// That a token opens nothing, over HTTP, by `connect`, and as the fresh one of a connection.
async fn opens_nothing(tenant: &Tenant, token: &str, client: &str) {
    publish(tenant, token).await.expect_problem(401, "revoked");
    let history = tenant.request(Method::GET, "/v1/channels/room/messages").bearer_auth(token);
    Answer::of(history).await.expect_problem(401, "revoked");
    let mut socket = Socket::open(&tenant.url).await;
    assert_eq!(socket.refused(json!({"op": "connect", "token": token})).await, "revoked");
    assert_eq!(closed(&mut socket).await, (4013, "revoked".into()));
    let fresh = self::token(tenant, client, "of the connection");
    let mut socket = Socket::connect(&tenant.url, &fresh).await;
    assert_eq!(socket.refused(json!({"op": "token", "token": token})).await, "revoked");
    socket.subscribe("room").await;
}

#[tokio::test]
async fn a_revoked_token_is_closed_and_refused_on_every_path_and_no_other_is() {
    let (mut server, tenant) = start().await;
    let (doomed, kept) = (token(&tenant, "ann", "one"), token(&tenant, "ann", "two"));
    let mut sockets =
        vec![Socket::connect(&tenant.url, &doomed).await, Socket::open_with(&tenant.url, Some(&doomed)).await];
    sockets[1].ask(json!({"op": "connect"})).await;
    let mut stays = Socket::connect(&tenant.url, &kept).await;
    let mut moved_away = Socket::connect(&tenant.url, &doomed).await;
    moved_away.ask(json!({"op": "token", "token": kept})).await;
    let mut moved_to = Socket::connect(&tenant.url, &kept).await;
    moved_to.ask(json!({"op": "token", "token": doomed})).await;
    sockets.push(moved_to);
    let revision = revoke(&tenant, json!({"token": "one"})).await;
    for socket in &mut sockets {
        assert_eq!(closed(socket).await, (4013, "revoked".into()));
    }
    assert_eq!(revoke(&tenant, json!({"token": "one"})).await, revision, "again is the same");
    opens_nothing(&tenant, &doomed, "ann").await;
    publish(&tenant, &kept).await.expect(StatusCode::ACCEPTED);
    for socket in [&mut stays, &mut moved_away] {
        socket.subscribe("room").await;
    }
    assert!(server.terminate().await.success());
    server.restart().await;
    opens_nothing(&tenant, &doomed, "ann").await;
    publish(&tenant, &kept).await.expect(StatusCode::ACCEPTED);
}

#[tokio::test]
async fn a_revoked_token_ends_its_streams_and_answers_its_polls() {
    let (server, tenant) = start().await;
    let (doomed, kept) = (token(&tenant, "ann", "one"), token(&tenant, "ann", "two"));
    let mut stream = tenant.stream(&doomed, "channel=room", None).await;
    let mut stays = tenant.stream(&kept, "channel=room", None).await;
    for stream in [&mut stream, &mut stays] {
        stream.next_of("open").await;
    }
    let (_, cursor) = tenant.polled(&doomed, "channel=room").await;
    let query = format!("channel=room&cursor={cursor}");
    let revoking = async {
        polls_are_in(&server, 3).await;
        revoke(&tenant, json!({"token": "one"})).await;
        tenant.publish("room", json!("after")).await;
    };
    // One that is not ended would wait to its own end, and bring nothing.
    let polls = futures::future::join(tenant.poll(&doomed, &query), tenant.poll(&kept, &query));
    let ((refused, page), ()) = tokio::join!(polls, revoking);
    refused.expect_problem(401, "revoked");
    assert_eq!(page.expect(StatusCode::OK)["messages"][0]["data"], "after");
    assert_eq!(stream.next_of("error").await.data["error"]["code"], "revoked");
    assert_eq!(stream.next().await, None);
    stays.serials(1..=1).await;
    tenant.refused_stream(&doomed, "channel=room").await.expect_problem(401, "revoked");
    tenant.poll(&doomed, &query).await.expect_problem(401, "revoked");
    // A client's end is the end of its streams, too.
    revoke(&tenant, json!({"client": "ann"})).await;
    assert_eq!(stays.next_of("error").await.data["error"]["code"], "revoked");
    assert_eq!(stays.next().await, None);
}

#[tokio::test]
async fn a_publish_whose_body_comes_after_the_revocation_is_refused() {
    let (_server, tenant) = start().await;
    let doomed = token(&tenant, "ann", "one");
    let address = tenant.url.strip_prefix("http://").expect("plain HTTP");
    let mut slow = TcpStream::connect(address).await.expect("the server listens");
    let head = format!(
        "POST /v1/channels/room/messages HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {doomed}\r\n\
         Content-Type: application/json\r\nContent-Length: 10\r\nConnection: close\r\n\r\n{{\"data\":"
    );
    slow.write_all(head.as_bytes()).await.expect("the server reads");
    publish(&tenant, &doomed).await.expect(StatusCode::ACCEPTED);
    revoke(&tenant, json!({"token": "one"})).await;
    slow.write_all(b"2}").await.expect("the server reads");
    let mut answer = String::new();
    timeout(PATIENCE, slow.read_to_string(&mut answer)).await.expect("the server answers").expect("text");
    assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("revoked"), "{answer}");
    tenant.publish("room", json!(3)).await;
    tenant.reaches("room", 2).await;
    let kept: Vec<_> = tenant.history("room").await.into_iter().map(|message| message["data"].clone()).collect();
    assert_eq!(kept, [json!(1), json!(3)]);
}

#[tokio::test]
async fn a_revoked_clients_tokens_of_before_are_refused_and_those_of_later_are_good() {
    let (mut server, tenant) = start().await;
    let minted = tenant.full_token("ann").await;
    let signed = token(&tenant, "ann", "one");
    let bob = tenant.full_token("bob").await;
    let mut sockets = [Socket::connect(&tenant.url, &minted).await, Socket::connect(&tenant.url, &signed).await];
    let mut stays = Socket::connect(&tenant.url, &bob).await;
    revoke(&tenant, json!({"client": "ann"})).await;
    // Those that are minted say whole seconds, and are told apart all the same.
    let (fresh, fresh_signed) = (tenant.full_token("ann").await, token(&tenant, "ann", "later"));
    for socket in &mut sockets {
        assert_eq!(closed(socket).await, (4013, "revoked".into()));
    }
    for token in [&fresh, &fresh_signed, &bob] {
        publish(&tenant, token).await.expect(StatusCode::ACCEPTED);
        Socket::connect(&tenant.url, token).await.subscribe("room").await;
    }
    opens_nothing(&tenant, &minted, "ann").await;
    stays.subscribe("room").await;
    server.kill9().await;
    server.restart().await;
    opens_nothing(&tenant, &signed, "ann").await;
    publish(&tenant, &fresh).await.expect(StatusCode::ACCEPTED);
    revoke(&tenant, json!({"client": "ann"})).await;
    opens_nothing(&tenant, &fresh, "ann").await;
}

#[tokio::test]
async fn a_revoked_key_is_gone_with_everything_that_it_signed() {
    let (mut server, tenant) = start().await;
    let doomed = tenant.with_key(json!({"name": "doomed"})).await;
    let token = doomed.full_token("ann").await;
    let mut sockets =
        [Socket::connect(&tenant.url, &token).await, Socket::connect_public(&tenant.url, &doomed.key).await];
    let mut stays = tenant.join("ann").await;
    let revision = revoke(&tenant, json!({"key": doomed.key})).await;
    for socket in &mut sockets {
        assert_eq!(closed(socket).await, (4011, "bad_key".into()));
    }
    assert_eq!(revoke(&tenant, json!({"key": doomed.key})).await, revision, "again is the same");
    stays.subscribe("room").await;
    for _ in 0..2 {
        doomed.data(Method::GET, "/v1/channels/room/messages", Value::Null).await.expect_problem(401, "bad_key");
        publish(&tenant, &token).await.expect_problem(401, "bad_token");
        server.kill9().await;
        server.restart().await;
    }
    let listed = tenant.control(Method::GET, &format!("/v1/apps/{}/keys", tenant.app), Value::Null).await;
    assert_eq!(listed.body["items"].as_array().map(Vec::len), Some(1), "{}", listed.text);
    // A key may revoke itself, too.
    revoke(&tenant, json!({"key": tenant.key})).await;
    tenant.data(Method::POST, "/v1/revocations", json!({"key": tenant.key})).await.expect_problem(401, "bad_key");
}

#[tokio::test]
async fn a_disconnected_client_may_come_back_at_once_and_misses_nothing() {
    let (_server, tenant) = start().await;
    let token = tenant.full_token("ann/ö").await;
    let mut sockets = [Socket::connect(&tenant.url, &token).await, Socket::connect(&tenant.url, &token).await];
    let mut stays = tenant.join("bob").await;
    let epoch = sockets[0].subscribe("room").await["epoch"].as_str().expect("an epoch").to_owned();
    let path = "/v1/clients/ann%2F%C3%B6/connections";
    tenant.data(Method::DELETE, path, Value::Null).await.expect(StatusCode::NO_CONTENT);
    for socket in &mut sockets {
        assert_eq!(closed(socket).await, (4202, "disconnected".into()));
    }
    tenant.publish("room", json!("meanwhile")).await;
    let mut back = Socket::connect(&tenant.url, &token).await;
    assert_eq!(back.resume("room", &epoch, 0).await["resumed"], true);
    assert_eq!(back.event_of("message").await["data"], "meanwhile");
    stays.subscribe("room").await;
    // Nobody is there, which is no error.
    tenant.data(Method::DELETE, "/v1/clients/nobody/connections", Value::Null).await.expect(StatusCode::NO_CONTENT);
    back.subscribe("other").await;
}

#[tokio::test]
async fn only_a_key_that_may_administer_its_app_cuts_off_and_only_what_is_the_apps() {
    let server = Server::start(Options::default()).await;
    let (tenant, other) = (Tenant::sign_up(&server).await, Tenant::sign_up(&server).await);
    let narrow = tenant.with_key(json!({"name": "narrow", "cap": {"*": ["publish", "subscribe"]}})).await;
    let partial = tenant.with_key(json!({"name": "partial", "cap": {"chat:*": ["admin"]}})).await;
    let connections = "/v1/clients/ann/connections";
    for weak in [&narrow, &partial] {
        weak.data(Method::POST, "/v1/revocations", json!({"client": "ann"})).await.expect_problem(403, "forbidden");
        weak.data(Method::DELETE, connections, Value::Null).await.expect_problem(403, "forbidden");
    }
    let by_token = tenant.request(Method::POST, "/v1/revocations").bearer_auth(tenant.full_token("ann").await);
    Answer::of(by_token.json(&json!({"client": "bob"}))).await.expect_problem(403, "forbidden");
    for foreign in [other.key.as_str(), "fk_00000000000000000000000000", "nonsense"] {
        let answer = tenant.data(Method::POST, "/v1/revocations", json!({"key": foreign})).await;
        answer.expect_problem(404, "not_found");
    }
    for wrong in [
        json!({}),
        json!({"token": "a", "client": "b"}),
        json!({"token": ""}),
        json!({"token": "x".repeat(257)}),
        json!({"client": ""}),
        json!({"tenant": tenant.tenant}),
    ] {
        tenant.data(Method::POST, "/v1/revocations", wrong).await.expect_problem(422, "invalid_body");
    }
    // Names are each app's own.
    let mut theirs = Socket::connect(&other.url, &token(&other, "ann", "one")).await;
    revoke(&tenant, json!({"client": "ann"})).await;
    revoke(&tenant, json!({"token": "one"})).await;
    tenant.data(Method::DELETE, connections, Value::Null).await.expect(StatusCode::NO_CONTENT);
    theirs.subscribe("room").await;
    other.is_served().await;
}

#[tokio::test]
async fn a_suspended_tenants_apps_refuse_everyone_until_it_is_lifted() {
    let mut server = Server::start(Options::default()).await;
    let (tenant, other) = (Tenant::sign_up(&server).await, Tenant::sign_up(&server).await);
    let token = tenant.full_token("ann").await;
    let run = async |server: &Server, lift: &[&str]| {
        let mut command = server.command(&[&["suspend", &tenant.tenant], lift].concat());
        let ran = tokio::task::spawn_blocking(move || command.output()).await.expect("it does not panic");
        let ran = ran.expect("the binary can be started");
        assert!(ran.status.success(), "{ran:?}");
    };
    server.terminate().await;
    run(&server, &[]).await;
    server.restart().await;
    publish(&tenant, &token).await.expect_problem(403, "app_disabled");
    tenant.data(Method::GET, "/v1/channels/room/messages", Value::Null).await.expect_problem(403, "app_disabled");
    other.is_served().await;
    server.terminate().await;
    run(&server, &["--lift"]).await;
    server.restart().await;
    publish(&tenant, &token).await.expect(StatusCode::ACCEPTED);
}
