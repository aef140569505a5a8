//! Keys that are refused, tokens that are refused, and apps that know nothing of each other's signers.

mod authenticating;
mod key_sets;
mod keys;

use base64::{
    Engine,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

pub(super) const RSA: &str = include_str!("../../../../tests/keys/rsa.pem");
pub(super) const RSA_OTHER: &str = include_str!("../../../../tests/keys/rsa-other.pem");
pub(super) const P256: &str = include_str!("../../../../tests/keys/p256.pem");
pub(super) const ED25519: &str = include_str!("../../../../tests/keys/ed25519.pem");
pub(super) const RSA_PUBLIC: &str = include_str!("../../../../tests/keys/rsa.pub.pem");
pub(super) const RSA_OTHER_PUBLIC: &str = include_str!("../../../../tests/keys/rsa-other.pub.pem");
pub(super) const P256_PUBLIC: &str = include_str!("../../../../tests/keys/p256.pub.pem");
pub(super) const ED25519_PUBLIC: &str = include_str!("../../../../tests/keys/ed25519.pub.pem");

/// What is inside a PEM.
pub(super) fn der(pem: &str) -> Vec<u8> {
    let inside: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    BASE64_STANDARD.decode(inside).unwrap()
}

/// The private key of a test, for an algorithm of its family.
pub(super) fn private(pem: &str) -> EncodingKey {
    match pem {
        RSA | RSA_OTHER => EncodingKey::from_rsa_der(&der(pem)),
        P256 => EncodingKey::from_ec_der(&der(pem)),
        _ => EncodingKey::from_ed_der(&der(pem)),
    }
}

/// A token of these parts: whatever the header says, signed under `algorithm`.
pub(super) fn forge(header: &Value, claims: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    let encode = |part: &Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    let signed = format!("{}.{}", encode(header), encode(claims));
    format!("{signed}.{}", jsonwebtoken::crypto::sign(signed.as_bytes(), key, algorithm).unwrap())
}

/// The claims of a good token, with some replaced; `null` leaves one out.
pub(super) fn claims(now_s: u64, replaced: Value) -> Value {
    let mut claims = json!({
        "iss": "https://id.example.com/", "aud": "chat", "sub": "ann", "cap": {"*": ["subscribe", "publish", "admin"]},
        "iat": now_s, "exp": now_s + 600, "jti": "t1",
    });
    for (name, value) in replaced.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}
