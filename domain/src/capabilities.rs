//! Capabilities: which rights a credential has on which channels.

use std::{collections::BTreeMap, fmt, sync::Arc};

use fanfare_protocol::ChannelName;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What may be done with a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// Follow it live.
    Subscribe,
    /// Publish to it.
    Publish,
    /// Enter it, list and watch who is there.
    Presence,
    /// Read its past.
    History,
    /// Revoke, disconnect, list and explain; of API keys only.
    Admin,
}

impl Right {
    /// Every right, in the order of the documentation.
    pub const ALL: [Right; 5] = [Right::Subscribe, Right::Publish, Right::Presence, Right::History, Right::Admin];

    /// The right's name in a capability.
    pub fn name(self) -> &'static str {
        match self {
            Right::Subscribe => "subscribe",
            Right::Publish => "publish",
            Right::Presence => "presence",
            Right::History => "history",
            Right::Admin => "admin",
        }
    }
}

/// A set of rights, one bit each.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Rights(u8);

impl Rights {
    /// Every right.
    pub const ALL: Rights = Rights(0b1_1111);

    /// The set of one right.
    pub fn of(right: Right) -> Rights {
        Rights(1 << right as u8)
    }

    /// Whether the right is in the set.
    pub fn has(self, right: Right) -> bool {
        self.0 & Rights::of(right).0 != 0
    }

    /// What is in either set.
    pub fn or(self, other: Rights) -> Rights {
        Rights(self.0 | other.0)
    }

    /// What is in both sets.
    pub fn and(self, other: Rights) -> Rights {
        Rights(self.0 & other.0)
    }

    /// Whether everything in this set is in the other too.
    pub fn within(self, other: Rights) -> bool {
        self.0 & !other.0 == 0
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        rights.into_iter().fold(Rights::default(), |all, right| all.or(Rights::of(right)))
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Right::ALL.iter().filter(|right| self.has(**right))).finish()
    }
}

impl Serialize for Rights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(Right::ALL.iter().filter(|right| self.has(**right)))
    }
}

impl<'de> Deserialize<'de> for Rights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Right>::deserialize(deserializer)?.into_iter().collect())
    }
}

/// The most patterns that one capability may hold.
pub const MAX_PATTERNS: usize = 100;

/// Why a capability was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCapability {
    /// A pattern is not a channel name, nor a prefix and one final `*`.
    #[error("`{0}` is not a pattern: use a channel name, or a prefix and one final `*`")]
    Pattern(String),
    /// There are too many patterns.
    #[error("there are {0} patterns; {MAX_PATTERNS} are allowed")]
    TooMany(usize),
}

/// Rights by pattern: a channel name, or a prefix and one final `*`. A channel's rights are the union of what matches.
///
/// Clones share what it holds, which is no larger than its patterns: every connection keeps its own and that of its key.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capability(Arc<[(Box<str>, Rights)]>);

impl Capability {
    /// Every right on every channel.
    pub fn everything() -> Self {
        Self(Arc::new([("*".into(), Rights::ALL)]))
    }

    /// Checks the patterns.
    pub fn new(patterns: BTreeMap<String, Rights>) -> Result<Self, BadCapability> {
        if patterns.len() > MAX_PATTERNS {
            return Err(BadCapability::TooMany(patterns.len()));
        }
        match patterns.keys().find(|pattern| !is_pattern(pattern)) {
            Some(bad) => Err(BadCapability::Pattern(bad.chars().take(80).collect())),
            None => Ok(Self(patterns.into_iter().map(|(pattern, rights)| (pattern.into(), rights)).collect())),
        }
    }

    /// The rights on one channel.
    pub fn rights(&self, channel: &ChannelName) -> Rights {
        self.0
            .iter()
            .filter(|(pattern, _)| matches(pattern, channel.as_str()))
            .fold(Rights::default(), |all, (_, rights)| all.or(*rights))
    }

    /// The pattern that gives a right on a channel; of several, the longest.
    pub fn giving(&self, right: Right, channel: &ChannelName) -> Option<&str> {
        let giving = self.0.iter().filter(|(pattern, rights)| rights.has(right) && matches(pattern, channel.as_str()));
        giving.map(|(pattern, _)| &**pattern).max_by_key(|pattern| pattern.len())
    }

    /// Whether a right is held on every channel.
    pub fn everywhere(&self, right: Right) -> bool {
        self.0.iter().any(|(pattern, rights)| &**pattern == "*" && rights.has(right))
    }

    /// Whether a right is held on some channel.
    pub fn anywhere(&self, right: Right) -> bool {
        self.0.iter().any(|(_, rights)| rights.has(right))
    }

    /// Whether no channel has a right here that it lacks in `wider`; a pattern counts as covered by one that matches all it matches.
    pub fn within(&self, wider: &Capability) -> bool {
        self.0.iter().all(|(pattern, rights)| {
            let covered = wider
                .0
                .iter()
                .filter(|(other, _)| covers(other, pattern))
                .fold(Rights::default(), |all, (_, rights)| all.or(*rights));
            rights.within(covered)
        })
    }
}

impl Serialize for Capability {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(pattern, rights)| (pattern, rights)))
    }
}

impl<'de> Deserialize<'de> for Capability {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Capability::new(BTreeMap::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

fn is_pattern(pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some("") => true,
        Some(prefix) => ChannelName::parse(prefix).is_ok(),
        None => ChannelName::parse(pattern).is_ok(),
    }
}

fn matches(pattern: &str, channel: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => channel.starts_with(prefix),
        None => channel == pattern,
    }
}

fn covers(wider: &str, pattern: &str) -> bool {
    match wider.strip_suffix('*') {
        Some(prefix) => pattern.strip_suffix('*').unwrap_or(pattern).starts_with(prefix),
        None => wider == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capability(json: &str) -> Capability {
        serde_json::from_str(json).unwrap()
    }

    fn channel(name: &str) -> ChannelName {
        ChannelName::parse(name).unwrap()
    }

    #[test]
    fn rights_are_the_union_of_the_patterns_that_match() {
        let cap = capability(r#"{"chat:*":["subscribe"],"chat:1":["publish"],"*":["history"]}"#);
        let rights = cap.rights(&channel("chat:1"));
        assert!(rights.has(Right::Subscribe) && rights.has(Right::Publish) && rights.has(Right::History));
        assert!(!cap.rights(&channel("chat:2")).has(Right::Publish));
        assert!(!cap.rights(&channel("other")).has(Right::Subscribe));
        assert!(cap.anywhere(Right::Publish) && !cap.anywhere(Right::Admin));
    }

    #[test]
    fn a_star_stands_only_at_the_end() {
        for bad in ["a*b", "**", "", "a b*", "#x"] {
            let patterns = BTreeMap::from([(bad.to_owned(), Rights::ALL)]);
            assert!(Capability::new(patterns).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_minted_capability_is_never_wider_than_its_key() {
        let key = capability(r#"{"chat:*":["subscribe","publish"],"news":["subscribe"]}"#);
        assert!(capability(r#"{"chat:1":["publish"],"chat:a*":["subscribe"],"news":["subscribe"]}"#).within(&key));
        assert!(!capability(r#"{"*":["subscribe"]}"#).within(&key));
        assert!(!capability(r#"{"news*":["subscribe"]}"#).within(&key));
        assert!(!capability(r#"{"news":["publish"]}"#).within(&key));
    }
}
