//! Capabilities as bodies carry them: checked pattern by pattern, so that the answer can point at the wrong one.

use std::collections::BTreeMap;

use fanfare_domain::capabilities::{Capability, Rights};

use crate::{extract::escape, problems::ApiError};

/// Rights by pattern, as sent.
pub(crate) type Patterns = BTreeMap<String, Rights>;

/// Where a pattern of `cap` stands in its body.
pub(crate) fn pointer(pattern: &str) -> String {
    format!("/cap/{}", escape(pattern))
}

/// Checks every pattern.
pub(crate) fn check(patterns: Patterns) -> Result<Capability, ApiError> {
    for (pattern, rights) in &patterns {
        single(pattern, *rights)?;
    }
    Capability::new(patterns).map_err(|bad| ApiError::field("/cap", bad.to_string()))
}

/// The capability of one pattern alone.
pub(crate) fn single(pattern: &str, rights: Rights) -> Result<Capability, ApiError> {
    let alone = BTreeMap::from([(pattern.to_owned(), rights)]);
    Capability::new(alone).map_err(|bad| ApiError::field(pointer(pattern), bad.to_string()))
}
