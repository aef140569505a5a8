//! What an append will do, decided apart from any engine: who gets which serial, and who repeats what.

use std::collections::{BTreeMap, BTreeSet, HashMap, btree_map::Entry};
use std::time::Duration;

use diesel::prelude::*;
use fanfare_domain::{
    history::Appended,
    ids::{AppId, MessageId},
    publishing::{Accepted, IDEMPOTENCY_WINDOW},
};
use fanfare_protocol::{ChannelName, ClientName, Epoch, EventName, Serial};
use serde_json::value::RawValue;

use crate::sql::{schema::messages, stored, timestamp};

/// When at the latest every message is over: at the end of the year 9999.
const LAST_MOMENT: i64 = 253_402_300_799_999;
/// Kept beyond the last moment at which a message may be asked for, so that clocks need not agree.
const SLACK: Duration = Duration::from_secs(3_600);

/// A message that waits for its place.
pub(super) struct Pending {
    pub app: AppId,
    pub channel: ChannelName,
    pub id: MessageId,
    time: i64,
    name: Option<EventName>,
    client: Option<ClientName>,
    headers: Option<String>,
    data: Box<RawValue>,
    /// Only of a message with an idempotency key.
    fingerprint: Option<[u8; 16]>,
    redelivered: bool,
    life_ms: i64,
}

impl Pending {
    /// Whether it may be stored already, so that its id must be looked up.
    pub fn may_be_stored(&self) -> bool {
        self.fingerprint.is_some() || self.redelivered
    }

    /// What its texts measure, in bytes.
    pub fn bytes(&self) -> usize {
        self.data.get().len() + self.headers.as_ref().map_or(0, String::len)
    }
}

impl From<&Accepted> for Pending {
    fn from(accepted: &Accepted) -> Self {
        let message = &accepted.message;
        let life = accepted.retention.duration().max(IDEMPOTENCY_WINDOW).saturating_add(SLACK);
        Self {
            app: accepted.app.clone(),
            channel: accepted.channel.clone(),
            id: message.id.clone(),
            time: stored(message.time),
            name: message.name.clone(),
            client: message.client.clone(),
            headers: message
                .headers
                .as_ref()
                .map(|headers| serde_json::to_string(headers).expect("headers are strings")),
            data: message.data.clone(),
            fingerprint: accepted.keyed.then_some(accepted.fingerprint),
            redelivered: accepted.redelivered,
            life_ms: i64::try_from(life.as_millis()).unwrap_or(i64::MAX),
        }
    }
}

/// A row of `messages`. Each has every column, so that SQLite prepares the statement once.
#[derive(Debug, Insertable)]
#[diesel(table_name = messages, treat_none_as_default_value = false)]
pub(super) struct MessageRow<'a> {
    pub app_id: &'a str,
    pub channel: &'a str,
    pub serial: i64,
    pub id: &'a str,
    pub time: i64,
    pub name: Option<&'a str>,
    pub client: Option<&'a str>,
    pub headers: Option<&'a str>,
    pub fingerprint: Option<&'a [u8]>,
    pub expires_at: i64,
    pub data: &'a str,
}

/// A channel's last serial and time.
#[derive(Debug, Clone)]
pub(super) struct ChannelHead {
    pub epoch: Epoch,
    pub serial: i64,
    pub time: i64,
    /// Whether this append moved it.
    pub moved: bool,
}

/// The place that a message of the same id took.
#[derive(Debug, Clone)]
pub(super) struct Taken {
    pub serial: i64,
    pub time: i64,
    /// Only of a message with an idempotency key.
    pub fingerprint: Option<Vec<u8>>,
}

impl Taken {
    /// What the place means for a message of that id: the same one, another one under its key, or, since the key is free again, nothing.
    fn answer(&self, message: &Pending, epoch: &Epoch) -> Option<Appended> {
        let repeated = || {
            let serial = Serial(super::heads::serial(self.serial));
            Some(Appended::Repeated { epoch: epoch.clone(), serial, time: timestamp(self.time) })
        };
        let Some(fingerprint) = message.fingerprint else { return repeated() };
        let is_key_free = self.time < stored(timestamp(message.time).before(IDEMPOTENCY_WINDOW));
        match (is_key_free, self.fingerprint.as_deref() == Some(&fingerprint)) {
            (true, _) => None,
            (false, true) => repeated(),
            (false, false) => Some(Appended::Conflict),
        }
    }
}

