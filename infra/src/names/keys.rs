//! What is called how in Redis: keys and channels of pub/sub. What belongs to one channel shares a hash tag, and so a slot.

use fanfare_domain::ids::{AppId, MessageId};
use fanfare_protocol::ChannelName;

use super::Names;

impl Names {
    /// Where control messages are sent; one channel for everyone.
    pub(crate) fn control(&self) -> String {
        self.key("control")
    }

    /// What `fanfare check` names, and nobody writes.
    pub fn check(&self) -> String {
        self.key("check")
    }

    /// A channel's head: a hash of its epoch (`e`), its serial (`s`) and the bytes of its window (`b`).
    pub(crate) fn head(&self, app: &AppId, channel: &ChannelName) -> String {
        self.of_channel("h", app, channel)
    }

    /// A channel's hot window: a list of envelopes without a hole, the last one of which is the head.
    pub(crate) fn window(&self, app: &AppId, channel: &ChannelName) -> String {
        self.of_channel("w", app, channel)
    }

    /// Patterns of all heads and all windows.
    pub(crate) fn heads_and_windows(&self) -> [String; 2] {
        [self.key("h:*"), self.key("w:*")]
    }

    /// Where a channel's messages are published.
    pub(crate) fn messages(&self, app: &AppId, channel: &ChannelName) -> String {
        self.of_channel("c", app, channel)
    }

    /// Where beats are sent; the number puts it into a shard's slots.
    pub(crate) fn beats(&self, number: u32) -> String {
        self.key(&format!("b:{{{number}}}"))
    }

    /// The fingerprint of what was lately published under an idempotency key.
    pub(crate) fn fingerprint(&self, app: &AppId, message: &MessageId) -> String {
        self.key(&format!("f:{{{app}/{message}}}"))
    }

    /// The nodes that share limits.
    pub(crate) fn limiting_nodes(&self) -> String {
        self.key("l:nodes")
    }

    /// An app's connections, by the nodes that hold them.
    pub(crate) fn connections(&self, app: &AppId) -> String {
        self.key(&format!("l:c:{{{app}}}"))
    }

    /// What nodes take of an app's publishes.
    pub(crate) fn publishes(&self, app: &AppId) -> String {
        self.key(&format!("l:p:{{{app}}}"))
    }

    /// What nodes take of an app's reads of history.
    pub(crate) fn history_reads(&self, app: &AppId) -> String {
        self.key(&format!("l:r:{{{app}}}"))
    }

    /// The nodes that count subscriptions.
    pub(crate) fn counting_nodes(&self) -> String {
        self.key("o:nodes")
    }

    /// A channel's subscriptions: a hash of how many each node has in each of its generations.
    pub(crate) fn subscriptions(&self, app: &AppId, channel: &ChannelName) -> String {
        self.of_channel("o:c", app, channel)
    }

    /// The names of an app's occupied channels, and of some that were: a sorted set of equal scores.
    pub(crate) fn occupied(&self, app: &AppId) -> String {
        self.key(&format!("o:i:{{{app}}}"))
    }

    /// Everything of a channel's presence, as its script takes it: the members, their order, who is leaving, the version, the holders that
    /// are fenced off, the holder's sessions, and where events are published.
    pub(crate) fn presence(&self, app: &AppId, channel: &ChannelName, holder: &str) -> Vec<String> {
        let shared = ["pm", "po", "pl", "pv", "pf"].map(|kind| self.of_channel(kind, app, channel));
        shared.into_iter().chain([self.sessions(app, channel, holder), self.messages(app, channel)]).collect()
    }

    /// A holder's sessions in a channel: a hash of connections, each with its client.
    pub(crate) fn sessions(&self, app: &AppId, channel: &ChannelName, holder: &str) -> String {
        format!("{}:{holder}", self.of_channel("ps", app, channel))
    }

    /// The registry of holders, as its script takes it: their leases, when Redis was heard, and the holder's channels.
    pub(crate) fn holders(&self, holder: &str) -> Vec<String> {
        ["p:{nodes}", "p:{nodes}:life", &format!("p:{{nodes}}:{holder}")].map(|rest| self.key(rest)).into()
    }

    /// The courses of a client in a channel: a hash of them, and how far it reaches back (`floor`).
    pub(crate) fn courses(&self, app: &AppId, rest: &str) -> String {
        self.key(&format!("e:c:{{{app}}}:{rest}"))
    }

