//! Secrets: made from the system's randomness, compared in constant time, never printed.

use rand::RngExt;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A secret of that prefix and 43 base62 characters (256 bits).
pub fn generate(prefix: &str) -> SecretString {
    SecretString::from(with_random(prefix, 43))
}

/// A short random text, for epochs.
pub fn short_random() -> String {
    with_random("", 10)
}

/// The name of something that only has to be told from others, as a request: that prefix and 20 base62 characters.
pub fn random_name(prefix: &str) -> String {
    with_random(prefix, 20)
}

fn with_random(prefix: &str, characters: usize) -> String {
    let mut rng = rand::rng();
    let mut text = String::with_capacity(prefix.len() + characters);
    text.push_str(prefix);
    text.extend((0..characters).map(|_| char::from(BASE62[rng.random_range(0..62)])));
    text
}

/// A random number, for waits that are not to end all at once.
pub fn random_in(range: std::ops::RangeInclusive<u64>) -> u64 {
    rand::rng().random_range(range)
}

/// Whether two secrets are the same, in a time that does not depend on where they differ.
pub fn same(left: &SecretString, right: &SecretString) -> bool {
    left.expose_secret().as_bytes().ct_eq(right.expose_secret().as_bytes()).into()
}

/// The hash under which a high-entropy secret is stored (SHA-256, hex).
pub fn fingerprint(secret: &SecretString) -> String {
    Sha256::digest(secret.expose_secret().as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