type ChannelKey = (AppId, ChannelName);

/// What the tables hold already, of all that an append touches.
#[derive(Default)]
pub(super) struct Known {
    /// The epochs of the apps that are there.
    pub apps: HashMap<AppId, Epoch>,
    /// The heads of the channels that are there.
    pub heads: BTreeMap<ChannelKey, ChannelHead>,
    /// By message id, the latest place that it took, of all that may be stored.
    pub taken: HashMap<(ChannelKey, MessageId), Taken>,
}

/// What an append writes and answers.
pub(super) struct Plan<'a> {
    pub rows: Vec<MessageRow<'a>>,
    pub heads: BTreeMap<ChannelKey, ChannelHead>,
    pub outcomes: Vec<Appended>,
}

/// The apps that an append touches, sorted, each once.
pub(super) fn apps(pending: &[Pending]) -> BTreeSet<&AppId> {
    pending.iter().map(|message| &message.app).collect()
}

/// The channels that an append touches, sorted, each once.
pub(super) fn channels(pending: &[Pending]) -> BTreeSet<(&AppId, &ChannelName)> {
    pending.iter().map(|message| (&message.app, &message.channel)).collect()
}

/// Gives each new message the next serial of its channel, in the order given.
pub(super) fn plan(pending: &[Pending], known: Known) -> Plan<'_> {
    let Known { apps, heads, mut taken } = known;
    let mut plan = Plan { rows: Vec::with_capacity(pending.len()), heads, outcomes: Vec::with_capacity(pending.len()) };
    for message in pending {
        let outcome = match apps.get(&message.app) {
            Some(epoch) => place(message, epoch, &mut plan, &mut taken),
            None => Appended::NoApp,
        };
        plan.outcomes.push(outcome);
    }
    plan
}

fn place<'a>(
    message: &'a Pending,
    app_epoch: &Epoch,
    plan: &mut Plan<'a>,
    taken: &mut HashMap<(ChannelKey, MessageId), Taken>,
) -> Appended {
    let key = (message.app.clone(), message.channel.clone());
    let head = match plan.heads.entry(key.clone()) {
        Entry::Occupied(head) => head.into_mut(),
        Entry::Vacant(none) => none.insert(ChannelHead { epoch: app_epoch.clone(), serial: 0, time: 0, moved: false }),
    };
    let (serial, time) = (head.serial + 1, head.time.max(message.time));
    if message.may_be_stored() {
        let place = (key, message.id.clone());
        if let Some(answer) = taken.get(&place).and_then(|first| first.answer(message, &head.epoch)) {
            return answer;
        }
        let fingerprint = message.fingerprint.map(|fingerprint| fingerprint.to_vec());
        taken.insert(place, Taken { serial, time, fingerprint });
    }
    (head.serial, head.time, head.moved) = (serial, time, true);
    plan.rows.push(message.row(serial, time));
    Appended::Stored { epoch: head.epoch.clone(), serial: Serial(super::heads::serial(serial)), time: timestamp(time) }
}

impl Pending {
    fn row(&self, serial: i64, time: i64) -> MessageRow<'_> {
        MessageRow {
            app_id: self.app.as_str(),
            channel: self.channel.as_str(),
            serial,
            id: self.id.as_str(),
            time,
            name: self.name.as_ref().map(EventName::as_str),
            client: self.client.as_ref().map(ClientName::as_str),
            headers: self.headers.as_deref(),
            fingerprint: self.fingerprint.as_ref().map(<[u8; 16]>::as_slice),
            expires_at: time.saturating_add(self.life_ms).min(LAST_MOMENT),
            data: self.data.get(),
        }
    }
}

#[cfg(test)]
pub(super) mod samples {
    use super::*;

    /// A message that waits for its place.
    pub fn pending() -> Pending {
        Pending {
            app: AppId::generate(),
            channel: ChannelName::parse("a").unwrap(),
            id: MessageId::generate(),
            time: 1,
            name: None,
            client: None,
            headers: None,
            data: RawValue::from_string("1".to_owned()).unwrap(),
            fingerprint: None,
            redelivered: false,
            life_ms: 1,
        }
    }
}
