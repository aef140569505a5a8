//! What stops a command, said to the person who ran it.

/// What went wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}\n  {remedy}")]
pub struct Problem {
    /// What went wrong; never a secret.
    pub what: String,
    /// What the reader can do about it.
    pub remedy: String,
}

impl Problem {
    /// A problem and its remedy.
    pub fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { what: what.into(), remedy: remedy.into() }
    }
}
