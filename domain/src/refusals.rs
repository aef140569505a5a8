//! A refusal: what a caller is told when the answer is no.

use std::time::Duration;

use fanfare_protocol::{ErrorCode, WireError};
use tracing::error;

use crate::StoreError;

/// A code of the public table, and what happened this time.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}: {message}", code.name())]
pub struct Refusal {
    /// The stable code.
    pub code: ErrorCode,
    /// What happened, for the caller; no secret, no internals.
    pub message: String,
    /// When trying again can help.
    pub retry_after: Option<Duration>,
    /// The field that is wrong, as a JSON pointer into the body (RFC 6901).
    pub pointer: Option<&'static str>,
}

impl Refusal {
    /// A refusal that says what happened.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None, pointer: None }
    }

    /// A refusal that the table's title says well enough.
    pub fn plain(code: ErrorCode) -> Self {
        Self::new(code, code.row().title)
    }

    /// Adds when to try again.
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Adds which field is wrong.
    pub fn at(mut self, pointer: &'static str) -> Self {
        self.pointer = Some(pointer);
        self
    }

    /// The shape that sockets carry.
    pub fn to_wire(&self) -> WireError {
        WireError {
            code: self.code.name().into(),
            message: self.message.clone(),
            remedy: Some(self.code.row().remedy.into()),
            retry_after_ms: self.retry_after.map(|wait| wait.as_millis() as u64),
        }
    }
}

impl From<StoreError> for Refusal {
    /// The reader is told little; the log is told the cause.
    fn from(failure: StoreError) -> Self {
        if let StoreError::Full(_) = failure {
            return Refusal::new(ErrorCode::PlanLimit, failure.to_string());
        }
        let cause = std::error::Error::source(&failure).map(ToString::to_string);
        error!(error = %failure, cause, "The store failed");
        match failure {
            StoreError::Unavailable(_) => Refusal::plain(ErrorCode::Unavailable).retry_after(Duration::from_secs(1)),
            StoreError::Conflict
            | StoreError::Full(_)
            | StoreError::Corrupt(_)
            | StoreError::Rejected(_)
            | StoreError::Fenced => Refusal::plain(ErrorCode::Internal),
        }
    }
}
