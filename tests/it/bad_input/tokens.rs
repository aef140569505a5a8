//! Tokens that are not good, over a socket and over HTTP: each its code, and nothing of the service.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Sha256, Sha512};

use crate::harness::{
    server::{Options, Server},
    sockets::{Received, Socket},
    tenants::{Answer, Tenant},
};

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_secs()
}

fn encode(part: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(part)
}

fn hs256(secret: &str, signed: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length");
    mac.update(signed.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hs512(secret: &str, signed: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha512>::new_from_slice(secret.as_bytes()).expect("a key of any length");
    mac.update(signed.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// A token of these parts, signed as the function says.
fn token(header: &Value, claims: &Value, sign: impl Fn(&str) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    format!("{signed}.{}", encode(sign(&signed)))
}

/// The claims of a good token, with some replaced; `null` leaves one out.
fn claims(replaced: Value) -> Value {
    let mut claims =
        json!({"sub": "ann", "cap": {"*": ["subscribe", "publish"]}, "iat": now_s(), "exp": now_s() + 600});
    for (name, value) in replaced.as_object().expect("claims are an object") {
        claims[name] = value.clone();
    }
    claims.as_object_mut().expect("claims are an object").retain(|_, value| !value.is_null());
    claims
}

/// A token of the tenant's key with some claims replaced.
fn signed(tenant: &Tenant, replaced: Value) -> String {
    token(&json!({"alg": "HS256", "kid": tenant.key}), &claims(replaced), |text| hs256(&tenant.secret, text))
}

/// A token of the tenant's key with another header.
fn headed(tenant: &Tenant, header: Value) -> String {
    token(&header, &claims(json!({})), |text| hs256(&tenant.secret, text))
}

/// Holds a token to its refusal wherever it is shown.
async fn expect_refused(tenant: &Tenant, what: &str, token: &str, code: &str, close: u16) {
    let mut socket = Socket::open(&tenant.url).await;
    assert_eq!(socket.refused(json!({"op": "connect", "token": token})).await, code, "{what}");
    let (events, end) = socket.closed().await;
    assert_eq!(end, Received::Close(close, code.to_owned()), "{what}");
    assert_eq!(events.last().expect("an event says why")["error"]["code"], code, "{what}");
    let mut good = tenant.join("ann").await;
    assert_eq!(good.refused(json!({"op": "token", "token": token})).await, code, "{what}, as a refresh");
    assert!(good.subscribe("a").await["epoch"].is_string(), "{what}: a refresh that fails changes nothing");
    if !token.is_empty() && token.is_ascii() && !token.contains('\n') {
        let request = tenant.request(Method::POST, "/v1/channels/a/messages").bearer_auth(token);
        let answer = Answer::of(request.json(&json!({"data": 1}))).await;
        assert!(answer.headers.contains_key("www-authenticate"), "{what}");
        answer.expect_problem(401, code);
    }
}

async fn expect_bad(tenant: &Tenant, what: &str, token: &str) {
    expect_refused(tenant, what, token, "bad_token", 4012).await;
}

#[actix_web::test]
async fn a_token_made_by_hand_is_as_good_as_any() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    for replaced in [
        json!({}),
        json!({"sub": null}),
        json!({"jti": "one", "info": {"name": "Ann"}, "later": [1]}),
        json!({"exp": now_s() as f64 + 60.5}),
        json!({"iat": now_s() + 30}),
        json!({"iat": now_s() - 86_000, "exp": now_s() + 300}),
        json!({"nbf": 0, "aud": "anyone", "iss": "us"}),
    ] {
        let mut socket = Socket::connect(server.url(), &signed(&tenant, replaced)).await;
        socket.subscribe("a").await;
    }
}

#[actix_web::test]
async fn times_are_held_to_the_letter() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let past = json!({"iat": now_s() - 3_600, "exp": now_s() - 1});
    expect_refused(&tenant, "expired", &signed(&tenant, past), "token_expired", 4110).await;
    let ages_ago = json!({"iat": 1, "exp": 2});
    expect_refused(&tenant, "expired long ago", &signed(&tenant, ages_ago), "token_expired", 4110).await;
    for (what, replaced) in [
        ("no exp", json!({"exp": null})),
        ("no iat", json!({"iat": null})),
        ("exp more than 24 h after iat", json!({"exp": now_s() + 86_400 + 60})),
        ("exp never", json!({"exp": 1e300})),
        ("iat more than 60 s ahead", json!({"iat": now_s() + 120, "exp": now_s() + 600})),
        ("exp as text", json!({"exp": (now_s() + 600).to_string()})),
        ("exp in milliseconds", json!({"exp": (now_s() + 600) * 1_000})),
        ("iat negative", json!({"iat": -1})),
        ("iat of another type", json!({"iat": [1]})),
    ] {
        expect_bad(&tenant, what, &signed(&tenant, replaced)).await;
    }
    tenant.is_served().await;
}

#[actix_web::test]
async fn claims_are_held_to_their_types_and_limits() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let patterns = |count: usize| -> Value {
        Value::Object((0..count).map(|at| (format!("c{at}"), json!(["subscribe"]))).collect())
    };
    for (what, replaced) in [
        ("no cap", json!({"cap": null})),
        ("cap of another type", json!({"cap": "everything"})),
        ("cap as a list", json!({"cap": ["*"]})),
        ("rights of another type", json!({"cap": {"*": "subscribe"}})),
        ("an unknown right", json!({"cap": {"*": ["fly"]}})),
        ("101 patterns", json!({"cap": patterns(101)})),
        ("a star in the middle", json!({"cap": {"a*b": ["subscribe"]}})),
        ("two stars", json!({"cap": {"**": ["subscribe"]}})),
        ("an empty pattern", json!({"cap": {"": ["subscribe"]}})),
        ("a service pattern", json!({"cap": {"#x": ["subscribe"]}})),
        ("sub of another type", json!({"sub": 7})),
        ("an empty sub", json!({"sub": ""})),
        ("a long sub", json!({"sub": "x".repeat(129)})),
        ("a sub with a control character", json!({"sub": "a\u{7}"})),
        ("a sub with a line end", json!({"sub": "a\nb"})),
        ("large info", json!({"info": "x".repeat(1_025)})),
        ("jti of another type", json!({"jti": 7})),
    ] {
        expect_bad(&tenant, what, &signed(&tenant, replaced)).await;
    }
    Socket::connect(server.url(), &signed(&tenant, json!({"cap": patterns(100)}))).await;
    tenant.is_served().await;
}

#[actix_web::test]
async fn only_the_keys_own_algorithm_and_secret_are_taken() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let good = signed(&tenant, json!({}));
    let (start, signature) = good.rsplit_once('.').expect("three parts");
    let nothing = |_: &str| Vec::new();
    let kid = &tenant.key;
    let other_key = Tenant::sign_up(&server).await.key;
    for (what, token) in [
        ("unsigned", format!("{start}.")),
        ("without its third part", start.to_owned()),
        ("alg none, unsigned", token(&json!({"alg": "none", "kid": kid}), &claims(json!({})), nothing)),
        ("alg none, signed", headed(&tenant, json!({"alg": "none", "kid": kid}))),
        ("alg NONE", token(&json!({"alg": "NONE", "kid": kid}), &claims(json!({})), nothing)),
        ("alg RS256", headed(&tenant, json!({"alg": "RS256", "kid": kid}))),
        ("alg ES256", headed(&tenant, json!({"alg": "ES256", "kid": kid}))),
        (
            "alg HS512, signed so",
            token(&json!({"alg": "HS512", "kid": kid}), &claims(json!({})), |text| hs512(&tenant.secret, text)),
        ),
        ("no alg", headed(&tenant, json!({"kid": kid}))),
        ("no kid", headed(&tenant, json!({"alg": "HS256"}))),
        ("an unknown kid", headed(&tenant, json!({"alg": "HS256", "kid": "fk_01jzzzzzzzzzzzzzzzzzzzzzzz"}))),
        ("a kid that is no key id", headed(&tenant, json!({"alg": "HS256", "kid": "../../key"}))),
        ("a kid of another type", headed(&tenant, json!({"alg": "HS256", "kid": 7}))),
        ("another tenant's kid", headed(&tenant, json!({"alg": "HS256", "kid": other_key}))),
        (
            "the secret without its prefix",
            token(&json!({"alg": "HS256", "kid": kid}), &claims(json!({})), |text| hs256(&tenant.secret[3..], text)),
        ),
        ("an empty secret", token(&json!({"alg": "HS256", "kid": kid}), &claims(json!({})), |text| hs256("", text))),
        (
            "the key's id as secret",
            token(&json!({"alg": "HS256", "kid": kid}), &claims(json!({})), |text| hs256(kid, text)),
        ),
        ("other claims under the same signature", {
            let header = good.split('.').next().expect("a header");
            format!("{header}.{}.{signature}", encode(claims(json!({"sub": "eve"})).to_string()))
        }),
    ] {
        expect_bad(&tenant, what, &token).await;
    }
    tenant.is_served().await;
}

