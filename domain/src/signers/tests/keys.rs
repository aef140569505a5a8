use super::*;
use crate::signers::{SigningAlgorithm, VerifyingKey};

#[test]
fn a_public_key_decides_its_algorithm() {
    let pkcs1 = include_str!("../../../../tests/keys/rsa-pkcs1.pub.pem");
    for (pem, algorithm) in [
        (RSA_PUBLIC, SigningAlgorithm::Rs256),
        (pkcs1, SigningAlgorithm::Rs256),
        (P256_PUBLIC, SigningAlgorithm::Es256),
        (ED25519_PUBLIC, SigningAlgorithm::EdDsa),
    ] {
        for text in [pem.to_owned(), format!("\n  {pem}\n\n"), pem.replace('\n', "\r\n")] {
            let key = VerifyingKey::from_pem(&text, Some("k".into())).unwrap();
            assert_eq!((key.algorithm, key.kid.as_deref()), (algorithm, Some("k")));
        }
    }
}

#[test]
fn what_is_no_strong_public_key_is_refused_with_its_reason() {
    let weak = ED25519_PUBLIC.lines().nth(1).unwrap();
    let prefix = BASE64_STANDARD.decode(weak).unwrap()[..12].to_vec();
    let identity = [prefix, vec![1], vec![0; 31]].concat();
    let weak = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", BASE64_STANDARD.encode(identity));
    let long = format!("{RSA_PUBLIC}{}", " ".repeat(9_000));
    for (what, pem, said) in [
        ("nothing", "", "no public key"),
        ("no PEM", "secret", "no public key"),
        ("an RSA key of 1,024 bits", include_str!("../../../../tests/keys/rsa-1024.pub.pem"), "2,048"),
        ("a P-384 key", include_str!("../../../../tests/keys/p384.pub.pem"), "no public key"),
        ("a certificate", include_str!("../../../../tests/keys/certificate.pem"), "certificate"),
        ("a private RSA key", RSA, "private"),
        ("a private P-256 key", P256, "private"),
        ("a weak key, under which anyone signs", &weak, "weak"),
        ("a broken one", &RSA_PUBLIC[..200], "no public key"),
        ("a long one", &long, "8 KiB"),
    ] {
        let refused = VerifyingKey::from_pem(pem, None).expect_err(what).to_string();
        assert!(refused.contains(said), "{what}: {refused}");
    }
}
