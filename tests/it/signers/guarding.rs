//! What is not called, not followed, not read to its end, and not waited for.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{join, start_private};
use crate::harness::{
    signers::{KeyServer, OwnKey},
    stalls::Stalls,
    tenants::Answer,
};

#[tokio::test]
async fn answers_that_are_no_set_of_keys_are_refused_and_redirects_are_not_followed() {
    let (_server, tenant) = start_private().await;
    let keys = KeyServer::start().await;
    let key = OwnKey::ED25519.jwk("k");
    let good = json!({"keys": [key]}).to_string();
    keys.answer("/followed", "200 OK", "", &good);
    let location = format!("Location: {}\r\n", keys.url("/followed"));
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        keys.answer(&format!("/{}", &status[..3]), status, &location, &good);
    }
    keys.answer("/huge", "200 OK", "", &format!("{good}{}", " ".repeat(256 * 1024)));
    keys.answer("/many", "200 OK", "", &json!({"keys": vec![&key; 101]}).to_string());
    keys.answer("/html", "200 OK", "", "<html></html>");
    keys.answer("/error", "500 Internal Server Error", "", &good);
    keys.answer("/missing", "404 Not Found", "", &good);
    let token = OwnKey::ED25519.token(Some("k"), "ann");
    for path in ["/301", "/302", "/307", "/308", "/huge", "/many", "/html", "/error", "/missing"] {
        let signer = tenant.signer_at(&keys.url(path)).await;
        for _ in 0..3 {
            assert_eq!(join(&tenant, &token).await.err().as_deref(), Some("unavailable"), "{path}");
        }
        let over_http = tenant.request(reqwest::Method::GET, "/v1/channels/room/messages").bearer_auth(&token);
        let answer = Answer::of(over_http.header("Fanfare-App", &tenant.app)).await;
        let wait: u64 = answer.headers["retry-after"].to_str().expect("text").parse().expect("seconds");
        assert!((1..=60).contains(&wait), "{path}: {wait}");
        answer.expect_problem(503, "unavailable");
        assert_eq!(keys.asked(path), 1, "{path}: failures count against the minute");
        super::remove(&tenant, &signer).await;
    }
    assert_eq!(keys.asked("/followed"), 0);
    tenant.signer_at(&keys.url("/followed")).await;
    join(&tenant, &token).await.expect("the set itself is good");
}

#[tokio::test]
async fn a_url_that_never_answers_is_given_up_after_five_seconds_and_holds_up_nobody_else() {
    let (_server, tenant) = start_private().await;
    let keys = KeyServer::start().await;
    tenant.signer_at(&keys.url("/silent")).await;
    let (begun, stalls) = (Instant::now(), Stalls::begin());
    let slow = OwnKey::ED25519.token(Some("k"), "ann");
    let (refused, ()) = tokio::join!(join(&tenant, &slow), async {
        tenant.is_served().await;
        stalls.hold("serving somebody else", begun.elapsed(), Duration::from_secs(5));
    });
    assert_eq!(refused.err().as_deref(), Some("unavailable"));
    assert!(begun.elapsed() > Duration::from_secs(4), "{:?}", begun.elapsed());
    stalls.hold("giving up", begun.elapsed(), Duration::from_secs(10));
    assert_eq!(keys.asked("/silent"), 1);
}

#[tokio::test]
async fn without_the_switch_nothing_on_this_machine_is_called_whatever_is_stored() {
    let (mut server, tenant) = start_private().await;
    let keys = KeyServer::start().await;
    keys.keys("/jwks", &[OwnKey::ED25519.jwk("k")]);
    tenant.signer_at(&keys.url("/jwks")).await;
    let token = OwnKey::ED25519.token(Some("k"), "ann");
    join(&tenant, &token).await.expect("the switch is on");
    let before = keys.connections();
    server.terminate().await;
    server.set_env("FANFARE_WEBHOOK_ALLOW_PRIVATE", "false");
    // Nor does a proxy of the environment lead there.
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        server.set_env(name, &keys.url(""));
    }
    server.restart().await;
    assert_eq!(join(&tenant, &token).await.err().as_deref(), Some("unavailable"));
    let refused = tenant.add_signer(json!({"jwks_url": keys.url("/jwks")})).await.expect_problem(422, "invalid_body");
    assert_eq!(refused["errors"][0]["pointer"], "/jwks_url");
    assert_eq!(keys.connections(), before);
}
