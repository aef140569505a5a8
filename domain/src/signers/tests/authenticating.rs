use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use fanfare_protocol::{ChannelName, ErrorCode};
use tokio::sync::watch;

use super::*;
use crate::{
    Clock, StoreError, Timestamp,
    apps::App,
    capabilities::{Capability, Right},
    directory::{AppProfile, Directory},
    grants::{Authenticator, DecidedBy, Grant, Voucher},
    ids::{AppId, KeyId, SignerId, TenantId},
    keys::Key,
    plans::Limits,
    revocations::{Enforcement, Latest, Revision, Revocations, Rows, Subject},
    rules::Rule,
    signers::{KeySet, KeySets, KeysAway, Signer, SignerKeys, VerifyingKey, Wanted, usual_capability},
};

const NOW_S: u64 = 1_700_000_000;

/// Everything there is: two apps of two tenants, no API key, and a set that can be away.
#[derive(Clone)]
struct World {
    apps: Arc<HashMap<AppId, Arc<AppProfile>>>,
    set: Result<KeySet, KeysAway>,
}

#[async_trait]
impl Directory for World {
    async fn key(&self, _key: &KeyId) -> Result<Option<Arc<Key>>, StoreError> {
        Ok(None)
    }
    async fn app(&self, app: &AppId) -> Result<Option<Arc<AppProfile>>, StoreError> {
        Ok(self.apps.get(app).cloned())
    }
    async fn forget_key(&self, _key: &KeyId) {}
    async fn forget_app(&self, _app: &AppId) {}
    async fn forget_all(&self) {}
    async fn doubt_all(&self) {}
}

#[async_trait]
impl KeySets for World {
    async fn key(&self, _: &SignerId, _: &str, wanted: &Wanted) -> Result<Option<Arc<VerifyingKey>>, KeysAway> {
        self.set.clone().map(|set| set.pick(wanted))
    }
}

/// Nothing is revoked.
struct Nothing;

#[async_trait]
impl Revocations for Nothing {
    async fn revoke(&self, _: &Subject, _: Timestamp) -> Result<Option<Revision>, StoreError> {
        Ok(None)
    }
    async fn latest(&self) -> Result<Latest, StoreError> {
        Ok(Latest { revision: Revision(0), now: Timestamp(NOW_S * 1_000) })
    }
    async fn after(&self, _: Revision) -> Result<Rows, StoreError> {
        Ok(Rows { latest: self.latest().await?, upto: Revision(0), revocations: Vec::new() })
    }
    fn made_here(&self) -> Option<Revision> {
        Some(Revision(0))
    }
    async fn suspend(&self, _: &TenantId, _: bool, _: Timestamp) -> Result<bool, StoreError> {
        Ok(false)
    }
}

struct At(Timestamp);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }
}

fn signer(app: &AppId, pem: &str, kid: Option<&str>) -> Signer {
    let key = VerifyingKey::from_pem(pem, kid.map(str::to_owned)).unwrap();
    Signer {
        id: SignerId::generate(),
        app: app.clone(),
        name: "own".into(),
        issuer: "https://id.example.com/".into(),
        audience: "chat".into(),
        keys: SignerKeys::Pem { pem: pem.to_owned(), key },
        capability: usual_capability(),
        created_at: Timestamp(0),
    }
}

fn id(name: &str) -> AppId {
    AppId::parse(&format!("app_{name}")).unwrap()
}

/// An app with these signers.
fn with(signers: Vec<Signer>) -> World {
    let profile = |name: &str, signers: Vec<Signer>| {
        let app = App { id: id(name), ..App::new(TenantId::generate(), "a".into(), Timestamp(0)) };
        let rules = [("quiet".to_owned(), Rule { client_publish: false, ..Rule::default() })].into();
        let signers = signers.into_iter().map(Arc::new).collect();
        (id(name), Arc::new(AppProfile { app, limits: Limits::default(), rules, signers, webhooks: Vec::new() }))
    };
    World { apps: Arc::new([profile("a", signers), profile("b", Vec::new())].into()), set: Ok(KeySet::default()) }
}

