use super::*;
use crate::signers::{BadKeySet, KeySet, MAX_KEY_SET_BYTES, SigningAlgorithm, Wanted};

fn wanted(kid: Option<&str>, algorithm: SigningAlgorithm) -> Wanted {
    Wanted { kid: kid.map(str::to_owned), algorithm }
}

/// The Ed25519 key of the tests as a JWK, with some members replaced.
fn ed25519(replaced: Value) -> Value {
    let key = der(ED25519_PUBLIC);
    let mut jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": BASE64_URL_SAFE_NO_PAD.encode(&key[12..]), "kid": "e", "alg": "EdDSA", "use": "sig"});
    for (name, value) in replaced.as_object().unwrap() {
        jwk[name] = value.clone();
    }
    jwk.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    jwk
}

/// The P-256 key of the tests as a JWK.
fn p256(kid: &str) -> Value {
    let key = der(P256_PUBLIC);
    let point = &key[key.len() - 64..];
    let part = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    json!({"kty": "EC", "crv": "P-256", "x": part(&point[..32]), "y": part(&point[32..]), "kid": kid})
}

fn set(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({"keys": keys, "later": 1}).to_string().as_bytes()).unwrap()
}

#[test]
fn a_key_is_found_by_its_id_and_algorithm() {
    let both = set(&[p256("p"), ed25519(json!({}))]);
    let found = |kid, algorithm| both.pick(&wanted(kid, algorithm)).is_some();
    assert!(found(Some("p"), SigningAlgorithm::Es256) && found(Some("e"), SigningAlgorithm::EdDsa));
    assert!(!found(Some("p"), SigningAlgorithm::EdDsa) && !found(Some("p"), SigningAlgorithm::Rs256));
    assert!(!found(Some("other"), SigningAlgorithm::Es256));
    assert!(found(None, SigningAlgorithm::Es256), "the only one of its algorithm needs no id");
    assert!(set(&[p256("p"), p256("q")]).pick(&wanted(None, SigningAlgorithm::Es256)).is_none(), "of two it does");
}

#[test]
fn keys_that_are_not_taken_do_not_spoil_the_others() {
    let zeros = BASE64_URL_SAFE_NO_PAD.encode([0u8; 32]);
    let small = BASE64_URL_SAFE_NO_PAD.encode([0xff_u8; 128]);
    for bad in [
        json!(7),
        json!({}),
        json!({"kty": "oct", "k": "c2VjcmV0", "kid": "e", "alg": "HS256"}),
        json!({"kty": "RSA", "n": small, "e": "AQAB", "kid": "e"}),
        json!({"kty": "RSA", "n": "", "e": "AQAB", "kid": "e"}),
        json!({"kty": "RSA", "n": "+/=", "e": "AQAB", "kid": "e"}),
        json!({"kty": "EC", "crv": "P-384", "x": zeros, "y": zeros, "kid": "e"}),
        json!({"kty": "EC", "crv": "P-256", "x": zeros, "y": zeros, "kid": "e"}),
        ed25519(json!({"use": "enc"})),
        ed25519(json!({"key_ops": ["sign"]})),
        ed25519(json!({"alg": "ES256"})),
        ed25519(json!({"alg": "HS256"})),
        ed25519(json!({"alg": "none"})),
        ed25519(json!({"crv": "X25519"})),
        ed25519(json!({"x": BASE64_URL_SAFE_NO_PAD.encode([[1].as_slice(), &[0; 31]].concat())})),
        ed25519(json!({"x": "AAAA"})),
    ] {
        assert_eq!(set(&[bad.clone(), p256("p")]).len(), 1, "{bad}");
    }
    for good in
        [json!({}), json!({"use": null, "alg": null}), json!({"key_ops": ["verify"]}), json!({"alg": "Ed25519"})]
    {
        assert_eq!(set(&[ed25519(good.clone())]).len(), 1, "{good}");
    }
}

#[test]
fn a_set_is_bounded_and_well_formed() {
    let of = |text: &str| KeySet::parse(text.as_bytes()).map(|set| set.len());
    assert_eq!(of(r#"{"keys":[]}"#), Ok(0));
    for bad in ["", "[]", "{}", r#"{"keys":{}}"#, "<html>", r#"{"keys":[}"#] {
        assert_eq!(of(bad), Err(BadKeySet::Malformed), "{bad}");
    }
    let many = |count: usize| json!({"keys": vec![json!({}); count]}).to_string();
    assert_eq!((of(&many(100)), of(&many(101))), (Ok(0), Err(BadKeySet::TooMany)));
    assert_eq!(of(&format!(r#"{{"keys":[]}}{}"#, " ".repeat(MAX_KEY_SET_BYTES))), Err(BadKeySet::TooLarge));
}
