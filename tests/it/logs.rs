//! The log at its loudest holds no secret and no payload.

use std::fs;

use base64::{Engine, prelude::BASE64_STANDARD};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{
    engines,
    pusher::Backend,
    raw::{Out, Raw},
    server::{Options, Server},
    sockets::Socket,
    tenants::{Answer, PASSWORD, Tenant},
};

const PAYLOADS: [&str; 10] = [
    "payload-over-rest",
    "payload-in-a-batch",
    "payload-over-a-socket",
    "payload-too-large",
    "payload-of-bad-json",
    "payload-of-a-bad-frame",
    "payload-of-a-wrong-field",
    "payload-in-a-header",
    "payload-in-info",
    "payload-of-bad-utf8",
];

/// Everything that a log must not hold, by what it is.
#[derive(Default)]
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    fn add(&mut self, what: &'static str, text: impl Into<String>) {
        self.0.push((what, text.into()));
    }

    /// A token, by each of its parts.
    fn add_token(&mut self, token: &str) {
        token.split('.').for_each(|part| self.add("a part of a token", part));
    }
}

async fn drive_the_control_plane(tenant: &Tenant, secrets: &mut Secrets) {
    let wrong = json!({"email": tenant.email, "password": "a-wrong-password"});
    Answer::of(tenant.request(Method::POST, "/v1/login").json(&wrong)).await.expect_problem(401, "bad_credentials");
    let right = json!({"email": tenant.email, "password": PASSWORD});
    let request = tenant.request(Method::POST, "/v1/login").header("x-request-id", "request-marker");
    let session = Answer::of(request.json(&right)).await.expect(StatusCode::OK);
    secrets.add("a second session", session["session"].as_str().expect("a session"));
    let change = json!({"current_password": PASSWORD, "new_password": "a-newer-password"});
    tenant.control(Method::POST, "/v1/me/password", change).await.expect(StatusCode::NO_CONTENT);
    let odd = json!({"email": "odd@example.com", "password": "a-password-of-nobody", "tenant": "", "field-marker": 1});
    Answer::of(tenant.request(Method::POST, "/v1/signup").json(&odd)).await.expect_problem(422, "invalid_body");
    let rotate = format!("/v1/apps/{}/keys/{}/rotate", tenant.app, tenant.key);
    let rotated = tenant.control(Method::POST, &rotate, json!({"grace_s": 60})).await.expect(StatusCode::OK);
    secrets.add("a rotated secret", rotated["secret"].as_str().expect("a secret"));
    let by_cookie = tenant
        .request(Method::GET, "/v1/me?token=token-in-a-query")
        .header("cookie", format!("session={}", tenant.session));
    assert_eq!(Answer::of(by_cookie).await.status, 200);
    secrets.add("a query", "token-in-a-query");
    for password in [PASSWORD, "a-wrong-password", "a-newer-password", "a-password-of-nobody"] {
        secrets.add("a password", password);
    }
}

async fn drive_the_data_plane(tenant: &Tenant, secrets: &mut Secrets) {
    let messages = "/v1/channels/a/messages";
    let body = json!({"data": PAYLOADS[0], "headers": {"h": PAYLOADS[7]}, "idempotency_key": "idempotency-in-body"});
    tenant.data(Method::POST, messages, body).await.expect(StatusCode::ACCEPTED);
    let keyed = tenant.request(Method::POST, messages).header("idempotency-key", "idempotency-in-header");
    let basic = format!("{}:{}", tenant.key, tenant.secret);
    let keyed = keyed.header("authorization", format!("Basic {}", BASE64_STANDARD.encode(&basic)));
    assert_eq!(Answer::of(keyed.json(&json!({"data": PAYLOADS[0]}))).await.status, 202);
    let conflict = json!({"data": PAYLOADS[1], "idempotency_key": "idempotency-in-body"});
    tenant.data(Method::POST, messages, conflict).await.expect_problem(409, "idempotency_conflict");
    let batch =
        json!({"messages": [{"channel": "a", "data": PAYLOADS[1]}, {"channel": "a", "data": 1, PAYLOADS[6]: 1}]});
    tenant.data(Method::POST, "/v1/messages", batch).await.expect(StatusCode::OK);
    let large = json!({"data": PAYLOADS[3].repeat(6_000)});
    tenant.data(Method::POST, messages, large).await.expect_problem(413, "message_too_large");
    let broken = tenant
        .request(Method::POST, messages)
        .bearer_auth(tenant.credential())
        .header("content-type", "application/json");
    Answer::of(broken.body(format!("{{\"data\":\"{}\"", PAYLOADS[4]))).await.expect_problem(400, "malformed");
    tenant.data(Method::GET, messages, Value::Null).await.expect(StatusCode::OK);
    let strange = tenant.request(Method::GET, messages).bearer_auth(format!("{}.fs_a-wrong-secret", tenant.key));
    Answer::of(strange).await.expect_problem(401, "bad_key");
    secrets.add("a wrong secret", "a-wrong-secret");
    secrets.add("a Basic credential", BASE64_STANDARD.encode(&basic));
    secrets.add("an idempotency key", "idempotency-in-body");
    secrets.add("an idempotency key", "idempotency-in-header");
}