async fn ask(world: &World, token: &str, app: Option<&str>) -> Result<Grant, ErrorCode> {
    let world = Arc::new(world.clone());
    let clock = Arc::new(At(Timestamp(NOW_S * 1_000)));
    let enforcement = Enforcement::new(Arc::new(Nothing), world.clone(), clock.clone());
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(enforcement.clone().run(stopped));
    let asked = Authenticator::new(world.clone(), world, clock, enforcement).client(token, app).await;
    stop.send(true).unwrap();
    running.await.unwrap();
    asked.map_err(|refusal| refusal.code)
}

fn token(pem: &str, algorithm: Algorithm, replaced: Value) -> String {
    forge(&json!({"alg": algorithm, "typ": "JWT"}), &claims(NOW_S, replaced), &private(pem), algorithm)
}

#[tokio::test]
async fn a_token_of_each_algorithm_is_taken_in_its_app_and_nowhere_else() {
    for (pem, public, algorithm) in [
        (RSA, RSA_PUBLIC, Algorithm::RS256),
        (P256, P256_PUBLIC, Algorithm::ES256),
        (ED25519, ED25519_PUBLIC, Algorithm::EdDSA),
    ] {
        let signer = signer(&id("a"), public, None);
        let world = with(vec![signer.clone()]);
        for aud in [json!("chat"), json!(["other", "chat"])] {
            let token = token(pem, algorithm, json!({"aud": aud}));
            let grant = ask(&world, &token, Some("app_a")).await.unwrap();
            assert_eq!(grant.voucher, Voucher::Signer(signer.id.clone()));
            assert_eq!(grant.client().map(|client| client.as_str()), Some("ann"));
            assert_eq!(grant.expires_at, Some(Timestamp((NOW_S + 600) * 1_000)));
            for app in [None, Some("app_b"), Some("app_c"), Some("nonsense"), Some("")] {
                assert_eq!(ask(&world, &token, app).await.unwrap_err(), ErrorCode::BadToken, "{app:?}");
            }
        }
    }
}

#[tokio::test]
async fn the_key_decides_the_algorithm_and_never_the_token() {
    let world = with(vec![signer(&id("a"), RSA_PUBLIC, None)]);
    let good = claims(NOW_S, json!({}));
    let hmac = |secret: &[u8]| EncodingKey::from_secret(secret);
    let rsa = private(RSA);
    let header = |alg: &str| json!({"alg": alg});
    let unsigned = format!(
        "{}.{}.",
        BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#),
        BASE64_URL_SAFE_NO_PAD.encode(good.to_string())
    );
    for (what, token) in [
        ("no signature at all", unsigned),
        (
            "HS256 under the public key's text",
            forge(&header("HS256"), &good, &hmac(RSA_PUBLIC.as_bytes()), Algorithm::HS256),
        ),
        (
            "HS256 under the public key's bytes",
            forge(&header("HS256"), &good, &hmac(&der(RSA_PUBLIC)), Algorithm::HS256),
        ),
        (
            "HS256 with a kid",
            forge(&json!({"alg": "HS256", "kid": "fk_a"}), &good, &hmac(RSA_PUBLIC.as_bytes()), Algorithm::HS256),
        ),
        ("HMAC that says RS256", forge(&header("RS256"), &good, &hmac(RSA_PUBLIC.as_bytes()), Algorithm::HS256)),
        ("RS384", forge(&header("RS384"), &good, &rsa, Algorithm::RS384)),
        ("RS512", forge(&header("RS512"), &good, &rsa, Algorithm::RS512)),
        ("PS256", forge(&header("PS256"), &good, &rsa, Algorithm::PS256)),
        ("RS512 that says RS256", forge(&header("RS256"), &good, &rsa, Algorithm::RS512)),
        ("another RSA key", forge(&header("RS256"), &good, &private(RSA_OTHER), Algorithm::RS256)),
        ("ES256 of another key", forge(&header("ES256"), &good, &private(P256), Algorithm::ES256)),
        ("EdDSA of another key", forge(&header("EdDSA"), &good, &private(ED25519), Algorithm::EdDSA)),
        ("an unknown algorithm", forge(&header("RS257"), &good, &rsa, Algorithm::RS256)),
        ("crit", forge(&json!({"alg": "RS256", "crit": ["b64"], "b64": false}), &good, &rsa, Algorithm::RS256)),
        (
            "a key that it brings itself",
            forge(
                &json!({"alg": "RS256", "jku": "https://evil.example/", "x5u": "https://evil.example/"}),
                &good,
                &private(RSA_OTHER),
                Algorithm::RS256,
            ),
        ),
    ] {
        assert_eq!(ask(&world, &token, Some("app_a")).await.unwrap_err(), ErrorCode::BadToken, "{what}");
    }
    assert!(ask(&world, &forge(&header("RS256"), &good, &rsa, Algorithm::RS256), Some("app_a")).await.is_ok());
}

