//! Rosters: the members of one channel and what happens to them, free of clocks and engines.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
};

use fanfare_protocol::{ClientName, presence::PresenceAction};
use serde_json::value::RawValue;

use super::{Entry, GRACE, Member, MemberPage, PresenceError};
use crate::{Timestamp, ids::ConnectionId};

/// The members of one channel.
#[derive(Debug)]
pub struct Roster {
    version: u64,
    members: BTreeMap<ClientName, Presentee>,
    sessions: HashMap<ConnectionId, ClientName>,
}

/// A member, and by how many connections.
#[derive(Debug)]
struct Presentee {
    member: Member,
    sessions: usize,
    /// When it leaves, having no connection.
    leaves_at: Option<Timestamp>,
}

/// What happened, and the version that it gave the channel.
#[derive(Debug, Clone)]
pub struct Change {
    /// The version.
    pub version: u64,
    /// What the member did.
    pub action: PresenceAction,
    /// Who, and what was said last.
    pub entry: Entry,
}

impl Roster {
    /// A channel that nobody is in, at a version that is not earlier than any that it had.
    pub fn new(version: u64) -> Self {
        Self { version, members: BTreeMap::new(), sessions: HashMap::new() }
    }

    /// The version.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether nobody is here.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Makes a connection's client a member.
    pub fn enter(&mut self, entry: Entry, most: u32, now: Timestamp) -> Result<Option<Change>, PresenceError> {
        let is_new = !self.members.contains_key(&entry.client);
        if is_new && self.members.len() >= most as usize {
            return Err(PresenceError::Full(most));
        }
        let is_new_session = self.sessions.insert(entry.connection.clone(), entry.client.clone()).is_none();
        let presentee = self.members.entry(entry.client.clone()).or_insert_with(|| Presentee {
            member: Member { entry: entry.clone(), since: now },
            sessions: 0,
            leaves_at: None,
        });
        presentee.sessions += usize::from(is_new_session);
        presentee.leaves_at = None;
        let says_else = !says_the_same(&presentee.member.entry, &entry);
        presentee.member.entry = entry.clone();
        Ok(match (is_new, says_else) {
            (true, _) => Some(self.change(PresenceAction::Enter, entry)),
            (false, true) => Some(self.change(PresenceAction::Update, entry)),
            (false, false) => None,
        })
    }

    /// Changes what others see.
    pub fn update(&mut self, entry: Entry) -> Result<Change, PresenceError> {
        if self.sessions.get(&entry.connection) != Some(&entry.client) {
            return Err(PresenceError::NotEntered);
        }
        let presentee = self.members.get_mut(&entry.client).ok_or(PresenceError::NotEntered)?;
        presentee.member.entry = entry.clone();
        Ok(self.change(PresenceAction::Update, entry))
    }

    /// Takes a connection out.
    pub fn leave(
        &mut self,
        connection: &ConnectionId,
        data: Option<Box<RawValue>>,
    ) -> Result<Option<Change>, PresenceError> {
        let client = self.sessions.remove(connection).ok_or(PresenceError::NotEntered)?;
        let presentee = self.members.get_mut(&client).ok_or(PresenceError::NotEntered)?;
        presentee.sessions -= 1;
        Ok((presentee.sessions == 0).then(|| self.remove(&client, data)).flatten())
    }

    /// Takes a connection out that ended without a word; when its client leaves if it does not come back.
    pub fn ended(&mut self, connection: &ConnectionId, now: Timestamp) -> Option<Timestamp> {
        let client = self.sessions.remove(connection)?;
        let presentee = self.members.get_mut(&client)?;
        presentee.sessions -= 1;
        if presentee.sessions == 0 {
            presentee.leaves_at = Some(now.after(GRACE));
        }
        presentee.leaves_at
    }

    /// Takes out those who have not come back in time.
    pub fn reap(&mut self, now: Timestamp) -> Vec<Change> {
        let is_over = |presentee: &Presentee| presentee.leaves_at.is_some_and(|at| at <= now);
        let over = self.members.iter().filter(|(_, presentee)| is_over(presentee));
        let over: Vec<_> = over.map(|(client, _)| client.clone()).collect();
        over.iter().filter_map(|client| self.remove(client, None)).collect()
    }

    /// When the next one leaves that has not come back.
    pub fn next_leave(&self) -> Option<Timestamp> {
        self.members.values().filter_map(|presentee| presentee.leaves_at).min()
    }

    /// A page of the members.
    pub fn page(&self, after: Option<&ClientName>, limit: u32) -> MemberPage {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = self.members.range::<ClientName, _>((from, Bound::Unbounded)).map(|(_, one)| &one.member);
        let items: Vec<_> = rest.by_ref().take(limit as usize).cloned().collect();
        let next = rest.next().and(items.last()).map(|last| last.entry.client.clone());
        MemberPage { items, count: self.members.len() as u64, next }
    }

    /// Everyone.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values().map(|presentee| &presentee.member)
    }

    fn remove(&mut self, client: &ClientName, data: Option<Box<RawValue>>) -> Option<Change> {
        let mut entry = self.members.remove(client)?.member.entry;
        entry.data = data.or(entry.data);
        Some(self.change(PresenceAction::Leave, entry))
    }

    fn change(&mut self, action: PresenceAction, entry: Entry) -> Change {
        self.version += 1;
        Change { version: self.version, action, entry }
    }
}

/// Whether others see no difference.
fn says_the_same(one: &Entry, other: &Entry) -> bool {
    let text = |value: &Option<Box<RawValue>>| value.as_ref().map(|value| value.get().to_owned());
    text(&one.data) == text(&other.data) && text(&one.info) == text(&other.info)
}

#[cfg(test)]
mod tests;
