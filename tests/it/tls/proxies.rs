//! Behind a proxy: whose word is taken, and what is refused in the clear.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::harness::{
    authority::Authority,
    haproxy::HaProxy,
    nginx::Nginx,
    raw::{Raw, handshake},
    server::{Options, Server},
    sockets::Socket,
    streams::{polls_are_in, serials},
    tenants::{Answer, PASSWORD, Tenant},
};

/// Somebody on the internet, as a proxy tells of them.
const STRANGER: (&str, &str) = ("x-forwarded-for", "203.0.113.9");

fn from_stranger(request: RequestBuilder) -> RequestBuilder {
    request.header(STRANGER.0, STRANGER.1)
}

#[actix_web::test]
async fn credentials_in_the_clear_from_elsewhere_are_refused_and_over_tls_are_taken() {
    let server = Server::start(Options::default().env("FANFARE_TRUSTED_PROXIES", "127.0.0.1")).await;
    let tenant = Tenant::sign_up(&server).await;
    let login = json!({"email": tenant.email, "password": PASSWORD});
    let channel = "/v1/channels/a/messages";
    let requests = || {
        [
            tenant.request(Method::POST, "/v1/login").json(&login),
            tenant.request(Method::GET, "/v1/me").bearer_auth(&tenant.session),
            tenant.request(Method::POST, channel).bearer_auth(tenant.credential()).json(&json!({"data": 1})),
            tenant.request(Method::GET, channel).basic_auth(&tenant.key, Some(&tenant.secret)),
        ]
    };
    for (at, request) in requests().into_iter().enumerate() {
        let problem = Answer::of(from_stranger(request)).await.expect_problem(403, "tls_required");
        let remedy = problem["remedy"].as_str().expect("a text");
        assert!(remedy.contains("https://") && remedy.contains("FANFARE_TRUSTED_PROXIES"), "{at}: {remedy}");
    }
    for request in requests() {
        let over_tls = from_stranger(request).header("x-forwarded-proto", "https");
        assert!(Answer::of(over_tls).await.status < 300);
    }
    for request in requests() {
        assert!(Answer::of(request).await.status < 300, "this machine may");
    }
    assert_eq!(Answer::of(from_stranger(tenant.request(Method::GET, "/"))).await.status, 200, "pages carry no secret");

    let (head, _) = Raw::request(server.url(), handshake("/v1/connect", "X-Forwarded-For: 203.0.113.9\r\n")).await;
    assert_eq!(head.status, 403);
    assert!(head.body.contains("tls_required"), "{}", head.body);
    let secure = "X-Forwarded-For: 203.0.113.9\r\nX-Forwarded-Proto: https\r\n";
    let (head, _) = Raw::request(server.url(), handshake("/v1/connect", secure)).await;
    assert_eq!(head.status, 101);
}

#[actix_web::test]
async fn an_operator_may_vouch_for_plain_http() {
    let options = Options::default().env("FANFARE_TRUSTED_PROXIES", "127.0.0.1").env("FANFARE_PLAIN_HTTP", "allow");
    let server = Server::start(options).await;
    let tenant = Tenant::sign_up(&server).await;
    let me = tenant.request(Method::GET, "/v1/me").bearer_auth(&tenant.session);
    assert_eq!(Answer::of(from_stranger(me)).await.status, 200);
    let (head, _) = Raw::request(server.url(), handshake("/v1/connect", "X-Forwarded-For: 203.0.113.9\r\n")).await;
    assert_eq!(head.status, 101);
}

