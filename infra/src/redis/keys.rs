//! The names of keys and of channels of pub/sub. What belongs to one channel shares a hash tag, and so a slot.

use fanfare_domain::ids::{AppId, MessageId};
use fanfare_protocol::ChannelName;

/// The nodes that count subscriptions.
pub(super) const COUNTING_NODES: &str = "ff:o:nodes";

/// A channel's subscriptions: a hash of how many each node has in each of its generations.
pub(super) fn subscriptions(app: &AppId, channel: &ChannelName) -> String {
    format!("ff:o:c:{{{app}/{channel}}}")
}

/// The names of an app's occupied channels, and of some that were: a sorted set of equal scores.
pub(super) fn occupied(app: &AppId) -> String {
    format!("ff:o:i:{{{app}}}")
}

/// The courses of a client in a channel: a hash of them, and how far it reaches back (`floor`).
pub(super) fn courses(app: &AppId, rest: &str) -> String {
    format!("ff:e:c:{{{app}}}:{rest}")
}

/// An app's courses by when they were told: a sorted set of their ids, each with its channel and client.
pub(super) fn course_order(app: &AppId) -> String {
    format!("ff:e:o:{{{app}}}")
}

/// How far an app's trace reaches back: a hash of when it began (`since`) and of what was let go (`floor`).
pub(super) fn trace_reach(app: &AppId) -> String {
    format!("ff:e:r:{{{app}}}")
}

/// Publishes of an app that keeps a trace: a sorted set by when they were told.
pub(super) fn traced_publishes(app: &AppId) -> String {
    format!("ff:e:p:{{{app}}}")
}

/// There while a node that tells of courses is alive.
pub(super) fn telling_node(node: &str) -> String {
    format!("ff:e:n:{{{node}}}")
}

/// Where control messages are sent; one channel for everyone.
pub(super) const CONTROL: &str = "ff:control";

/// A channel's head: a hash of its epoch (`e`), its serial (`s`) and the bytes of its window (`b`).
pub(super) fn head(app: &AppId, channel: &ChannelName) -> String {
    format!("ff:h:{{{app}/{channel}}}")
}

/// A channel's hot window: a list of envelopes without a hole, the last one of which is the head.
pub(super) fn window(app: &AppId, channel: &ChannelName) -> String {
    format!("ff:w:{{{app}/{channel}}}")
}

/// Where a channel's messages are published.
pub(super) fn messages(app: &AppId, channel: &ChannelName) -> String {
    format!("ff:c:{{{app}/{channel}}}")
}

/// Where beats are sent; the number puts it into a shard's slots.
pub(super) fn beats(number: u32) -> String {
    format!("ff:b:{{{number}}}")
}

/// The fingerprint of what was lately published under an idempotency key.
pub(super) fn fingerprint(app: &AppId, message: &MessageId) -> String {
    format!("ff:f:{{{app}/{message}}}")
}

/// Everything of a channel's presence, as its script takes it: the members, their order, who is leaving, the version, the holders that are
/// fenced off, the holder's sessions, and where events are published.
pub(super) fn presence(app: &AppId, channel: &ChannelName, holder: &str) -> Vec<String> {
    let key = |kind: &str| format!("ff:p{kind}:{{{app}/{channel}}}");
    let shared = ["m", "o", "l", "v", "f"].map(key);
    shared.into_iter().chain([sessions(app, channel, holder), messages(app, channel)]).collect()
}

/// A holder's sessions in a channel: a hash of connections, each with its client.
pub(super) fn sessions(app: &AppId, channel: &ChannelName, holder: &str) -> String {
    format!("ff:ps:{{{app}/{channel}}}:{holder}")
}

/// The registry of holders, as its script takes it: their leases, when Redis was heard, and the holder's channels.
pub(super) fn holders(holder: &str) -> Vec<String> {
    vec!["ff:p:{nodes}".to_owned(), "ff:p:{nodes}:life".to_owned(), format!("ff:p:{{nodes}}:{holder}")]
}
