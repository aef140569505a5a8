//! The machine in a table, and under arbitrary frames.

use std::{collections::HashMap, sync::Arc};

use fanfare_protocol::{ClientName, Epoch, Serial, events::Subscribed};
use serde_json::Value;

use super::*;
use crate::{
    apps::App,
    capabilities::Capability,
    directory::AppProfile,
    grants::{ClientIdentity, Identity, Voucher},
    ids::{AppId, KeyId, MessageId, TenantId},
    plans::Limits,
    publishing::Receipt,
    rules::Rule,
};

mod arbitrary;
mod presence;
mod requests;
mod streams;
mod tokens;

const START: Timestamp = Timestamp(1_000_000);

fn at(seconds: u64) -> Timestamp {
    START.after(Duration::from_secs(seconds))
}

fn profile(rules: &[(&str, Rule)]) -> Arc<AppProfile> {
    let app = App { id: AppId::parse("app_a").unwrap(), ..App::new(TenantId::generate(), "a".into(), START) };
    let rules: HashMap<_, _> = rules.iter().map(|(name, rule)| ((*name).to_owned(), rule.clone())).collect();
    Arc::new(AppProfile {
        app,
        limits: Limits { channels_per_connection: 3, ..Limits::default() },
        rules,
        signers: Vec::new(),
        webhooks: Vec::new(),
    })
}

/// A grant of Ann's, by a token that lasts until `expires_s`.
fn grant(capability: &str, expires_s: u64) -> Grant {
    let identity = Identity::Client(ClientIdentity {
        client: Some(ClientName::parse("ann").unwrap()),
        info: None,
        token_id: None,
    });
    let capability: Capability = serde_json::from_str(capability).unwrap();
    let voucher = Voucher::Key(KeyId::parse("fk_a").unwrap());
    let mut grant = Grant::for_tests(profile(&[]), voucher, identity, capability, Capability::everything());
    grant.expires_at = Some(at(expires_s));
    grant
}

fn everything() -> Grant {
    grant(r#"{"*":["subscribe","publish","presence","history"]}"#, 3_600)
}

/// A machine under test: what it sends is kept apart from what it wants done.
struct Subject {
    machine: Connection,
    now: Timestamp,
    said: Vec<Value>,
    wants: Vec<Effect>,
    /// Subscriptions that were refused.
    refused: Vec<(String, ErrorCode)>,
}

impl Subject {
    fn new() -> Self {
        let machine = Connection::new(ConnectionId::generate(), &ConnectionConfig::default(), None, START);
        Self { machine, now: START, said: Vec::new(), wants: Vec::new(), refused: Vec::new() }
    }

    fn connected(grant: Grant) -> Self {
        let mut subject = Self::new();
        subject.text(r#"{"id":1,"op":"connect","token":"t"}"#);
        assert!(matches!(subject.wants.pop(), Some(Effect::Authenticate(Credential::Token { .. }))));
        subject.apply(Command::Authenticated(Ok(grant)));
        assert_eq!(subject.take_said()[0]["ok"]["client"], "ann");
        subject
    }

    fn subscribed(grant: Grant, channel: &str) -> Self {
        let mut subject = Self::connected(grant);
        subject.text(&format!(r#"{{"id":2,"op":"subscribe","channel":"{channel}"}}"#));
        subject.locate_all();
        subject.take_said();
        subject.wants.clear();
        subject
    }

    fn apply(&mut self, command: Command) {
        for effect in self.machine.apply(command, self.now) {
            match effect {
                Effect::Send(text) | Effect::SendPage(text) => self.said.push(serde_json::from_str(&text).unwrap()),
                Effect::NoteRefusal(channel, code) => self.refused.push((channel.to_string(), code)),
                other => self.wants.push(other),
            }
        }
    }

    fn text(&mut self, text: &str) {
        self.apply(Command::Text(text.to_owned()));
    }

    /// Lets time pass, ticking at every deadline on the way.
    fn pass_until(&mut self, end: Timestamp) {
        while let Some(due) = self.machine.deadline().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.apply(Command::Tick);
        }
        self.now = end;
    }

    fn locate_all(&mut self) {
        let wants = std::mem::take(&mut self.wants);
        for effect in wants {
            match effect {
                Effect::Locate { id, channel, .. } => {
                    self.apply(Command::Located { id, outcome: Ok(located(&channel)), channel })
                }
                other => self.wants.push(other),
            }
        }
    }

    fn take_said(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.said)
    }

    fn closed_with(&self) -> Option<ErrorCode> {
        self.wants.iter().find_map(|effect| match effect {
            Effect::Close(code) => Some(*code),
            _ => None,
        })
    }
}

fn located(channel: &ChannelName) -> Located {
    let answer = Subscribed {
        channel: channel.clone(),
        epoch: Epoch::new("e"),
        serial: Serial(4),
        resumed: None,
        backlog: 0,
        lost: None,
    };
    Located { answer, position: Serial(4) }
}

fn receipt() -> Receipt {
    Receipt { id: MessageId::parse("msg_1").unwrap(), place: Some((Epoch::new("e"), Serial(5))) }
}