#[actix_web::test]
async fn what_is_no_token_at_all_is_refused() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let good = signed(&tenant, json!({}));
    let parts: Vec<_> = good.split('.').collect();
    let not_json = encode("not json");
    let sign = |signed: String| format!("{signed}.{}", encode(hs256(&tenant.secret, &signed)));
    let many = json!({"info": null, "later": "x".repeat(8 * 1024)});
    for (what, token) in [
        ("nothing", String::new()),
        ("one letter", "x".to_owned()),
        ("only dots", "...".to_owned()),
        ("four parts", format!("{good}.{}", parts[2])),
        ("garbage", "a.b.c".to_owned()),
        ("not base64", format!("{}!.{}.{}", parts[0], parts[1], parts[2])),
        ("a space before", format!("x {good}")),
        ("a header that is not JSON", sign(format!("{not_json}.{}", parts[1]))),
        ("claims that are not JSON", sign(format!("{}.{not_json}", parts[0]))),
        ("claims that are a list", sign(format!("{}.{}", parts[0], encode("[]")))),
        ("claims that are not UTF-8", sign(format!("{}.{}", parts[0], encode(b"{\"sub\":\"\xff\"}")))),
        ("more than 8 KiB", signed(&tenant, many)),
        ("an API key's id", tenant.key.clone()),
        ("not ASCII", "ключ".to_owned()),
        ("a line end", format!("{good}\n")),
    ] {
        if what == "an API key's id" {
            let mut socket = Socket::open(server.url()).await;
            assert_eq!(socket.refused(json!({"op": "connect", "token": token})).await, "bad_token", "{what}");
            assert_eq!(socket.close_code().await, 4012, "{what}");
            continue;
        }
        expect_bad(&tenant, what, &token).await;
    }
    tenant.is_served().await;
}