#[actix_web::test]
async fn what_a_stranger_forwards_changes_nothing_and_is_told_once() {
    let config = "trusted_proxies = \"192.0.2.0/24\"\n[api]\ncontrol_requests_per_minute = 10\n";
    let server = Server::start(Options::default().config(config)).await;
    let tenant = Tenant::sign_up(&server).await;
    let me = async |address: &str| {
        let request = tenant.request(Method::GET, "/v1/me").bearer_auth(&tenant.session);
        Answer::of(request.header("x-forwarded-for", address).header("x-forwarded-proto", "https")).await.status
    };
    let mut statuses = Vec::new();
    for at in 0..12 {
        statuses.push(me(&format!("203.0.113.{at}")).await);
    }
    assert!(statuses.contains(&200) && statuses.ends_with(&[429]), "one address, however it is dressed: {statuses:?}");
    assert_eq!(server.stderr().matches("is not believed").count(), 1, "{}", server.stderr());
}

#[actix_web::test]
async fn nginx_as_in_the_example_carries_sockets_streams_polls_and_who_called() {
    let server = Server::start(Options::default().env("FANFARE_TRUSTED_PROXIES", "127.0.0.1")).await;
    let authority = Authority::new();
    let nginx = Nginx::start(&authority, server.url()).await;
    is_carried(&server, &authority, &nginx.url()).await;
}

#[actix_web::test]
async fn haproxy_as_in_the_example_carries_sockets_streams_polls_and_who_called() {
    let server = Server::start(Options::default().env("FANFARE_TRUSTED_PROXIES", "127.0.0.1")).await;
    let authority = Authority::new();
    let haproxy = HaProxy::start(&authority, &server).await;
    is_carried(&server, &authority, &haproxy.url()).await;
}

/// Everything that clients do, through a proxy at that URL.
async fn is_carried(server: &Server, authority: &Authority, url: &str) {
    let straight = Tenant::sign_up(server).await;
    let signed = Tenant::sign_up_at(url, authority.client(&["h2", "http/1.1"])).await;
    let login = json!({"email": signed.email, "password": PASSWORD});
    let answer = Answer::of(signed.request(Method::POST, "/v1/login").json(&login)).await;
    let cookie = answer.headers["set-cookie"].to_str().expect("text");
    assert!(cookie.starts_with("__Host-session="), "the proxy says that TLS was spoken: {cookie}");
    assert_eq!(answer.headers["strict-transport-security"], "max-age=31536000");

    let token = signed.full_token("ann").await;
    let mut socket = Socket::connect_tls(authority, url, &token).await;
    socket.subscribe("chat:1").await;
    for n in 0..20 {
        signed.publish("chat:1", json!(n)).await;
    }
    let seen: Vec<Value> = socket.messages(20).await.iter().map(|message| message["data"].clone()).collect();
    assert_eq!(seen, (0..20).map(Value::from).collect::<Vec<_>>());
    assert_eq!(signed.history("chat:1").await.len(), 20);
    socket.close().await;
    nothing_is_held_back(server, &signed, &token).await;

    // A caller of the proxy may say what it likes: the proxy writes its address to the right of that.
    let spoofed = signed.request(Method::GET, "/v1/me").bearer_auth(&signed.session);
    let spoofed = spoofed.header("x-forwarded-for", "203.0.113.9").header("x-forwarded-proto", "http");
    assert_eq!(Answer::of(spoofed).await.status, 200);
    straight.is_served().await;
    assert!(!server.stderr().contains("is not believed"), "{}", server.stderr());
}

/// Each event and each answer to a poll arrives before there is another one: whoever gathered them would wait for ever.
async fn nothing_is_held_back(server: &Server, tenant: &Tenant, token: &str) {
    let mut stream = tenant.stream(token, "channel=news", None).await;
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    stream.next_of("open").await;
    for serial in 1..=3 {
        tenant.publish("news", json!(serial)).await;
        stream.serials(serial..=serial).await;
    }
    drop(stream);

    let (_, mut cursor) = tenant.polled(token, "channel=news").await;
    for serial in 4..=5 {
        let query = format!("channel=news&cursor={cursor}");
        let publishing = async {
            polls_are_in(server, serial - 2).await;
            tenant.publish("news", json!(serial)).await
        };
        let ((messages, next), _) = tokio::join!(tenant.polled(token, &query), publishing);
        assert_eq!(serials(&messages), [serial]);
        cursor = next;
    }
}
