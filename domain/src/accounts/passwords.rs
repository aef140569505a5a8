//! Password hashing: argon2id (RFC 9106). Slow on purpose; run it on a thread that may be slow.

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use secrecy::{ExposeSecret, SecretString};

/// Hashes a password, with a fresh salt, to a PHC string.
pub fn hash(password: &SecretString) -> SecretString {
    let hash = Argon2::default()
        .hash_password(password.expose_secret().as_bytes())
        .expect("argon2 hashes any password with its default parameters");
    SecretString::from(hash.to_string())
}

/// Whether a password matches a PHC string. A string that is no hash matches nothing.
pub fn verify(password: &SecretString, hash: &SecretString) -> bool {
    PasswordHash::new(hash.expose_secret())
        .is_ok_and(|parsed| Argon2::default().verify_password(password.expose_secret().as_bytes(), &parsed).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_right_password_matches_its_hash() {
        let right = SecretString::from("correct horse".to_owned());
        let hashed = hash(&right);
        assert!(hashed.expose_secret().starts_with("$argon2id$"));
        assert!(verify(&right, &hashed));
        assert!(!verify(&SecretString::from("wrong horse".to_owned()), &hashed));
        assert!(!verify(&right, &SecretString::from("not a hash".to_owned())));
    }
}
