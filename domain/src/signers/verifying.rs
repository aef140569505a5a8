//! Tokens signed by keys of a tenant's own: what they say, and whether a signer stands by it.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::Header;
use serde_json::Value;

use super::{
    Signer, Wanted,
    keys::{SigningAlgorithm, VerifyingKey},
};
use crate::{
    Timestamp,
    tokens::{self, Claims, TokenError, invalid},
};

/// What a token says of its signature before anything is verified: enough to find the signers to ask.
#[derive(Debug)]
pub(crate) struct Presented {
    pub wanted: Wanted,
    issuer: String,
    audiences: Vec<String>,
}

impl Presented {
    /// Reads it. `jku`, `jwk` and `x5…` in the header are passed over: a token does not bring its own key.
    pub fn read(token: &str, header: Header) -> Result<Self, TokenError> {
        let algorithm = SigningAlgorithm::of(header.alg).ok_or_else(|| {
            invalid("the token's `alg` is none that is taken: HS256 with an API key; RS256, ES256 or EdDSA with a key of your own")
        })?;
        let claims = token.split('.').nth(1).and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok());
        let claims: Value = claims
            .and_then(|text| serde_json::from_slice(&text).ok())
            .ok_or_else(|| invalid("the token's claims are no JSON"))?;
        let issuer =
            claims["iss"].as_str().ok_or_else(|| invalid("the token has no `iss`, the issuer of its signer"))?;
        let audiences = audiences(&claims["aud"]).ok_or_else(|| {
            invalid("the token has no `aud`, a text or a list of texts, with the audience of its signer")
        })?;
        Ok(Self { wanted: Wanted { kid: header.kid, algorithm }, issuer: issuer.to_owned(), audiences })
    }

    /// Whether it may be this signer's.
    pub fn may_be_of(&self, signer: &Signer) -> bool {
        self.issuer == signer.issuer && self.audiences.contains(&signer.audience)
    }
}

fn audiences(claim: &Value) -> Option<Vec<String>> {
    match claim {
        Value::String(one) => Some(vec![one.clone()]),
        Value::Array(all) => all.iter().map(|one| one.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

/// Verifies a token with a key of a signer: `None` if that key did not sign it. The algorithm is the key's.
pub(crate) fn verify(
    token: &str,
    key: &VerifyingKey,
    signer: &Signer,
    now: Timestamp,
) -> Option<Result<Claims, TokenError>> {
    let validation = tokens::only_signature(key.algorithm.as_jwt());
    let claims = jsonwebtoken::decode::<Value>(token, key.decoding(), &validation).ok()?.claims;
    let is_bound = claims["iss"].as_str() == Some(&signer.issuer)
        && audiences(&claims["aud"]).is_some_and(|all| all.contains(&signer.audience));
    if !is_bound {
        return Some(Err(invalid("the token's `iss` or `aud` is not its signer's")));
    }
    Some(tokens::read_claims(claims, now))
}
