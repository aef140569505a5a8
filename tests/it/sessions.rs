//! Accounts and sessions: signing up, in and out, cookies, and which writes a cookie may make.

use reqwest::{Client, Method, StatusCode, header::HeaderMap};
use serde_json::{Value, json};

use crate::harness::{
    server::{Options, Server},
    tenants::{Answer, PASSWORD, Tenant, start},
};

async fn log_in(tenant: &Tenant, email: &str, password: &str) -> Answer {
    Answer::of(tenant.request(Method::POST, "/v1/login").json(&json!({"email": email, "password": password}))).await
}

/// The session of a cookie, and its attributes in lower case.
fn cookie(headers: &HeaderMap) -> (String, String, Vec<String>) {
    let text = headers["set-cookie"].to_str().expect("a cookie is text");
    let mut parts = text.split("; ");
    let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).expect("a name and a value");
    let mut attributes: Vec<_> = parts.map(str::to_ascii_lowercase).collect();
    attributes.sort_unstable();
    (name.to_owned(), value.to_owned(), attributes)
}

async fn me(tenant: &Tenant, session: &str) -> Answer {
    Answer::of(tenant.request(Method::GET, "/v1/me").bearer_auth(session)).await
}

#[tokio::test]
async fn who_signs_up_owns_a_tenant_and_is_signed_in() {
    let (server, tenant) = start().await;
    let body = json!({"email": "Zoe@Example.com", "password": PASSWORD, "tenant": "Zoe & Co"});
    let signed = Answer::of(tenant.request(Method::POST, "/v1/signup").json(&body)).await;
    let (name, value, attributes) = cookie(&signed.headers);
    assert_eq!((name.as_str(), Some(value.as_str())), ("session", signed.body["session"].as_str()));
    assert_eq!(attributes, ["httponly", "max-age=2592000", "path=/", "samesite=lax"]);
    let signed = signed.expect(StatusCode::CREATED);
    assert_eq!(signed["user"]["email"], "zoe@example.com");
    assert_eq!((&signed["tenant"]["name"], &signed["tenant"]["plan"]), (&json!("Zoe & Co"), &json!("unlimited")));
    let session = signed["session"].as_str().expect("a session");
    let me = me(&tenant, session).await.expect(StatusCode::OK);
    assert_eq!(
        (&me["user"], &me["tenants"][0]["id"], &me["tenants"][0]["role"]),
        (&signed["user"], &signed["tenant"]["id"], &json!("owner"))
    );
    let mut again = body.clone();
    again["email"] = json!(" ZOE@example.COM");
    let taken = Answer::of(tenant.request(Method::POST, "/v1/signup").json(&again)).await;
    taken.expect_problem(409, "email_taken");
    for (field, bad) in
        [("email", json!("zoe")), ("password", json!("short")), ("tenant", json!("")), ("later", json!(1))]
    {
        let mut body = json!({"email": "new@example.com", "password": PASSWORD, "tenant": "New"});
        body[field] = bad;
        let refused = Answer::of(tenant.request(Method::POST, "/v1/signup").json(&body)).await;
        assert_eq!(refused.expect_problem(422, "invalid_body")["errors"][0]["pointer"], format!("/{field}"));
    }
    drop(server);
}

#[tokio::test]
async fn a_closed_server_takes_nobody_new() {
    let server = Server::start(Options::default().env("FANFARE_SIGNUP", "closed")).await;
    let client = Client::builder().no_proxy().build().expect("a client can be built");
    let body = json!({"email": "zoe@example.com", "password": PASSWORD, "tenant": "Zoe"});
    let refused = Answer::of(client.post(format!("{}/v1/signup", server.url())).json(&body)).await;
    refused.expect_problem(403, "signup_closed");
}

