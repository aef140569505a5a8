//! The plain listener that redirects, and what a process with TLS keeps plain.

use super::with_certificate;
use crate::harness::{authority::Authority, ports::free_port, raw::Raw, server::Server, tenants::Answer};

#[actix_web::test]
async fn the_plain_listener_only_redirects_and_operations_stay_plain() {
    let authority = Authority::new();
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    authority.write(dir.path());
    let plain = format!("127.0.0.1:{}", free_port());
    let options = with_certificate(dir.path()).env("FANFARE_REDIRECT_LISTEN", &plain).env("FANFARE_HSTS", "off");
    let mut server = Server::start_in(dir, options).await;
    let client = authority.client(&["h2", "http/1.1"]);
    for path in ["/", "/v1/channels/a/messages?limit=1"] {
        let answer = Answer::of(client.post(format!("http://{plain}{path}")).body("{}")).await;
        let location = answer.headers["location"].to_str().expect("text").to_owned();
        assert_eq!((answer.status, location), (308, format!("{}{path}", server.url())));
        assert!(!answer.headers.contains_key("strict-transport-security"), "that is for TLS alone");
    }
    let (head, _) = Raw::request(&plain, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n").await;
    assert_eq!(head.status, 400);
    let answer = Answer::of(client.get(server.url())).await;
    assert!(answer.status == 200 && !answer.headers.contains_key("strict-transport-security"), "it is switched off");
    assert!(server.ops_url().starts_with("http://"), "{}", server.ops_url());
    assert_eq!(Answer::of(client.get(format!("{}/readyz", server.ops_url()))).await.status, 200);
    assert!(server.terminate().await.success(), "{}", server.stderr());
}