#[tokio::test]
async fn claims_are_held_to_the_signer_and_to_the_letter() {
    let world = with(vec![signer(&id("a"), ED25519_PUBLIC, None)]);
    let expired = json!({"iat": NOW_S - 700, "exp": NOW_S - 100});
    assert_eq!(
        ask(&world, &token(ED25519, Algorithm::EdDSA, expired), Some("app_a")).await.unwrap_err(),
        ErrorCode::TokenExpired
    );
    let many: serde_json::Map<_, _> = (0..101).map(|at| (format!("c{at}"), json!(["subscribe"]))).collect();
    for replaced in [
        json!({"iss": null}),
        json!({"iss": "https://id.example.com"}),
        json!({"iss": ["https://id.example.com/"]}),
        json!({"iss": ""}),
        json!({"aud": null}),
        json!({"aud": "other"}),
        json!({"aud": []}),
        json!({"aud": ["chat", 7]}),
        json!({"aud": {"chat": 1}}),
        json!({"exp": null}),
        json!({"iat": null}),
        json!({"exp": NOW_S + 86_401}),
        json!({"iat": NOW_S + 61}),
        json!({"iat": "now"}),
        json!({"nbf": NOW_S + 1}),
        json!({"nbf": "x"}),
        json!({"cap": null}),
        json!({"cap": {"a*b": ["subscribe"]}}),
        json!({"cap": {"*": ["fly"]}}),
        json!({"cap": many}),
        json!({"sub": 7}),
        json!({"sub": ""}),
        json!({"sub": "a\u{7}"}),
        json!({"jti": 7}),
        json!({"info": "x".repeat(1_025)}),
        json!({"pad": "x".repeat(8_200)}),
    ] {
        let refused = ask(&world, &token(ED25519, Algorithm::EdDSA, replaced.clone()), Some("app_a")).await;
        assert_eq!(refused.err(), Some(ErrorCode::BadToken), "{replaced}");
    }
    for replaced in [
        json!({"sub": null}),
        json!({"jti": null, "info": {"n": 1}, "nbf": NOW_S}),
        json!({"exp": NOW_S + 86_400}),
        json!({"later": 1}),
    ] {
        assert!(
            ask(&world, &token(ED25519, Algorithm::EdDSA, replaced.clone()), Some("app_a")).await.is_ok(),
            "{replaced}"
        );
    }
}