#[actix_web::test]
async fn a_token_is_of_one_app_and_dies_with_its_key() {
    let server = Server::start(Options::default()).await;
    let (tenant, other) = (Tenant::sign_up(&server).await, Tenant::sign_up(&server).await);
    let good = signed(&tenant, json!({}));
    let mut socket = Socket::open(server.url()).await;
    assert_eq!(socket.refused(json!({"op": "connect", "token": good, "app": other.app})).await, "bad_token");
    assert_eq!(socket.close_code().await, 4012);
    let mut socket = Socket::open(server.url()).await;
    socket.ask(json!({"op": "connect", "token": good, "app": tenant.app})).await;
    let foreign = signed(&other, json!({}));
    assert_eq!(socket.refused(json!({"op": "token", "token": foreign})).await, "token_mismatch");

    let path = format!("/v1/apps/{}", tenant.app);
    let off = tenant.control(Method::PATCH, &path, json!({"enabled": false})).await;
    off.expect(StatusCode::OK);
    let mut disabled = Socket::open(server.url()).await;
    assert_eq!(disabled.refused(json!({"op": "connect", "token": good})).await, "app_disabled");
    assert_eq!(disabled.close_code().await, 4020);
    tenant.control(Method::PATCH, &path, json!({"enabled": true})).await.expect(StatusCode::OK);
    let revoked = tenant.control(Method::DELETE, &format!("{path}/keys/{}", tenant.key), Value::Null).await;
    revoked.expect(StatusCode::NO_CONTENT);
    let mut dead = Socket::open(server.url()).await;
    assert_eq!(dead.refused(json!({"op": "connect", "token": good})).await, "bad_token");
    assert_eq!(dead.close_code().await, 4012);
    other.is_served().await;
}

#[actix_web::test]
async fn connect_takes_one_credential() {
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let good = signed(&tenant, json!({}));
    for (connect, code, close) in [
        (json!({"op": "connect"}), "unauthorized", 4010),
        (json!({"op": "connect", "token": good, "key": tenant.key}), "unauthorized", 4010),
        (json!({"op": "connect", "key": "fk_01jzzzzzzzzzzzzzzzzzzzzzzz"}), "bad_key", 4011),
        (json!({"op": "connect", "key": ""}), "bad_key", 4011),
        (json!({"op": "connect", "key": tenant.credential()}), "bad_key", 4011),
    ] {
        let mut socket = Socket::open(server.url()).await;
        assert_eq!(socket.refused(connect.clone()).await, code, "{connect}");
        assert_eq!(socket.close_code().await, close, "{connect}");
    }
    let mut public = Socket::connect_public(server.url(), &tenant.key).await;
    assert_eq!(public.refused(json!({"op": "subscribe", "channel": "private"})).await, "forbidden");
    tenant.is_served().await;
}