async fn drive_the_pusher_api(tenant: &Tenant, secrets: &mut Secrets) {
    let backend = Backend::of(tenant.clone()).await;
    backend.trigger("a", PAYLOADS[0]).await;
    let path = format!("/apps/{}/channels", backend.number);
    let good = backend.sign(&Method::GET, &path, backend.base(""));
    backend.send(Method::GET, &path, &good, "").await.expect(StatusCode::OK);
    let bad = backend.sign(&Method::POST, &path, backend.base(""));
    backend.send(Method::GET, &path, &bad, "").await.expect_refused(401);
    for pairs in [good, bad] {
        secrets.add("a signature", pairs.last().expect("a signature").1.clone());
    }
}

async fn drive_sockets(tenant: &Tenant, secrets: &mut Secrets) {
    let token = tenant.full_token("ann").await;
    let cap = json!({"*": ["subscribe", "publish"]});
    let body = json!({"client": "ann", "cap": cap, "ttl_s": 60, "info": PAYLOADS[8]});
    let informed = tenant.data(Method::POST, "/v1/tokens", body).await.expect(StatusCode::CREATED);
    let informed = informed["token"].as_str().expect("a token");
    let mut socket = Socket::connect(&tenant.url, &token).await;
    socket.subscribe("a").await;
    let publish =
        json!({"op": "publish", "channel": "a", "data": PAYLOADS[2], "idempotency_key": "idempotency-on-a-socket"});
    socket.ask(publish).await;
    assert_eq!(socket.event_of("message").await["data"], PAYLOADS[2]);
    socket.ask(json!({"op": "history", "channel": "a"})).await;
    socket.ask(json!({"op": "token", "token": informed})).await;
    let forged = format!("{}x", token);
    assert_eq!(socket.refused(json!({"op": "token", "token": forged})).await, "bad_token");
    assert_eq!(
        socket.refused(json!({"op": "publish", "channel": "a", "data": 1, "name": [PAYLOADS[6]]})).await,
        "bad_request"
    );
    socket.send_text(format!("{{\"data\":\"{}\"", PAYLOADS[5])).await;
    assert_eq!(socket.close_code().await, 4000);
    let handshake = crate::harness::raw::handshake("/v1/connect", &format!("Authorization: Bearer {informed}\r\n"));
    let (_, mut raw) = Raw::request(&tenant.url, handshake).await;
    raw.send(&[Out::text(r#"{"id":1,"op":"connect"}"#)]).await;
    assert!(raw.json().await["ok"].is_object());
    raw.send(&[Out::text([PAYLOADS[9].as_bytes(), b"\xff"].concat())]).await;
    assert_eq!(raw.closed().await.1, Some(1007));
    secrets.add_token(&token);
    secrets.add_token(informed);
    secrets.add("an idempotency key", "idempotency-on-a-socket");
}

#[actix_web::test]
async fn the_log_at_trace_level_holds_no_secret_and_no_payload() {
    for format in ["text", "json"] {
        let options = Options::default().env("FANFARE_LOG", "trace").env("FANFARE_LOG_FORMAT", format);
        let mut server = Server::start(options).await;
        let tenant = Tenant::sign_up(&server).await;
        let mut secrets = Secrets::default();
        secrets.add("a session", &tenant.session);
        secrets.add("a key's secret", tenant.secret.trim_start_matches("fs_"));
        PAYLOADS.iter().for_each(|payload| secrets.add("a payload", *payload));
        if engines::are_wanted() {
            secrets.add("the master key", engines::MASTER_KEY);
        }
        // With production engines there is no data folder.
        for entry in fs::read_dir(server.data_dir()).into_iter().flatten().map(|entry| entry.expect("an entry").path())
        {
            let text = fs::read(&entry).unwrap_or_default();
            if (32..=80).contains(&text.len()) {
                secrets.add("the master key", String::from_utf8_lossy(&text).trim());
            }
        }
        drive_the_data_plane(&tenant, &mut secrets).await;
        drive_the_pusher_api(&tenant, &mut secrets).await;
        drive_sockets(&tenant, &mut secrets).await;
        drive_the_control_plane(&tenant, &mut secrets).await;
        assert!(server.terminate().await.success());

        let (log, said) = (server.stderr(), server.stdout());
        for (what, secret) in &secrets.0 {
            assert!(secret.len() > 6, "{what} is too short to be looked for: {secret}");
            for line in log.lines().chain(said.lines()) {
                assert!(!line.contains(secret.as_str()), "{what} is in the log ({format}): {line}");
            }
        }
        assert!(secrets.0.iter().any(|(what, _)| *what == "the master key"), "there is a master key");
        for id in [&tenant.app, &tenant.key, "request-marker"] {
            assert!(log.contains(id), "{id} is not in the log ({format}):\n{log}");
        }
    }
}
