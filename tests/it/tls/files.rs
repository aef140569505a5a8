//! Certificate files: what is refused at the start, and what changes under open connections.

use std::fs;

use reqwest::Method;
use serde_json::json;

use super::{start, with_certificate};
use crate::harness::{
    authority::{Authority, shown},
    ports::free_port,
    server::{Server, fanfare, signal},
    sockets::Socket,
    tenants::{Answer, Tenant},
    waiting::until,
};

#[actix_web::test]
async fn a_new_certificate_is_shown_to_new_connections_and_open_sockets_go_on() {
    let authority = Authority::new();
    let (server, first) = start(&authority).await;
    let tenant = Tenant::sign_up_with(&server, authority.client(&["h2"])).await;
    let token = tenant.full_token("ann").await;
    let mut socket = Socket::connect_tls(&authority, server.url(), &token).await;
    socket.subscribe("chat:1").await;
    let shown_now = async || shown(&authority.connect(server.url(), &[]).await.expect("the handshake succeeds"));
    assert_eq!(shown_now().await, first);

    let second = authority.write(server.dir());
    until("the new certificate is shown", async || (shown_now().await == second).then_some(())).await;
    tenant.publish("chat:1", json!("after the change")).await;
    assert_eq!(socket.event_of("message").await["data"], "after the change");

    // The key of another certificate: refused, and the one before goes on.
    let (stranger, _) = authority.sign();
    fs::write(server.dir().join("cert.pem"), stranger).expect("files can be made in a temporary folder");
    until("the bad pair is refused", async || server.stderr().contains("is not the key of").then_some(())).await;
    assert_eq!(shown_now().await, second);
    let (ended, key) = authority.sign_until(2020);
    fs::write(server.dir().join("cert.pem"), ended).expect("files can be made in a temporary folder");
    fs::write(server.dir().join("key.pem"), key).expect("files can be made in a temporary folder");
    until("the ended one is refused", async || server.stderr().contains("has ended already").then_some(())).await;
    assert_eq!(shown_now().await, second);

    let third = authority.write(server.dir());
    signal(server.pid(), "HUP");
    until("the good pair is shown", async || (shown_now().await == third).then_some(())).await;
    assert!(!server.stderr().contains("PRIVATE KEY"), "a key is in the log");
    tenant.publish("chat:1", json!("at the end")).await;
    assert_eq!(socket.event_of("message").await["data"], "at the end");
}

#[actix_web::test]
async fn half_a_configuration_and_bad_files_stop_the_start_with_what_is_wrong() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    authority.write(dir.path());
    let at = |name: &str| dir.path().join(name).display().to_string();
    fs::write(dir.path().join("empty.pem"), "").expect("files can be made in a temporary folder");
    let (cert, key, empty, missing) = (at("cert.pem"), at("key.pem"), at("empty.pem"), at("missing.pem"));
    let (tls_cert, tls_key) = ("FANFARE_TLS_CERT", "FANFARE_TLS_KEY");
    for (settings, args, told) in [
        (&[(tls_cert, cert.as_str())][..], &["serve"][..], "FANFARE_TLS_KEY"),
        (&[(tls_key, &key)], &["serve"], "FANFARE_TLS_CERT"),
        (&[(tls_cert, &missing), (tls_key, &key)], &["serve"], "missing.pem cannot be read"),
        (&[(tls_cert, &empty), (tls_key, &key)], &["serve"], "holds no certificate"),
        (&[(tls_cert, &cert), (tls_key, &empty)], &["serve"], "holds no private key"),
        (&[(tls_cert, &cert), (tls_key, &key)], &["serve", "--dev-tls"], "--dev-tls"),
        (&[("FANFARE_REDIRECT_LISTEN", "127.0.0.1:0")], &["serve"], "FANFARE_REDIRECT_LISTEN"),
        (&[("FANFARE_TRUSTED_PROXIES", "proxy.internal")], &["serve"], "proxy.internal"),
        (&[("FANFARE_PLAIN_HTTP", "refuse")], &["serve"], "plain_http"),
        (&[("FANFARE_HSTS", "forever")], &["serve"], "max-age="),
    ] {
        let mut command = fanfare();
        command.args(args).envs(settings.iter().copied()).env("FANFARE_DATA_DIR", dir.path().join("data"));
        let listen = format!("127.0.0.1:{}", free_port());
        command.env("FANFARE_LISTEN", listen).env("FANFARE_OPS_LISTEN", "127.0.0.1:0");
        let output = command.output().expect("the binary can be started");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && said.contains(told), "{settings:?}: {said}");
    }
}

#[actix_web::test]
async fn a_certificate_that_ends_soon_is_warned_of_and_its_end_is_told() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let (cert, key) = authority.sign_until(2020);
    fs::write(dir.path().join("cert.pem"), cert).expect("files can be made in a temporary folder");
    fs::write(dir.path().join("key.pem"), key).expect("files can be made in a temporary folder");
    let options = with_certificate(dir.path());
    let server = Server::start_in(dir, options).await;
    assert!(server.stderr().contains("certificate has ended"), "{}", server.stderr());
    let client = reqwest::Client::builder().no_proxy().build().expect("a client can be built");
    let metrics = Answer::of(client.request(Method::GET, format!("{}/metrics", server.ops_url()))).await.text;
    assert!(metrics.contains("fanfare_tls_certificate_expiry_seconds 1577836800"), "{metrics}");
}
