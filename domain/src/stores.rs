//! What can go wrong in a store, by what the caller can do about it.

use std::error::Error;

/// A store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The engine is away or busy; the same call may succeed later.
    #[error("the database is not available")]
    Unavailable(#[source] Box<dyn Error + Send + Sync>),
    /// Something with that identity is there already.
    #[error("it exists already")]
    Conflict,
    /// There are as many of them as are allowed: so many.
    #[error("there are {0} already, which is all that are allowed")]
    Full(u32),
    /// This can never be stored, whoever tries; the text says why.
    #[error("it can never be stored: {0}")]
    Rejected(String),
    /// The partition has another owner; nothing was stored.
    #[error("the partition has another owner")]
    Fenced,
    /// What is stored cannot be read back; a person must look.
    #[error("what is stored cannot be read: {0}")]
    Corrupt(String),
}

impl StoreError {
    /// A failure of the engine.
    pub fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(source.into())
    }

    /// The same once more: one failure is that of everybody who waited for the same thing.
    pub fn repeated(&self) -> Self {
        match self {
            Self::Unavailable(source) => Self::unavailable(source.to_string()),
            Self::Conflict => Self::Conflict,
            Self::Full(most) => Self::Full(*most),
            Self::Rejected(why) => Self::Rejected(why.clone()),
            Self::Fenced => Self::Fenced,
            Self::Corrupt(what) => Self::Corrupt(what.clone()),
        }
    }
}

/// Which part of a list is wanted: lists are ordered by id.
#[derive(Debug, Clone)]
pub struct Page {
    /// Only what comes after this id.
    pub after: Option<String>,
    /// At most so many.
    pub limit: u32,
}
