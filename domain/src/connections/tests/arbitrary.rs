//! Whatever a client sends: every request is answered exactly once or the connection closes, a close is said first,
//! nothing follows it, and delivery begins and stops in pairs.

use std::collections::HashSet;

use fanfare_protocol::requests::{Incoming, Unreadable};
use proptest::prelude::*;

use super::*;

fn channel() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("a"), Just("b"), Just("c"), Just("d"), Just("#x"), Just("")]
}

fn request() -> impl Strategy<Value = String> {
    let op = prop_oneof![
        channel().prop_map(|c| format!(r#""op":"subscribe","channel":"{c}""#)),
        channel().prop_map(|c| format!(r#""op":"subscribe","channel":"{c}","occupancy":true"#)),
        channel().prop_map(|c| format!(r#""op":"subscribe","channel":"{c}","since":{{"epoch":"e","serial":1}}"#)),
        channel().prop_map(|c| format!(r#""op":"unsubscribe","channel":"{c}""#)),
        channel().prop_map(|c| format!(r#""op":"publish","channel":"{c}","data":[1,null]"#)),
        channel().prop_map(|c| format!(r#""op":"history","channel":"{c}","limit":5"#)),
        channel().prop_map(|c| format!(r#""op":"subscribe","channel":"{c}","presence":true"#)),
        channel().prop_map(|c| format!(r#""op":"presence","channel":"{c}","action":"enter","data":1"#)),
        channel().prop_map(|c| format!(r#""op":"presence","channel":"{c}","action":"update""#)),
        channel().prop_map(|c| format!(r#""op":"presence","channel":"{c}","action":"leave""#)),
        channel().prop_map(|c| format!(r#""op":"presence","channel":"{c}","action":"list""#)),
        Just(r#""op":"token","token":"t""#.to_owned()),
        Just(r#""op":"connect","token":"t""#.to_owned()),
        "[a-z]{0,8}".prop_map(|op| format!(r#""op":"{op}""#)),
    ];
    op.prop_map(|fields| format!("{{\"id\":ID,{fields}}}"))
}

#[derive(Debug, Clone)]
enum Step {
    Frame(String),
    Garbage(String),
    Binary,
    Pass(u16),
    Drain(u16),
    Complete { newest: bool, succeed: bool },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => request().prop_map(Step::Frame),
        1 => any::<String>().prop_map(Step::Garbage),
        1 => "[\\[\\]{}\",:0-9a-z ]{0,40}".prop_map(Step::Garbage),
        1 => Just(Step::Binary),
        3 => (0..20_000u16).prop_map(Step::Pass),
        1 => (0..20_000u16).prop_map(Step::Drain),
        20 => (any::<bool>(), any::<bool>()).prop_map(|(newest, succeed)| Step::Complete { newest, succeed }),
    ]
}

/// Runs a machine against what a client does, and holds it to the invariants.
#[derive(Default)]
struct Checker {
    asked: HashSet<u32>,
    answered: HashSet<u32>,
    delivering: HashSet<ChannelName>,
    pending: Vec<Effect>,
    /// Where the connection is a member, as far as the engine was told.
    entered: HashSet<ChannelName>,
    closed: bool,
    last_was_error: bool,
}

impl Checker {
    fn apply(&mut self, machine: &mut Connection, command: Command, now: Timestamp) {
        let was_closed = self.closed;
        let effects = machine.apply(command, now);
        assert!(!was_closed || effects.is_empty(), "something followed the close: {effects:?}");
        for effect in effects {
            assert!(!self.closed, "something followed the close: {effect:?}");
            self.check(effect);
        }
    }

    fn check(&mut self, effect: Effect) {
        let mut is_error = false;
        match effect {
            Effect::Send(text) | Effect::SendPage(text) => {
                let said: Value = serde_json::from_str(&text).unwrap();
                is_error = said["op"] == "error";
                if let Some(id) = said["id"].as_u64() {
                    let id = id as u32;
                    assert!(self.asked.contains(&id), "an answer to nothing: {text}");
                    assert!(self.answered.insert(id), "a second answer: {text}");
                    assert!(said.get("ok").is_some() != said.get("error").is_some(), "{text}");
                }
            }
            Effect::Close(code) => {
                assert!(self.last_was_error, "a close without its reason");
                assert!(code.row().close.is_some(), "{code:?} has no close code");
                self.closed = true;
            }
            Effect::Deliver { channel, .. } => assert!(self.delivering.insert(channel)),
            Effect::WatchOccupancy(channel) => assert!(self.delivering.contains(&channel)),
            Effect::Stop(channel, _) => assert!(self.delivering.remove(&channel)),
            Effect::Hold | Effect::Resume | Effect::NoteRefusal(..) => {}
            Effect::Withdraw(channel) => _ = self.entered.remove(&channel),
            pending => self.pending.push(pending),
        }
        self.last_was_error = is_error;
    }

    fn complete(&mut self, machine: &mut Connection, newest: bool, succeed: bool, now: Timestamp) {
        if self.pending.is_empty() {
            return;
        }
        let at = if newest { self.pending.len() - 1 } else { 0 };
        let command = match self.pending.remove(at) {
            Effect::Authenticate(_) => Command::Authenticated(outcome(succeed, everything)),
            Effect::Refresh { id, turn, .. } => {
                Command::Refreshed { id, turn, outcome: outcome(succeed, || grant(r#"{"a":["subscribe"]}"#, 50)) }
            }
            Effect::Locate { id, channel, .. } => {
                Command::Located { id, outcome: outcome(succeed, || located(&channel)), channel }
            }
            Effect::Publish { id, .. } => {
                Command::Published { id, with_place: true, outcome: outcome(succeed, receipt) }
            }
            Effect::Presence { id, channel, wish } => {
                let was_to_enter = matches!(*wish, PresenceWish::Enter { .. });
                let done = match *wish {
                    PresenceWish::Enter { .. } => PresenceDone::Entered,
                    PresenceWish::Update(_) => PresenceDone::Updated,
                    PresenceWish::Leave(_) => PresenceDone::Left,
                    PresenceWish::List(_) => PresenceDone::Listed(Default::default()),
                };
                match &done {
                    PresenceDone::Entered if succeed => _ = self.entered.insert(channel.clone()),
                    PresenceDone::Left if succeed => _ = self.entered.remove(&channel),
                    _ => {}
                }
                Command::PresenceDone { id, channel, was_to_enter, outcome: outcome(succeed, || done) }
            }
            Effect::ReadHistory { id, channel, .. } => {
                Command::HistoryRead { id, channel, outcome: Err(Refusal::plain(ErrorCode::Unavailable)) }
            }
            other => panic!("{other:?} needs no completion"),
        };
        self.apply(machine, command, now);
    }
}

fn outcome<T>(succeed: bool, value: impl FnOnce() -> T) -> Result<T, Refusal> {
    if succeed { Ok(value()) } else { Err(Refusal::plain(ErrorCode::Unavailable)) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_arrives_each_request_is_answered_once(steps in prop::collection::vec(step(), 1..80), connects in any::<bool>()) {
        let mut machine = Connection::new(ConnectionId::generate(), &ConnectionConfig::default(), None, START);
        let (mut checker, mut now, mut next_id) = (Checker::default(), START, 1u32);
        let first = connects.then(|| Step::Frame(r#"{"id":ID,"op":"connect","token":"t"}"#.into()));
        for step in first.into_iter().chain(steps) {
            match step {
                Step::Frame(template) => {
                    let text = template.replace("ID", &next_id.to_string());
                    if !checker.closed {
                        checker.asked.insert(next_id);
                    }
                    next_id += 1;
                    checker.apply(&mut machine, Command::Text(text), now);
                }
                Step::Garbage(text) => {
                    let id = match Incoming::parse(&text) {
                        Ok(Incoming::Request { id, .. }) | Err(Unreadable::Refused { id, .. }) => Some(id),
                        _ => None,
                    };
                    if id.is_none() {
                        checker.apply(&mut machine, Command::Text(text), now);
                    }
                }
                Step::Binary => checker.apply(&mut machine, Command::Binary, now),
                Step::Pass(ms) => {
                    now = now.after(Duration::from_millis(ms.into()));
                    checker.apply(&mut machine, Command::Tick, now);
                }
                Step::Drain(ms) => {
                    let after = Duration::from_millis(ms.into());
                    checker.apply(&mut machine, Command::Drain { after }, now);
                }
                Step::Complete { newest, succeed } => checker.complete(&mut machine, newest, succeed, now),
            }
        }
        while !checker.pending.is_empty() {
            checker.complete(&mut machine, false, true, now);
        }
        prop_assert!(checker.closed || checker.asked == checker.answered, "unanswered: {:?}", checker.asked.difference(&checker.answered));
    }
}
