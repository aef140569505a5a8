//! Subscribing and unsubscribing.

use fanfare_protocol::{
    ChannelName, ErrorCode,
    pusher::{Access, PusherChannel, Said},
};

use super::{Effect, Effects, Member, Session, known, say, say_error};
use crate::{Refusal, capabilities::Right, grants::Grant};

/// A channel that is being subscribed, or is.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) channel: PusherChannel,
    /// As whom, on a channel with members.
    pub(super) member: Option<Member>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// What comes of it is not known yet; the client may have changed its mind.
    Joining {
        is_unwanted: bool,
        /// What it wants when that is done.
        again: Option<Box<Join>>,
    },
    Joined,
}

impl Channel {
    pub(super) fn is_joined(&self) -> bool {
        matches!(self.state, State::Joined)
    }
}

/// What is to be subscribed.
#[derive(Debug, Clone)]
pub struct Join {
    /// The channel.
    pub channel: PusherChannel,
    /// The signature to be looked at, and what was signed with it; `None` where none is needed.
    pub auth: Option<(String, Option<String>)>,
    /// As whom, on a channel with members.
    pub member: Option<Member>,
}

/// Why a channel was not subscribed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// `AuthError`, `LimitReached`, or what else.
    pub kind: &'static str,
    /// For whoever wrote the app.
    pub error: String,
    /// As of HTTP.
    pub status: u16,
}

impl Rejected {
    /// The signature, or its absence, is to blame.
    pub fn auth(error: impl Into<String>) -> Self {
        Self { kind: "AuthError", error: error.into(), status: 401 }
    }

    fn invalid(error: impl Into<String>) -> Self {
        Self { kind: "InvalidRequest", error: error.into(), status: 400 }
    }
}

impl From<Refusal> for Rejected {
    fn from(refusal: Refusal) -> Self {
        let status = refusal.code.row().status;
        let kind = match refusal.code {
            ErrorCode::PresenceLimit | ErrorCode::ChannelLimit => "LimitReached",
            _ if matches!(status, 401 | 403) => "AuthError",
            _ => "ServerError",
        };
        Self { kind, error: refusal.message, status }
    }
}

impl Session {
    pub(super) fn subscribe(&mut self, name: &str, auth: String, data: Option<String>, effects: &mut Effects) {
        let join = match self.checked(name, auth, data) {
            Ok(join) => join,
            Err(rejected) => return refuse(name, &rejected, effects),
        };
        match self.channels.get_mut(&join.channel.name) {
            None => self.begin(join, effects),
            Some(Channel { state: State::Joining { is_unwanted: true, again }, .. }) => *again = Some(Box::new(join)),
            Some(_) => say_error(&format!("the connection is subscribed to `{name}` already"), None, effects),
        }
    }

    fn begin(&mut self, join: Join, effects: &mut Effects) {
        let state = State::Joining { is_unwanted: false, again: None };
        let channel = Channel { channel: join.channel.clone(), member: join.member.clone(), state };
        self.channels.insert(join.channel.name.clone(), channel);
        effects.push(Effect::Join(Box::new(join)));
    }

    /// What is wanted, as far as it can be judged without looking anything up.
    fn checked(&self, name: &str, auth: String, data: Option<String>) -> Result<Join, Rejected> {
        let channel = PusherChannel::parse(name).map_err(|bad| Rejected::invalid(bad.to_string()))?;
        let grant = self.grant().ok_or_else(|| Rejected::auth("the connection is not open"))?;
        let most = grant.profile.limits.channels_per_connection as usize;
        if self.channels.len() >= most && !self.channels.contains_key(&channel.name) {
            let why = format!("a connection may subscribe to {most} channels");
            return Err(Refusal::new(ErrorCode::ChannelLimit, why).into());
        }
        allowed(grant, &channel)?;
        let member = match (channel.access, &data) {
            (Access::Presence, Some(data)) => Some(Member::read(data).map_err(Rejected::invalid)?),
            (Access::Presence, None) => {
                let why = "a presence channel needs `channel_data`, or a connection that is signed in";
                Some(self.user().ok_or_else(|| Rejected::auth(why))?.member.clone())
            }
            _ => None,
        };
        match channel.access {
            Access::Public => Ok(Join { channel, auth: None, member }),
            Access::User if self.user().map(|user| user.member.client.as_str()) == channel.user() => {
                Ok(Join { channel, auth: None, member })
            }
            Access::User => Err(Rejected::auth("only a connection that is signed in as this user may subscribe")),
            _ if auth.is_empty() => Err(Rejected::auth("the channel needs a signature: `auth` is missing")),
            _ => Ok(Join { channel, auth: Some((auth, data)), member }),
        }
    }

