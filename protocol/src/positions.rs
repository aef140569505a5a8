//! Where a reader of a channel stands: an epoch and a serial.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// A message's place in its channel: 1, 2, 3 … without holes; 0 is before the first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Serial(pub u64);

impl Serial {
    /// The largest serial: 2^53 − 1, exact in every client's numbers.
    pub const MAX: Serial = Serial((1 << 53) - 1);

    /// The serial after this one.
    pub fn next(self) -> Serial {
        Serial(self.0 + 1)
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which life of a channel's history a serial belongs to; short text, changed only when history was deleted or restored.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(Arc<str>);

impl Epoch {
    /// An epoch of that text.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The epoch as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The last serial a reader has, and the epoch it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The channel's epoch when the serial was received.
    pub epoch: Epoch,
    /// The last serial received.
    pub serial: Serial,
}
