//! Sets of keys behind a URL: fetched once for all, again for a new key, never in a flood, and kept while the URL is away.

use serde_json::json;

use super::{join, start_private};
use crate::harness::signers::{KeyServer, OwnKey};

#[tokio::test]
async fn keys_rotate_at_once_and_garbage_makes_one_fetch_a_minute() {
    let (_server, tenant) = start_private().await;
    let keys = KeyServer::start().await;
    keys.keys("/jwks", &[OwnKey::ED25519.jwk("first")]);
    tenant.signer_at(&keys.url("/jwks")).await;
    assert_eq!(keys.asked("/jwks"), 0, "it is fetched when it is needed");
    let first = OwnKey::ED25519.token(Some("first"), "ann");
    let many = futures::future::join_all((0..30).map(|_| join(&tenant, &first))).await;
    assert!(many.iter().all(Result::is_ok));
    assert_eq!(keys.asked("/jwks"), 1, "all who waited share one fetch");
    keys.keys("/jwks", &[OwnKey::P256.jwk("second"), json!({"kty": "oct", "k": "c2VjcmV0", "kid": "first"})]);
    let second = OwnKey::P256.token(Some("second"), "ann");
    let many = futures::future::join_all((0..30).map(|_| join(&tenant, &second))).await;
    assert!(many.iter().all(Result::is_ok));
    assert_eq!(keys.asked("/jwks"), 2, "a new key is fetched once for all");
    // From here on the minute counts: what the set lacks is refused without a fetch.
    assert_eq!(join(&tenant, &first).await.err().as_deref(), Some("bad_token"));
    let garbage = |at: usize| OwnKey::P256.token(Some(&format!("garbage{at}")), "ann");
    let tokens: Vec<_> = (0..50).map(garbage).collect();
    let refused = futures::future::join_all(tokens.iter().map(|token| join(&tenant, token))).await;
    assert!(refused.iter().all(|refused| matches!(refused, Err(code) if code == "bad_token")));
    assert_eq!(keys.asked("/jwks"), 2);
    // Sockets of the key that was taken out stay until their tokens end; a refresh with it fails.
    let mut socket = many.into_iter().next().expect("one").expect("it is open");
    assert_eq!(socket.refused(json!({"op": "token", "token": first})).await, "bad_token");
    socket.ask(json!({"op": "token", "token": second})).await;
    join(&tenant, &OwnKey::P256.token(None, "ann")).await.expect("the only key of its algorithm needs no id");
}

#[tokio::test]
async fn while_the_url_is_away_known_keys_go_on_and_others_are_unavailable() {
    let (_server, tenant) = start_private().await;
    let keys = KeyServer::start().await;
    keys.keys("/jwks", &[OwnKey::ED25519.jwk("known")]);
    tenant.signer_at(&keys.url("/jwks")).await;
    let known = OwnKey::ED25519.token(Some("known"), "ann");
    let mut socket = join(&tenant, &known).await.expect("a good token");
    keys.end().await;
    assert_eq!(join(&tenant, &OwnKey::P256.token(Some("new"), "ann")).await.err().as_deref(), Some("unavailable"));
    join(&tenant, &known).await.expect("its key is kept");
    socket.ask(json!({"op": "token", "token": known})).await;
    // Not even then is what cannot be a token of that set anything but bad.
    let foreign = OwnKey::P256.sign(Some("new"), json!({"aud": "other"}));
    assert_eq!(join(&tenant, &foreign).await.err().as_deref(), Some("bad_token"));
}

#[tokio::test]
async fn a_set_holds_keys_of_every_algorithm_and_each_token_is_read_by_its_own() {
    let (_server, tenant) = start_private().await;
    let keys = KeyServer::start().await;
    let all = [OwnKey::RSA, OwnKey::P256, OwnKey::ED25519];
    let set: Vec<_> = all.iter().map(|key| key.jwk(&format!("{:?}", key.algorithm))).collect();
    keys.keys("/jwks", &set);
    tenant.signer_at(&keys.url("/jwks")).await;
    for key in all {
        let kid = format!("{:?}", key.algorithm);
        let mut socket =
            join(&tenant, &key.token(Some(&kid), "ann")).await.unwrap_or_else(|code| panic!("{kid}: {code}"));
        socket.subscribe("room").await;
        join(&tenant, &key.token(None, "ann")).await.unwrap_or_else(|code| panic!("{kid}, unnamed: {code}"));
    }
    assert_eq!(keys.asked("/jwks"), 1);
    let forged = OwnKey::P256.token(Some("RS256"), "ann");
    assert_eq!(join(&tenant, &forged).await.err().as_deref(), Some("bad_token"));
}
