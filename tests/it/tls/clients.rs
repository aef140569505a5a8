//! Clients over TLS: https with HTTP/2 and HTTP/1.1, wss, and the commands.

use reqwest::Version;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{start, with_certificate};
use crate::harness::{
    authority::{Authority, connect, trusting_with},
    nodes::Production,
    raw::{Next, Raw},
    server::{Server, fanfare},
    sockets::Socket,
    streams::{EventStream, polls_are_in, serials},
    tenants::{Answer, PASSWORD, Tenant},
    waiting::until,
};

/// The protocols that a client offers, and the one that is spoken then.
const VERSIONS: [(&[&str], Version); 2] = [(&["h2", "http/1.1"], Version::HTTP_2), (&["http/1.1"], Version::HTTP_11)];

/// A stream and polls over TLS: each event and each answer comes before there is another one.
async fn streams_and_polls_are_served(server: &Server, tenant: &Tenant, authority: &Authority, channel: &str) {
    let token = tenant.full_token("ann").await;
    // Polls before these, and messages.
    let (mut polls, mut serial) = (0, 0);
    for (alpn, version) in VERSIONS {
        let client = authority.client(alpn);
        let ask = |path: String| client.get(format!("{}{path}", server.url())).bearer_auth(&token).send();
        let response = ask(format!("/v1/sse?channel={channel}")).await.expect("the server answers");
        assert_eq!((response.version(), response.status().as_u16()), (version, 200));
        let mut stream = EventStream::new(response);
        stream.next_of("open").await;
        for _ in 0..3 {
            serial += 1;
            assert_eq!(tenant.publish(channel, json!("over TLS")).await, serial);
            stream.serials(serial..=serial).await;
        }
        drop(stream);

        let first = ask(format!("/v1/poll?channel={channel}")).await.expect("the server answers");
        assert_eq!((first.version(), first.status().as_u16()), (version, 200));
        let page: serde_json::Value = first.json().await.expect("JSON");
        assert_eq!(page["messages"], json!([]));
        let waiting = ask(format!("/v1/poll?channel={channel}&cursor={}", page["cursor"].as_str().expect("a cursor")));
        polls += 2;
        let publishing = async {
            polls_are_in(server, polls).await;
            tenant.publish(channel, json!("over TLS")).await
        };
        let (answered, published) = tokio::join!(waiting, publishing);
        serial = published;
        let answered = answered.expect("the server answers");
        assert_eq!(answered.version(), version);
        let page: serde_json::Value = answered.json().await.expect("JSON");
        assert_eq!(serials(page["messages"].as_array().expect("messages")), [serial]);
    }
}

#[actix_web::test]
async fn streams_and_polls_are_spoken_over_both_versions_of_http_and_nothing_is_held_back() {
    let authority = Authority::new();
    let (server, _) = start(&authority).await;
    let tenant = Tenant::sign_up_with(&server, authority.client(&["h2"])).await;
    streams_and_polls_are_served(&server, &tenant, &authority, "chat:1").await;
}

#[actix_web::test]
async fn an_api_and_a_gateway_of_their_own_show_the_certificate_and_serve_every_transport() {
    let authority = Authority::new();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let certificate = authority.write(folder.path());
    let production = Production::start(4).await;
    let node = |role| production.node_with(with_certificate(folder.path()).in_role(role));
    let (api, gateway, _worker) = tokio::join!(node("api"), node("gateway"), production.node("worker"));
    for node in [&api, &gateway] {
        assert!(node.url().starts_with("https://"), "{}", node.url());
        let connected = authority.connect(node.url(), &["h2"]).await.expect("the handshake succeeds");
        assert_eq!(crate::harness::authority::shown(&connected), certificate);
        assert_eq!(connected.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let answer = authority.client(&["h2"]).get(format!("{}/nowhere", node.url())).send().await;
        let answer = answer.expect("the server answers");
        assert_eq!((answer.version(), answer.status().as_u16()), (Version::HTTP_2, 404));
        assert_eq!(answer.headers()["strict-transport-security"], "max-age=31536000");
    }
    let tenant = Tenant::sign_up_with(&api, authority.client(&["h2", "http/1.1"])).await;
    let token = tenant.full_token("bob").await;
    let mut socket = Socket::connect_tls(&authority, gateway.url(), &token).await;
    socket.subscribe("room").await;
    streams_and_polls_are_served(&gateway, &tenant, &authority, "chat:1").await;
    tenant.publish("room", json!("to a socket")).await;
    assert_eq!(socket.event_of("message").await["data"], "to a socket");
}

#[actix_web::test]
async fn http2_and_http1_are_spoken_on_one_port_and_every_answer_asks_for_tls_from_then_on() {
    let authority = Authority::new();
    let (server, _) = start(&authority).await;
    for (alpn, version) in
        [(&["h2", "http/1.1"][..], Version::HTTP_2), (&["http/1.1"], Version::HTTP_11), (&[], Version::HTTP_11)]
    {
        let client = authority.client(alpn);
        for path in ["/", "/nowhere", "/v1/me"] {
            let answer = client.get(format!("{}{path}", server.url())).send().await.expect("the server answers");
            assert_eq!(answer.version(), version, "{alpn:?}");
            assert_eq!(answer.headers()["strict-transport-security"], "max-age=31536000", "{path}");
        }
    }
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = trusting_with(&authority.pem(), &[], &[version]);
        connect(config, server.url()).await.unwrap_or_else(|error| panic!("{version:?}: {error}"));
    }
}

