//! The names that an installation has in Redis and RabbitMQ. All of them begin with its prefix, so that several installations can share both.

use std::{fmt, str::FromStr, sync::Arc};

mod keys;
mod queues;

/// What names begin with where nobody chose. In Redis, where there are many of them, it is shortened.
const DEFAULT: &str = "fanfare";
/// What the default is shortened to.
const SHORT: &str = "ff";
const LONGEST: usize = 32;

/// The one place where names are composed. Cheap to clone.
///
/// A prefix holds neither `:`, which ends it in Redis, nor braces, which would decide the slot of every key in a cluster, nor anything that
/// is special in patterns of keys. Two installations with different prefixes have no name in common.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Names(Arc<str>);

/// A text that names cannot begin with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPrefix {
    /// It is no short text of letters, digits, `-`, `_` and `.`, the first of which is a letter or a digit.
    #[error("`{0}` is not 1 to {LONGEST} letters, digits, `-`, `_` and `.`, of which the first is a letter or a digit")]
    Malformed(String),
    /// Others have names that begin so.
    #[error("`{prefix}` is taken: {by}")]
    Taken {
        /// The text.
        prefix: String,
        /// By whom.
        by: &'static str,
    },
}

impl Names {
    /// What they begin with.
    pub fn prefix(&self) -> &str {
        &self.0
    }

    fn in_redis(&self) -> &str {
        if *self.0 == *DEFAULT { SHORT } else { &self.0 }
    }
}

impl Default for Names {
    fn default() -> Self {
        Self(DEFAULT.into())
    }
}

impl FromStr for Names {
    type Err = BadPrefix;

    fn from_str(text: &str) -> Result<Self, BadPrefix> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        let begins_well = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if !is_plain || !begins_well || text.len() > LONGEST {
            return Err(BadPrefix::Malformed(text.escape_debug().take(2 * LONGEST).collect()));
        }
        let taken = |by| Err(BadPrefix::Taken { prefix: text.to_owned(), by });
        match text {
            SHORT => taken("with the default prefix, names in Redis begin so"),
            _ if text == "amq" || text.starts_with("amq.") => taken("RabbitMQ keeps names that begin so to itself"),
            _ => Ok(Self(text.into())),
        }
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Names").field(&&*self.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_short_and_plain_and_nobody_elses() {
        let longest = "a".repeat(LONGEST);
        for good in ["acme", "Acme-2_eu.west", "7", "fanfare", "ffa", "amqp", longest.as_str()] {
            assert_eq!(good.parse::<Names>().unwrap().prefix(), good);
        }
        let longer = "a".repeat(LONGEST + 1);
        for bad in ["", "-a", ".a", "a:b", "{a}", "a b", "a*", "a?", "[a]", "ä", "a\n", "a/b", longer.as_str()] {
            assert!(matches!(bad.parse::<Names>(), Err(BadPrefix::Malformed(_))), "{bad}");
        }
        for taken in ["ff", "amq", "amq.acme"] {
            assert!(matches!(taken.parse::<Names>(), Err(BadPrefix::Taken { .. })), "{taken}");
        }
        assert_eq!(Names::default().prefix(), "fanfare");
    }
}