    /// An app's courses by when they were told: a sorted set of their ids, each with its channel and client.
    pub(crate) fn course_order(&self, app: &AppId) -> String {
        self.key(&format!("e:o:{{{app}}}"))
    }

    /// How far an app's trace reaches back: a hash of when it began (`since`) and of what was let go (`floor`).
    pub(crate) fn trace_reach(&self, app: &AppId) -> String {
        self.key(&format!("e:r:{{{app}}}"))
    }

    /// Publishes of an app that keeps a trace: a sorted set by when they were told.
    pub(crate) fn traced_publishes(&self, app: &AppId) -> String {
        self.key(&format!("e:p:{{{app}}}"))
    }

    /// The nodes that tell of courses: a hash of up to when each has told everything, and when it told last.
    pub(crate) fn telling_nodes(&self) -> String {
        self.key("e:nodes")
    }

    /// There while a node that tells of courses is alive.
    pub(crate) fn telling_node(&self, node: &str) -> String {
        self.key(&format!("e:n:{{{node}}}"))
    }

    fn of_channel(&self, kind: &str, app: &AppId, channel: &ChannelName) -> String {
        format!("{}:{kind}:{{{app}/{channel}}}", self.in_redis())
    }

    fn key(&self, rest: &str) -> String {
        format!("{}:{rest}", self.in_redis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redis::slot_of;

    fn all(names: &Names, app: &AppId, channel: &ChannelName) -> Vec<String> {
        let single = [
            names.control(),
            names.check(),
            names.head(app, channel),
            names.window(app, channel),
            names.messages(app, channel),
            names.beats(7),
            names.fingerprint(app, &MessageId::generate()),
            names.limiting_nodes(),
            names.connections(app),
            names.publishes(app),
            names.history_reads(app),
            names.counting_nodes(),
            names.subscriptions(app, channel),
            names.occupied(app),
            names.courses(app, "chat:1 ann"),
            names.course_order(app),
            names.trace_reach(app),
            names.traced_publishes(app),
            names.telling_nodes(),
            names.telling_node("n"),
        ];
        let several = [names.heads_and_windows().into(), names.presence(app, channel, "n"), names.holders("n")];
        single.into_iter().chain(several.concat()).collect()
    }

    fn sample() -> (AppId, ChannelName) {
        (AppId::generate(), ChannelName::parse("chat:1").unwrap())
    }

    #[test]
    fn every_name_begins_with_the_prefix_and_by_default_as_ever() {
        let (app, channel) = sample();
        for (names, stem) in [(Names::default(), "ff:"), ("acme".parse().unwrap(), "acme:")] {
            for name in all(&names, &app, &channel) {
                assert!(name.starts_with(stem), "{name}");
            }
        }
        assert_eq!(Names::default().head(&app, &channel), format!("ff:h:{{{app}/chat:1}}"));
        assert_eq!(Names::default().connections(&app), format!("ff:l:c:{{{app}}}"));
        assert_eq!(Names::default().holders("n")[2], "ff:p:{nodes}:n");
        assert_eq!(Names::default().sessions(&app, &channel, "n"), format!("ff:ps:{{{app}/chat:1}}:n"));
    }

    #[test]
    fn two_prefixes_share_no_name() {
        let (app, channel) = sample();
        let prefixes = ["fanfare", "acme", "acme.h", "acme-ff", "f", "fff"];
        let mut by_name = std::collections::HashMap::new();
        for prefix in prefixes {
            for name in all(&prefix.parse().unwrap(), &app, &channel) {
                assert_eq!(*by_name.entry(name.clone()).or_insert(prefix), prefix, "{name}");
            }
        }
    }

    #[test]
    fn the_prefix_does_not_decide_which_keys_share_a_slot() {
        let (app, channel) = sample();
        for prefix in ["fanfare", "acme", "Acme-2_eu.west"] {
            let names: Names = prefix.parse().unwrap();
            let slot = slot_of(&format!("{app}/{channel}"));
            let of_channel = [names.head(&app, &channel), names.window(&app, &channel), names.messages(&app, &channel)];
            let of_channel = [of_channel.into(), names.presence(&app, &channel, "node.1")].concat();
            assert!(of_channel.iter().all(|key| slot_of(key) == slot), "{of_channel:?}");
            assert!(names.holders("node.1").iter().all(|key| slot_of(key) == slot_of("nodes")));
            assert_eq!(slot_of(&names.beats(7)), slot_of("7"));
        }
    }
}
