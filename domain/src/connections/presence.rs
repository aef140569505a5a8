//! Which channels a connection has entered, from the request to the end of the right.

use std::collections::HashMap;

use fanfare_protocol::{
    ChannelName, ErrorCode,
    events::{error_text, ok_text},
    json::compact,
    presence::MemberList,
    requests::{Presence, PresenceAsk},
};
use serde_json::value::RawValue;

use super::{Connection, Effect, Effects, Open, Phase};
use crate::{
    Refusal,
    capabilities::Right,
    grants::Identity,
    ids::ConnectionId,
    presence::{DATA_BYTES, Entry, MemberPage, cursors},
};

/// The channels that a connection has entered, or asked to.
#[derive(Debug, Default)]
pub(super) struct Memberships(HashMap<ChannelName, Membership>);

#[derive(Debug, Default)]
struct Membership {
    has_entered: bool,
    /// Requests to enter that are not answered yet.
    entering: u32,
}

/// What is wanted of a channel's presence.
#[derive(Debug)]
pub enum PresenceWish {
    /// Become a member.
    Enter {
        /// Who, and what others see.
        entry: Entry,
        /// How many members the channel may have.
        most: u32,
    },
    /// Change what others see.
    Update(Entry),
    /// Be a member no longer.
    Leave(Option<Box<RawValue>>),
    /// A page of the members, from the one after that client.
    List(Option<fanfare_protocol::ClientName>),
}

/// What came of a wish.
#[derive(Debug)]
pub enum PresenceDone {
    /// The connection has entered.
    Entered,
    /// It was updated.
    Updated,
    /// It has left.
    Left,
    /// The members.
    Listed(MemberPage),
}

impl Open {
    pub(super) fn presence(
        &mut self,
        connection: &ConnectionId,
        id: u32,
        Presence { channel, ask }: Presence,
    ) -> Result<Effect, Refusal> {
        let not_entered = || Refusal::new(ErrorCode::NotEntered, format!("`{channel}` is not entered"));
        let wish = match ask {
            // Who has lost the right may still go.
            PresenceAsk::Leave { data } => {
                let data = checked(data)?;
                self.memberships.0.contains_key(&channel).then_some(()).ok_or_else(not_entered)?;
                PresenceWish::Leave(data)
            }
            ask => {
                self.grant.require_presence(&channel)?;
                match ask {
                    PresenceAsk::Enter { data } => {
                        let entry = self.entry(connection, data)?;
                        self.begin_to_enter(&channel)?;
                        PresenceWish::Enter { entry, most: self.grant.profile.limits.presence_members }
                    }
                    PresenceAsk::Update { data } => {
                        let entry = self.entry(connection, data)?;
                        self.memberships.0.contains_key(&channel).then_some(()).ok_or_else(not_entered)?;
                        PresenceWish::Update(entry)
                    }
                    PresenceAsk::List { next } => {
                        let bad = || Refusal::new(ErrorCode::BadRequest, "`next` is not one of a list of members");
                        PresenceWish::List(next.map(|next| cursors::read(&next).ok_or_else(bad)).transpose()?)
                    }
                    PresenceAsk::Leave { .. } => unreachable!("taken above"),
                }
            }
        };
        Ok(Effect::Presence { id, channel, wish: Box::new(wish) })
    }

    fn entry(&self, connection: &ConnectionId, data: Option<Box<RawValue>>) -> Result<Entry, Refusal> {
        let Identity::Client(identity) = &self.grant.identity else { return Err(anonymous()) };
        let client = identity.client.clone().ok_or_else(anonymous)?;
        let info = identity.info.as_deref().map(compact);
        Ok(Entry { connection: connection.clone(), client, data: checked(data)?, info })
    }

    fn begin_to_enter(&mut self, channel: &ChannelName) -> Result<(), Refusal> {
        let most = self.grant.profile.limits.channels_per_connection as usize;
        if !self.memberships.0.contains_key(channel) && self.memberships.0.len() >= most {
            return Err(Refusal::new(ErrorCode::ChannelLimit, format!("a connection may enter {most} channels")));
        }
        self.memberships.0.entry(channel.clone()).or_default().entering += 1;
        Ok(())
    }

    /// Takes the connection out of the channels where it no longer has the right to be.
    pub(super) fn end_lost_memberships(&mut self, effects: &mut Effects) {
        let Open { grant, memberships, .. } = self;
        memberships.0.retain(|channel, _| {
            let keeps = grant.rights(channel).has(Right::Presence);
            if !keeps {
                effects.push(Effect::Withdraw(channel.clone()));
            }
            keeps
        });
    }

    /// Takes the connection out of all channels.
    pub(super) fn end_memberships(&mut self, effects: &mut Effects) {
        effects.extend(self.memberships.0.drain().map(|(channel, _)| Effect::Withdraw(channel)));
    }
}

impl Connection {
    /// A wish was granted or not: answer.
    pub(super) fn presence_done(
        &mut self,
        id: u32,
        channel: ChannelName,
        was_to_enter: bool,
        outcome: Result<PresenceDone, Refusal>,
        effects: &mut Effects,
    ) {
        let Phase::Open(open) = &mut self.phase else { return };
        let memberships = &mut open.memberships.0;
        if was_to_enter && let Some(membership) = memberships.get_mut(&channel) {
            membership.entering = membership.entering.saturating_sub(1);
            membership.has_entered |= outcome.is_ok();
            if !membership.has_entered && membership.entering == 0 {
                memberships.remove(&channel);
            }
        }
        let answer = match outcome {
            Ok(PresenceDone::Entered) if !memberships.contains_key(&channel) => {
                // The right went while it entered.
                effects.push(Effect::Withdraw(channel.clone()));
                error_text(id, &missing(&channel).to_wire())
            }
            Ok(PresenceDone::Left) => {
                if let Some(membership) = memberships.get_mut(&channel) {
                    membership.has_entered = false;
                    if membership.entering == 0 {
                        memberships.remove(&channel);
                    }
                }
                ok_text(id, &serde_json::json!({}))
            }
            Ok(PresenceDone::Entered | PresenceDone::Updated) => ok_text(id, &serde_json::json!({})),
            Ok(PresenceDone::Listed(page)) => {
                let items = page.items.iter().map(crate::presence::Member::to_item).collect();
                let next = page.next.as_ref().map(cursors::write);
                return effects.push(Effect::SendPage(ok_text(id, &MemberList { items, count: page.count, next })));
            }
            Err(refusal) => error_text(id, &refusal.to_wire()),
        };
        effects.push(Effect::Send(answer));
    }
}

fn missing(channel: &ChannelName) -> Refusal {
    Refusal::new(ErrorCode::Forbidden, format!("the right `presence` on `{channel}` is missing"))
}

fn anonymous() -> Refusal {
    Refusal::new(ErrorCode::Forbidden, "only a connection whose token names a client (`sub`) can enter")
}

/// Data on one line, if it is not too large.
fn checked(data: Option<Box<RawValue>>) -> Result<Option<Box<RawValue>>, Refusal> {
    let data = data.as_deref().map(compact);
    match &data {
        Some(text) if text.get().len() > DATA_BYTES => Err(Refusal::new(
            ErrorCode::MessageTooLarge,
            format!("`data` is {} bytes; presence allows {DATA_BYTES}", text.get().len()),
        )),
        _ => Ok(data),
    }
}
