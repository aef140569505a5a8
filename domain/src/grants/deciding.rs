//! Why a grant allows something or not, for who asks about it: told by the same rights that decide.

use fanfare_protocol::ChannelName;

use super::Grant;
use crate::{Refusal, capabilities::Right};

/// What decided, the first of them that refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecidedBy {
    /// The token's own capability.
    Token,
    /// The capability of the key or the signer that signed the token.
    Signer,
    /// The channel's rule.
    Rule,
}

impl DecidedBy {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            DecidedBy::Token => "token",
            DecidedBy::Signer => "signer",
            DecidedBy::Rule => "rule",
        }
    }
}

/// A decision, and what made it.
#[derive(Debug, Clone)]
pub struct Decision {
    /// Allowed, or the refusal that a client gets.
    pub outcome: Result<(), Refusal>,
    /// What decided.
    pub by: DecidedBy,
    /// The pattern of the token's that gave the right, the longest one.
    pub pattern: Option<String>,
    /// The namespace whose rule the channel follows; `None` for the built-in rule.
    pub namespace: Option<String>,
}

impl Grant {
    /// Whether a right is there, and why. The outcome is that of [`Grant::require`], and of history that of [`Grant::require_history`].
    pub fn decide(&self, right: Right, channel: &ChannelName) -> Decision {
        let outcome = match right {
            Right::History => self.require_history(channel),
            Right::Presence => self.require_presence(channel),
            _ => self.require(right, channel),
        };
        let pattern = self.capability.giving(right, channel).map(str::to_owned);
        let by_signer = self.ceiling.rights(channel).has(right);
        let by = match (&outcome, &pattern) {
            // What the token and its signer do not give, a public rule does.
            (Ok(()), Some(_)) if by_signer => DecidedBy::Token,
            (Ok(()), _) => DecidedBy::Rule,
            (Err(_), None) => DecidedBy::Token,
            (Err(_), Some(_)) if !by_signer => DecidedBy::Signer,
            (Err(_), Some(_)) => DecidedBy::Rule,
        };
        let pattern = pattern.filter(|_| outcome.is_ok() && by == DecidedBy::Token);
        Decision { outcome, by, pattern, namespace: self.profile.ruling(channel) }
    }
}