#[actix_web::test]
async fn a_client_signs_in_publishes_and_follows_over_tls() {
    let authority = Authority::new();
    let (server, _) = start(&authority).await;
    let tenant = Tenant::sign_up_with(&server, authority.client(&["h2", "http/1.1"])).await;
    let body = json!({"email": tenant.email, "password": PASSWORD});
    let answer = Answer::of(tenant.request(reqwest::Method::POST, "/v1/login").json(&body)).await;
    let cookie = answer.headers["set-cookie"].to_str().expect("text");
    assert!(cookie.starts_with("__Host-session=") && cookie.contains("Secure"), "{cookie}");

    let token = tenant.full_token("ann").await;
    let mut socket = Socket::connect_tls(&authority, server.url(), &token).await;
    socket.subscribe("chat:1").await;
    let serial = tenant.publish("chat:1", json!("over TLS")).await;
    let message = socket.event_of("message").await;
    assert_eq!((&message["data"], &message["serial"]), (&json!("over TLS"), &json!(serial)));
    assert_eq!(tenant.history("chat:1").await.len(), 1);
    socket.close().await;
}

#[actix_web::test]
async fn the_commands_trust_the_authority_that_they_are_given_and_no_other() {
    let authority = Authority::new();
    let (server, _) = start(&authority).await;
    let tenant = Tenant::sign_up_with(&server, authority.client(&["h2"])).await;
    let ca = server.dir().join("ca.pem");
    std::fs::write(&ca, authority.pem()).expect("files can be made in a temporary folder");
    let publish = |ca: &str| {
        let mut command = fanfare();
        command.args(["publish", "chat:1", "1", "--persisted", "--ca", ca, "--url", server.url()]);
        command.env("FANFARE_KEY", tenant.credential()).output().expect("the binary can be started")
    };
    let taken = publish(&ca.display().to_string());
    assert!(taken.status.success(), "{}", String::from_utf8_lossy(&taken.stderr));
    let other = server.dir().join("other.pem");
    std::fs::write(&other, Authority::new().pem()).expect("files can be made in a temporary folder");
    let refused = publish(&other.display().to_string());
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && said.contains("not trusted") && said.contains("--ca"), "{said}");

    let mut tail = fanfare();
    tail.args(["tail", "chat:1", "--url", server.url(), "--ca"]).arg(&other).env("FANFARE_KEY", tenant.credential());
    let refused = tail.output().expect("the binary can be started");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && said.contains("not trusted"), "{said}");
    assert_eq!(tenant.history("chat:1").await.len(), 1);
}

#[actix_web::test]
async fn plain_http_at_the_tls_port_is_told_so_and_nonsense_ends_without_harm() {
    let authority = Authority::new();
    let (server, _) = start(&authority).await;
    let address = server.url().trim_start_matches("https://").to_owned();
    let (head, mut rest) = Raw::request(&address, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!((head.status, head.header("content-type")), (403, Some("application/problem+json")));
    assert!(head.body.contains("tls_required") && head.body.contains("https://"), "{}", head.body);
    assert_eq!(rest.next().await, Next::End, "the connection ends in good order");
    for nonsense in [&b"\x16\x03\x01\x00\x05hello"[..], b"\x00\x00\x00\x00", b"\x16"] {
        let mut stream = tokio::net::TcpStream::connect(&address).await.expect("the server listens");
        stream.write_all(nonsense).await.expect("the server takes octets");
        stream.shutdown().await.expect("our side can be ended");
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.expect("the connection ends in good order");
    }
    let client = reqwest::Client::builder().no_proxy().build().expect("a client can be built");
    let wanted = [
        "fanfare_tls_handshake_failures_total{reason=\"plain_http\"} 1",
        "fanfare_tls_handshake_failures_total{reason=\"failed\"} 3",
        "fanfare_tls_certificate_expiry_seconds 4102444800",
    ];
    until("the failures are counted", async || {
        let metrics = Answer::of(client.get(format!("{}/metrics", server.ops_url()))).await.text;
        wanted.iter().all(|line| metrics.contains(line)).then_some(())
    })
    .await;
    assert!(authority.connect(server.url(), &[]).await.is_ok(), "others are served");
}
