//! One public key, and the one algorithm that it verifies.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use ed25519_dalek::VerifyingKey as Ed25519;
use jsonwebtoken::{Algorithm, DecodingKey};
use p256::elliptic_curve::sec1::ToEncodedPoint;
use rsa::{BigUint, RsaPublicKey, pkcs1::DecodeRsaPublicKey, pkcs8::DecodePublicKey, traits::PublicKeyParts};
use serde::Deserialize;

/// The longest PEM, in bytes.
const MAX_PEM_BYTES: usize = 8 * 1024;
/// The shortest RSA key, in bits.
const MIN_RSA_BITS: usize = 2_048;

/// Why a key is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadKey(&'static str);

const UNKNOWN: BadKey = BadKey(
    "it is no public key that is taken here: RSA of 2,048 to 4,096 bits, P-256 or Ed25519, in PEM as `-----BEGIN PUBLIC KEY-----`",
);

/// An algorithm that keys of a tenant's own sign with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl SigningAlgorithm {
    /// Every one of them.
    pub const ALL: [SigningAlgorithm; 3] = [Self::Rs256, Self::Es256, Self::EdDsa];

    /// The name in a token's `alg`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// One of these, if it is.
    pub(super) fn of(algorithm: Algorithm) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_jwt() == algorithm)
    }

    pub(super) fn as_jwt(self) -> Algorithm {
        match self {
            Self::Rs256 => Algorithm::RS256,
            Self::Es256 => Algorithm::ES256,
            Self::EdDsa => Algorithm::EdDSA,
        }
    }
}

/// A public key; what it is decides the algorithm, whatever a token says.
#[derive(Clone)]
pub struct VerifyingKey {
    /// The algorithm that it verifies.
    pub algorithm: SigningAlgorithm,
    /// Its id, by which tokens name it in `kid`.
    pub kid: Option<String>,
    decoding: DecodingKey,
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyingKey").field("algorithm", &self.algorithm).field("kid", &self.kid).finish()
    }
}

/// A JSON Web Key (RFC 7517), as far as it matters here.
#[derive(Deserialize)]
pub(super) struct WireKey {
    kty: String,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl VerifyingKey {
    /// Reads a public key in PEM: an RSA key verifies RS256, a P-256 key ES256, an Ed25519 key EdDSA, and none anything else.
    pub fn from_pem(pem: &str, kid: Option<String>) -> Result<Self, BadKey> {
        if pem.len() > MAX_PEM_BYTES {
            return Err(BadKey("it has more than 8 KiB"));
        }
        let pem = pem.trim();
        if pem.contains("PRIVATE KEY") {
            return Err(BadKey("it is a private key; keep it to yourself, replace it, and give the public one"));
        }
        if pem.contains("BEGIN CERTIFICATE") {
            return Err(BadKey("it is a certificate; give the public key in it: `openssl x509 -pubkey -noout`"));
        }
        if let Ok(key) = RsaPublicKey::from_public_key_pem(pem).or_else(|_| RsaPublicKey::from_pkcs1_pem(pem)) {
            return Self::rsa(&key, kid);
        }
        if let Ok(key) = p256::PublicKey::from_public_key_pem(pem) {
            return Ok(Self::p256(&key, kid));
        }
        Ed25519::from_public_key_pem(pem).map_err(|_| UNKNOWN).and_then(|key| Self::ed25519(&key, kid))
    }

    /// Reads a key of a set; one that is for something else, or not taken here, is refused.
    pub(super) fn from_jwk(wire: WireKey) -> Result<Self, BadKey> {
        let for_else = wire.usage.as_deref().is_some_and(|usage| usage != "sig")
            || wire.key_ops.as_ref().is_some_and(|all| !all.iter().any(|one| one == "verify"));
        if for_else {
            return Err(BadKey("it is not for signatures"));
        }
        let bytes = |part: &Option<String>| {
            part.as_deref().and_then(|text| BASE64_URL_SAFE_NO_PAD.decode(text).ok()).ok_or(UNKNOWN)
        };
        let key = match (wire.kty.as_str(), wire.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (bytes(&wire.n)?, bytes(&wire.e)?);
                let key = RsaPublicKey::new(BigUint::from_bytes_be(&n), BigUint::from_bytes_be(&e));
                Self::rsa(&key.map_err(|_| UNKNOWN)?, wire.kid)?
            }
            ("EC", Some("P-256")) => {
                let point = [vec![4], bytes(&wire.x)?, bytes(&wire.y)?].concat();
                Self::p256(&p256::PublicKey::from_sec1_bytes(&point).map_err(|_| UNKNOWN)?, wire.kid)
            }
            ("OKP", Some("Ed25519")) => {
                let point = bytes(&wire.x)?.try_into().map_err(|_| UNKNOWN)?;
                Self::ed25519(&Ed25519::from_bytes(&point).map_err(|_| UNKNOWN)?, wire.kid)?
            }
            _ => return Err(UNKNOWN),
        };
        match wire.alg.as_deref() {
            Some(alg)
                if alg != key.algorithm.name() && !(alg == "Ed25519" && key.algorithm == SigningAlgorithm::EdDsa) =>
            {
                Err(BadKey("it is for another algorithm"))
            }
            _ => Ok(key),
        }
    }

    fn rsa(key: &RsaPublicKey, kid: Option<String>) -> Result<Self, BadKey> {
        if key.n().bits() < MIN_RSA_BITS {
            return Err(BadKey("it is an RSA key of less than 2,048 bits"));
        }
        let decoding = DecodingKey::from_rsa_raw_components(&key.n().to_bytes_be(), &key.e().to_bytes_be());
        Ok(Self { algorithm: SigningAlgorithm::Rs256, kid, decoding })
    }

    fn p256(key: &p256::PublicKey, kid: Option<String>) -> Self {
        let decoding = DecodingKey::from_ec_der(key.to_encoded_point(false).as_bytes());
        Self { algorithm: SigningAlgorithm::Es256, kid, decoding }
    }

    /// A weak key would let anyone sign.
    fn ed25519(key: &Ed25519, kid: Option<String>) -> Result<Self, BadKey> {
        if key.is_weak() {
            return Err(BadKey("it is a weak Ed25519 key"));
        }
        Ok(Self { algorithm: SigningAlgorithm::EdDsa, kid, decoding: DecodingKey::from_ed_der(key.as_bytes()) })
    }

    pub(super) fn decoding(&self) -> &DecodingKey {
        &self.decoding
    }
}