#[tokio::test]
async fn sessions_begin_with_a_login_and_end_with_a_logout() {
    let (_server, tenant) = start().await;
    let wrong = log_in(&tenant, &tenant.email, "wrong password").await.expect_problem(401, "bad_credentials");
    let mut unknown = log_in(&tenant, "nobody@example.com", PASSWORD).await.expect_problem(401, "bad_credentials");
    unknown["request_id"] = wrong["request_id"].clone();
    assert_eq!(unknown, wrong, "whether an address has an account is not told");
    let second = log_in(&tenant, &tenant.email.to_uppercase(), PASSWORD).await.expect(StatusCode::OK);
    assert_eq!(second["tenants"][0]["id"], tenant.tenant);
    let second = second["session"].as_str().expect("a session");
    let list = tenant.control(Method::GET, "/v1/me/sessions", Value::Null).await.expect(StatusCode::OK);
    let current: Vec<_> =
        list["items"].as_array().expect("items").iter().map(|session| session["current"].clone()).collect();
    assert_eq!(current, [false, true], "newest first");
    let out = Answer::of(tenant.request(Method::POST, "/v1/logout").bearer_auth(second)).await;
    let (name, value, attributes) = cookie(&out.headers);
    assert_eq!((name.as_str(), value.as_str(), out.status), ("session", "", 204));
    assert!(attributes.contains(&"max-age=0".to_owned()), "{attributes:?}");
    me(&tenant, second).await.expect_problem(401, "session_expired");
    me(&tenant, &tenant.session).await.expect(StatusCode::OK);
    // One's own sessions can be ended by id, the one in use too.
    let list = tenant.control(Method::GET, "/v1/me/sessions", Value::Null).await.expect(StatusCode::OK);
    let path = format!("/v1/me/sessions/{}", list["items"][0]["id"].as_str().expect("an id"));
    tenant.control(Method::DELETE, "/v1/me/sessions/ssn_unknown", Value::Null).await.expect_problem(404, "not_found");
    tenant.control(Method::DELETE, &path, Value::Null).await.expect(StatusCode::NO_CONTENT);
    me(&tenant, &tenant.session).await.expect_problem(401, "session_expired");
}

#[tokio::test]
async fn a_new_password_ends_every_other_session() {
    let (_server, tenant) = start().await;
    let other = log_in(&tenant, &tenant.email, PASSWORD).await.expect(StatusCode::OK);
    let other = other["session"].as_str().expect("a session");
    let change = |current: &str, new: &str| {
        let body = json!({"current_password": current, "new_password": new});
        let tenant = tenant.clone();
        async move { tenant.control(Method::POST, "/v1/me/password", body).await }
    };
    change("wrong password", "a better password").await.expect_problem(401, "bad_credentials");
    change(PASSWORD, "short").await.expect_problem(422, "invalid_body");
    me(&tenant, other).await.expect(StatusCode::OK);
    change(PASSWORD, "a better password").await.expect(StatusCode::NO_CONTENT);
    me(&tenant, other).await.expect_problem(401, "session_expired");
    me(&tenant, &tenant.session).await.expect(StatusCode::OK);
    log_in(&tenant, &tenant.email, PASSWORD).await.expect_problem(401, "bad_credentials");
    log_in(&tenant, &tenant.email, "a better password").await.expect(StatusCode::OK);
}