    pub(super) fn unsubscribe(&mut self, name: &str, effects: &mut Effects) {
        let Some(channel) = known(name) else { return };
        match self.channels.get_mut(&channel.name).map(|there| &mut there.state) {
            Some(State::Joining { is_unwanted, again }) => {
                *is_unwanted = true;
                *again = None;
            }
            Some(State::Joined) => {
                let member = self.channels.remove(&channel.name).and_then(|there| there.member);
                effects.push(Effect::Part(channel.name, member));
            }
            None => {}
        }
    }

    pub(super) fn joined(&mut self, name: ChannelName, outcome: Result<(), Rejected>, effects: &mut Effects) {
        let Some(there) = self.channels.get_mut(&name) else { return };
        let State::Joining { is_unwanted, again } = &mut there.state else { return };
        let (is_unwanted, again) = (*is_unwanted, again.take());
        match outcome {
            Ok(()) if !is_unwanted => {
                self.is_authorized |= there.channel.takes_client_events();
                there.state = State::Joined;
                return;
            }
            Ok(()) => effects.push(Effect::Part(name.clone(), there.member.take())),
            Err(_) if is_unwanted => {}
            Err(rejected) => refuse(name.as_str(), &rejected, effects),
        }
        self.channels.remove(&name);
        if let Some(again) = again {
            self.begin(*again, effects);
        }
    }

    /// The app was changed: what it no longer allows ends.
    pub(super) fn drop_what_is_lost(&mut self, effects: &mut Effects) {
        let Some(grant) = self.grant() else { return };
        let judged = self.channels.values().filter(|there| there.is_joined());
        let lost = judged.filter_map(|there| Some((there.channel.name.clone(), allowed(grant, &there.channel).err()?)));
        let mut lost: Vec<_> = lost.collect();
        lost.sort_by(|left, right| left.0.cmp(&right.0));
        for (name, rejected) in lost {
            let member = self.channels.remove(&name).and_then(|there| there.member);
            refuse(name.as_str(), &rejected, effects);
            effects.push(Effect::Part(name, member));
        }
    }
}

/// Whether the connection's key, and the channel's rule, let anybody subscribe.
fn allowed(grant: &Grant, channel: &PusherChannel) -> Result<(), Rejected> {
    let rights = grant.ceiling().rights(&channel.name);
    let lacks = |right: Right| {
        let why = format!("the key of this connection lacks the right `{}` on the channel", right.name());
        Err(Rejected::from(Refusal::new(ErrorCode::Forbidden, why)))
    };
    if !rights.has(Right::Subscribe) {
        return lacks(Right::Subscribe);
    }
    if channel.access == Access::Presence {
        if !rights.has(Right::Presence) {
            return lacks(Right::Presence);
        }
        if !grant.profile.rule(&channel.name).presence {
            return Err(Refusal::new(ErrorCode::Forbidden, "the channel's rule has presence off").into());
        }
    }
    Ok(())
}

fn refuse(channel: &str, Rejected { kind, error, status }: &Rejected, effects: &mut Effects) {
    effects.push(say(&Said::Refused { channel, kind, error, status: *status }));
}