#[tokio::test]
async fn one_signer_is_taken_out_while_another_goes_on() {
    let own = [signer(&id("a"), RSA_PUBLIC, Some("old")), signer(&id("a"), RSA_OTHER_PUBLIC, Some("new"))];
    let of = |pem: &str, kid: Value| {
        forge(&json!({"alg": "RS256", "kid": kid}), &claims(NOW_S, json!({})), &private(pem), Algorithm::RS256)
    };
    let both = with(own.to_vec());
    for (pem, kid, voucher) in [(RSA, json!("old"), 0), (RSA_OTHER, json!("new"), 1), (RSA_OTHER, Value::Null, 1)] {
        let mut token = of(pem, kid.clone());
        if kid.is_null() {
            token = forge(&json!({"alg": "RS256"}), &claims(NOW_S, json!({})), &private(pem), Algorithm::RS256);
        }
        let grant = ask(&both, &token, Some("app_a")).await.unwrap();
        assert_eq!(grant.voucher, Voucher::Signer(own[voucher].id.clone()));
        assert!(grant.voucher.stands_in(&both.apps[&id("a")]));
    }
    assert_eq!(ask(&both, &of(RSA, json!("new")), Some("app_a")).await.unwrap_err(), ErrorCode::BadToken);
    let later = with(own[1..].to_vec());
    assert_eq!(ask(&later, &of(RSA, json!("old")), Some("app_a")).await.unwrap_err(), ErrorCode::BadToken);
    assert!(!Voucher::Signer(own[0].id.clone()).stands_in(&later.apps[&id("a")]));
}

#[tokio::test]
async fn a_set_that_is_away_makes_a_token_undecided_and_not_bad() {
    let mut own = signer(&id("a"), RSA_PUBLIC, None);
    own.keys = SignerKeys::Jwks { url: "https://id.example.com/jwks".into() };
    let token = token(ED25519, Algorithm::EdDSA, json!({}));
    let mut world = with(vec![own.clone()]);
    assert_eq!(ask(&world, &token, Some("app_a")).await.unwrap_err(), ErrorCode::BadToken);
    world.set = Err(KeysAway { retry_after: Duration::from_secs(7) });
    assert_eq!(ask(&world, &token, Some("app_a")).await.unwrap_err(), ErrorCode::Unavailable);
    // Another signer may still know it.
    let mut both = with(vec![own, signer(&id("a"), ED25519_PUBLIC, None)]);
    both.set = world.set;
    assert!(ask(&both, &token, Some("app_a")).await.is_ok());
}

#[tokio::test]
async fn what_decides_is_told_by_the_rights_that_decide() {
    let channel = |name: &str| ChannelName::parse(name).unwrap();
    let mut own = signer(&id("a"), ED25519_PUBLIC, None);
    own.capability =
        serde_json::from_value::<Capability>(json!({"chat:*": ["subscribe", "publish"], "quiet:*": ["publish"]}))
            .unwrap();
    let cap = json!({"cap": {"*": ["publish"], "chat:*": ["subscribe", "publish"]}});
    let grant = ask(&with(vec![own]), &token(ED25519, Algorithm::EdDSA, cap), Some("app_a")).await.unwrap();
    for (right, name, allowed, by, pattern, namespace) in [
        (Right::Subscribe, "chat:1", true, DecidedBy::Token, Some("chat:*"), None),
        (Right::Publish, "chat:1", true, DecidedBy::Token, Some("chat:*"), None),
        (Right::History, "chat:1", false, DecidedBy::Token, None, None),
        (Right::Publish, "other", false, DecidedBy::Signer, None, None),
        (Right::Publish, "quiet:1", false, DecidedBy::Rule, None, Some("quiet")),
        (Right::Admin, "chat:1", false, DecidedBy::Token, None, None),
    ] {
        let decision = grant.decide(right, &channel(name));
        assert_eq!(decision.outcome.is_ok(), grant.require(right, &channel(name)).is_ok(), "{right:?} {name}");
        let found = (decision.outcome.is_ok(), decision.by, decision.pattern.as_deref(), decision.namespace.as_deref());
        assert_eq!(found, (allowed, by, pattern, namespace), "{right:?} {name}");
    }
}