#[tokio::test]
async fn a_cookie_changes_things_only_as_json_and_from_our_own_pages() {
    const JSON: Option<&str> = Some("application/json");
    let (server, tenant) = start().await;
    let own = server.url();
    let other_port = "http://127.0.0.1:1";
    let path = format!("/v1/apps/{}/rules/chat", tenant.app);
    let cases = [
        (JSON, Some(own), None, 200),
        (JSON, None, Some("same-origin"), 200),
        (JSON, Some(own), Some("same-origin"), 200),
        (Some("application/json; charset=utf-8"), Some(own), None, 200),
        (JSON, None, None, 403),
        (JSON, Some("http://evil.example"), None, 403),
        (JSON, Some(other_port), None, 403),
        (JSON, Some("null"), None, 403),
        (JSON, Some("http://evil.example"), Some("same-origin"), 403),
        (JSON, Some(own), Some("cross-site"), 403),
        (JSON, None, Some("same-site"), 403),
        (JSON, None, Some("cross-site"), 403),
        (JSON, None, Some("none"), 403),
        (None, Some(own), None, 415),
        (Some("text/plain"), Some(own), Some("same-origin"), 415),
        (Some("application/x-www-form-urlencoded"), Some(own), None, 415),
        (Some("multipart/form-data"), Some(own), None, 415),
    ];
    for (kind, origin, site, status) in cases {
        let mut request =
            tenant.request(Method::PUT, &path).header("cookie", format!("session={}", tenant.session)).body("{}");
        for (name, value) in [("content-type", kind), ("origin", origin), ("sec-fetch-site", site)] {
            request = value.into_iter().fold(request, |request, value| request.header(name, value));
        }
        let answer = Answer::of(request).await;
        assert_eq!(answer.status, status, "{kind:?} {origin:?} {site:?}: {}", answer.text);
        match status {
            200 => continue,
            403 => answer.expect_problem(403, "foreign_origin"),
            _ => answer.expect_problem(415, "unsupported_media_type"),
        };
    }
    let by_cookie = |method: Method, path: &str| {
        tenant.request(method, path).header("cookie", format!("session={}", tenant.session))
    };
    // Looking needs no origin; a change without a body needs one all the same.
    Answer::of(by_cookie(Method::GET, "/v1/me")).await.expect(StatusCode::OK);
    Answer::of(by_cookie(Method::GET, "/v1/me").header("sec-fetch-site", "cross-site")).await.expect(StatusCode::OK);
    Answer::of(by_cookie(Method::DELETE, &path)).await.expect_problem(403, "foreign_origin");
    Answer::of(by_cookie(Method::DELETE, &path).header("origin", own)).await.expect(StatusCode::NO_CONTENT);
    Answer::of(by_cookie(Method::POST, "/v1/logout")).await.expect_problem(403, "foreign_origin");
    // A bearer is no cookie: nobody sends it unasked.
    let by_bearer =
        tenant.request(Method::PUT, &path).bearer_auth(&tenant.session).header("origin", "http://evil.example");
    Answer::of(by_bearer.json(&json!({}))).await.expect(StatusCode::OK);
    let without = tenant.request(Method::PUT, &path).bearer_auth(&tenant.session).body("{}");
    Answer::of(without).await.expect_problem(415, "unsupported_media_type");
}

#[tokio::test]
async fn away_from_this_machine_a_session_lives_in_a_secure_host_cookie_only() {
    let server = Server::start(Options::default().env("FANFARE_TRUSTED_PROXIES", "127.0.0.1")).await;
    let tenant = Tenant::sign_up(&server).await;
    let body = json!({"email": tenant.email, "password": PASSWORD});
    let request = tenant
        .request(Method::POST, "/v1/login")
        .header("host", "fanfare.example")
        .header("x-forwarded-proto", "https");
    let answer = Answer::of(request.json(&body)).await;
    let (name, value, attributes) = cookie(&answer.headers);
    assert_eq!(name, "__Host-session");
    assert_eq!(attributes, ["httponly", "max-age=2592000", "path=/", "samesite=lax", "secure"]);
    let path = format!("/v1/apps/{}/rules/chat", tenant.app);
    let put = |name: &str, proto: &str, origin: &str| {
        let request =
            tenant.request(Method::PUT, &path).header("host", "fanfare.example").header("x-forwarded-proto", proto);
        Answer::of(request.header("cookie", format!("{name}={value}")).header("origin", origin).json(&json!({})))
    };
    put("__Host-session", "https", "https://fanfare.example").await.expect(StatusCode::OK);
    put("__Host-session", "https", "http://fanfare.example").await.expect_problem(403, "foreign_origin");
    put("session", "https", "https://fanfare.example").await.expect_problem(401, "unauthorized");
    put("__Host-session", "http", "http://fanfare.example").await.expect_problem(403, "tls_required");
}
