//! The state machine of one Pusher connection, free of clocks, sockets and waiting: `apply(command, now)` gives what is to be done, in order.

use std::{collections::HashMap, sync::Arc, time::Duration};

use fanfare_protocol::{
    ChannelName, ClientName, ErrorCode,
    pusher::{CloseCode, PusherChannel, Request, Said},
};
use serde::{Deserialize, Serialize};

use super::socket_id;
use crate::{Refusal, Timestamp, directory::AppProfile, grants::Grant, ids::ConnectionId};

mod client_events;
mod members;
mod sign_ins;
mod subscriptions;

use client_events::Pace;
pub use client_events::{ClientEvent, MAX_EVENT_BYTES};
pub use members::{MAX_MEMBERS, Member};
pub use sign_ins::{MAX_WATCHED, SignIn, User};
use subscriptions::Channel;
pub use subscriptions::{Join, Rejected};

/// How Pusher connections are kept alive.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PusherConfig {
    /// A connection that is silent for this long is pinged; clients are told it, and ask for a sign of life themselves after it.
    #[serde(with = "humantime_serde")]
    pub activity_timeout: Duration,
    /// A pinged connection that stays silent for this long is closed with 4201.
    #[serde(with = "humantime_serde")]
    pub pong_timeout: Duration,
    /// Of an app with authorized connections, one that neither signs in nor subscribes to a private channel for this long is closed.
    #[serde(with = "humantime_serde")]
    pub authorization_timeout: Duration,
}

impl Default for PusherConfig {
    fn default() -> Self {
        Self {
            activity_timeout: Duration::from_secs(120),
            pong_timeout: Duration::from_secs(30),
            authorization_timeout: Duration::from_secs(30),
        }
    }
}

/// What happened.
#[derive(Debug)]
pub enum Command {
    /// The app's key was looked at.
    Opened(Result<Grant, Refusal>),
    /// A whole text message arrived.
    Text(String),
    /// A text message arrived while the connection's rate was used up.
    TooFast,
    /// A text message arrived while the node cannot tell what was revoked.
    Unavailable,
    /// A binary message arrived.
    Binary,
    /// A control frame arrived, which counts as life.
    Heard,
    /// A channel is subscribed, which the client was told; or it is not.
    Joined(ChannelName, Result<(), Rejected>),
    /// A signature of a user's was looked at.
    SignedIn(Box<User>, Result<(), Refusal>),
    /// Users cannot be watched now.
    WatchFailed(Refusal),
    /// A client event was not taken.
    ClientEventRefused(Refusal),
    /// The app was changed; what it no longer allows ends.
    AppChanged(Result<Arc<AppProfile>, Refusal>),
    /// A channel's history was replaced.
    EpochChanged(ChannelName),
    /// The connection must end.
    End(Refusal),
    /// The node is shutting down: the connection is served this long and then closed.
    Drain {
        /// How long.
        after: Duration,
    },
    /// The deadline has come.
    Tick,
}

/// What is to be done, in the order given.
#[derive(Debug)]
pub enum Effect {
    /// Send a text message.
    Send(String),
    /// Subscribe, tell the client, and come back with [`Command::Joined`].
    Join(Box<Join>),
    /// Stop delivering a channel; a member leaves it.
    Part(ChannelName, Option<Member>),
    /// Deliver a channel on from its head, whatever it was before.
    Reopen(ChannelName),
    /// Look at a signature, and come back with [`Command::SignedIn`].
    SignIn(Box<SignIn>),
    /// Tell the client which of the users that it watches have a signed-in connection, now and whenever that changes.
    Watch(Vec<String>),
    /// Send an event to a channel's other subscribers; if it cannot be, come back with [`Command::ClientEventRefused`].
    Relay(Box<ClientEvent>),
    /// Close; nothing is sent after it. The reason is for people.
    Close(CloseCode, String, ErrorCode),
}

type Effects = Vec<Effect>;

/// Messages that may come too fast before the connection is closed.
const MAX_STRIKES: u32 = 300;

/// One client's connection.
#[derive(Debug)]
pub struct Session {
    socket_id: String,
    activity_timeout: Duration,
    pong_timeout: Duration,
    /// Whether an error is told before the close that it ends in, as in versions before 6.
    tells_errors: bool,
    phase: Phase,
    channels: HashMap<ChannelName, Channel>,
    user: Option<User>,
    is_signing_in: bool,
    pace: Pace,
    strikes: u32,
    heard_at: Timestamp,
    pinged_at: Option<Timestamp>,
    /// When a connection that is not authorized by then is closed, if its app wants that.
    authorized_by: Timestamp,
    is_authorized: bool,
    served_until: Option<Timestamp>,
}

#[derive(Debug)]
enum Phase {
    /// The app's key is looked at.
    Opening,
    Open(Box<Grant>),
    Closed,
}

impl Session {
    /// A connection whose handshake is done; `version` is the protocol's.
    pub fn new(connection: &ConnectionId, version: u32, config: &PusherConfig, now: Timestamp) -> Self {
        Self {
            socket_id: socket_id(connection).unwrap_or_default(),
            activity_timeout: config.activity_timeout,
            pong_timeout: config.pong_timeout,
            tells_errors: version < 6,
            phase: Phase::Opening,
            channels: HashMap::new(),
            user: None,
            is_signing_in: false,
            pace: Pace::default(),
            strikes: 0,
            heard_at: now,
            pinged_at: None,
            authorized_by: now.after(config.authorization_timeout),
            is_authorized: false,
            served_until: None,
        }
    }

    /// Takes what happened and says what is to be done.
    pub fn apply(&mut self, command: Command, now: Timestamp) -> Effects {
        let mut effects = Vec::new();
        if matches!(self.phase, Phase::Closed) {
            return effects;
        }
        match command {
            Command::Opened(outcome) => self.opened(outcome, now, &mut effects),
            Command::Text(text) => {
                self.strikes = self.strikes.saturating_sub(1);
                self.heard(now);
                self.text(&text, now, &mut effects);
            }
            Command::TooFast => {
                self.heard(now);
                self.too_fast(&mut effects);
            }
            Command::Unavailable => {
                self.heard(now);
                say_error("the server cannot serve this now; try again", None, &mut effects);
            }
            Command::Binary => {
                self.heard(now);
                say_error("binary messages are not part of the protocol; send text", None, &mut effects);
            }
            Command::Heard => self.heard(now),
            Command::Joined(channel, outcome) => self.joined(channel, outcome, &mut effects),
            Command::SignedIn(user, outcome) => self.signed_in(*user, outcome, &mut effects),
            Command::WatchFailed(refusal) => {
                say_error(&format!("the watchlist cannot be watched now: {}", refusal.message), None, &mut effects)
            }
            Command::ClientEventRefused(refusal) => {
                say_error(&refusal.message, Some(CloseCode::CLIENT_EVENT_REFUSED), &mut effects)
            }
            Command::AppChanged(outcome) => self.app_changed(outcome, &mut effects),
            Command::EpochChanged(channel) => {
                if self.channels.contains_key(&channel) {
                    effects.push(Effect::Reopen(channel));
                }
            }
            Command::End(refusal) => self.end(&refusal, &mut effects),
            Command::Drain { after } => self.drain(after, now, &mut effects),
            Command::Tick => self.tick(now, &mut effects),
        }
        effects
    }

    /// When [`Command::Tick`] is due next; `None` when closed.
    pub fn deadline(&self) -> Option<Timestamp> {
        let Phase::Open(grant) = &self.phase else {
            return matches!(self.phase, Phase::Opening).then(|| self.heard_at.after(self.pong_timeout));
        };
        let authorized_by =
            (grant.profile.app.pusher.authorized_connections && !self.is_authorized).then_some(self.authorized_by);
        let life = match self.pinged_at {
            Some(pinged_at) => pinged_at.after(self.pong_timeout),
            None => self.heard_at.after(self.activity_timeout),
        };
        [authorized_by, self.served_until].into_iter().flatten().chain([life]).min()
    }

    /// Whether it was closed by the machine.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// The grant of an open connection.
    pub fn grant(&self) -> Option<&Grant> {
        match &self.phase {
            Phase::Open(grant) => Some(grant),
            _ => None,
        }
    }

    /// Its id as Pusher's clients and libraries know it.
    pub fn socket_id(&self) -> &str {
        &self.socket_id
    }

    /// As whom it is signed in.
    pub fn user(&self) -> Option<&User> {
        self.user.as_ref()
    }

    /// The channels that it is a member of.
    pub fn memberships(&self) -> impl Iterator<Item = (&ChannelName, &Member)> {
        self.channels.iter().filter_map(|(name, channel)| Some((name, channel.member.as_ref()?)))
    }

    fn heard(&mut self, now: Timestamp) {
        self.heard_at = now;
        self.pinged_at = None;
    }

    fn opened(&mut self, outcome: Result<Grant, Refusal>, now: Timestamp, effects: &mut Effects) {
        let grant = match outcome {
            Ok(grant) => grant,
            Err(refusal) => return self.end(&refusal, effects),
        };
        self.heard(now);
        self.phase = Phase::Open(Box::new(grant));
        let activity_timeout = self.activity_timeout.as_secs().max(1);
        effects.push(say(&Said::Established { socket_id: &self.socket_id, activity_timeout }));
    }

    fn text(&mut self, text: &str, now: Timestamp, effects: &mut Effects) {
        if !matches!(self.phase, Phase::Open(_)) {
            return say_error("wait for `pusher:connection_established`", None, effects);
        }
        match Request::read(text) {
            Ok(Request::Ping) => effects.push(say(&Said::Pong)),
            Ok(Request::Pong) => {}
            Ok(Request::Subscribe { channel, auth, channel_data }) => {
                self.subscribe(&channel, auth, channel_data, effects)
            }
            Ok(Request::Unsubscribe { channel }) => self.unsubscribe(&channel, effects),
            Ok(Request::SignIn { auth, user_data }) => self.sign_in(auth, user_data, effects),
            Ok(Request::ClientEvent { event, channel, data }) => self.client_event(event, &channel, data, now, effects),
            Ok(Request::Other { event }) if event.starts_with("pusher") => {
                say_error(&format!("`{event}` is nothing that a client sends"), None, effects)
            }
            Ok(Request::Other { event }) => {
                let why = format!("`{event}` is no client event, whose names begin with `client-`");
                say_error(&why, Some(CloseCode::CLIENT_EVENT_REFUSED), effects)
            }
            Err(unreadable) => say_error(&unreadable.0, None, effects),
        }
    }

    fn too_fast(&mut self, effects: &mut Effects) {
        self.strikes += 1;
        if self.strikes > MAX_STRIKES {
            return self.end(&Refusal::new(ErrorCode::RateLimited, "too many messages a second"), effects);
        }
        let code = Some(CloseCode::CLIENT_EVENT_REFUSED);
        say_error("the connection sends too many messages a second; this one was not taken", code, effects);
    }

    fn drain(&mut self, after: Duration, now: Timestamp, effects: &mut Effects) {
        let end = now.after(after);
        if self.served_until.is_some_and(|told| told <= end) {
            return;
        }
        self.served_until = Some(end);
        if after.is_zero() {
            self.end(&Refusal::plain(ErrorCode::Draining), effects);
        }
    }

    fn tick(&mut self, now: Timestamp, effects: &mut Effects) {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        let Phase::Open(grant) = &self.phase else {
            return self.end(&Refusal::plain(ErrorCode::Unavailable), effects);
        };
        if self.served_until.is_some_and(|end| end <= now) {
            return self.end(&Refusal::plain(ErrorCode::Draining), effects);
        }
        if grant.profile.app.pusher.authorized_connections && !self.is_authorized && self.authorized_by <= now {
            let why = "the connection did not sign in, nor subscribe to a private channel, in time";
            return self.end(&Refusal::new(ErrorCode::Forbidden, why), effects);
        }
        match self.pinged_at {
            Some(pinged_at) if pinged_at.after(self.pong_timeout) <= now => {
                self.end(&Refusal::plain(ErrorCode::NoPong), effects)
            }
            None if self.heard_at.after(self.activity_timeout) <= now => {
                self.pinged_at = Some(now);
                effects.push(say(&Said::Ping));
            }
            _ => {}
        }
    }

    fn app_changed(&mut self, outcome: Result<Arc<AppProfile>, Refusal>, effects: &mut Effects) {
        let profile = match outcome {
            Ok(profile) => profile,
            Err(refusal) => return self.end(&refusal, effects),
        };
        if let Err(refusal) = super::require_pusher(&profile) {
            return self.end(&refusal, effects);
        }
        let Phase::Open(grant) = &mut self.phase else { return };
        grant.profile = profile;
        self.drop_what_is_lost(effects);
    }

    /// Closes with the code that stock clients do the right thing on.
    fn end(&mut self, refusal: &Refusal, effects: &mut Effects) {
        let code = match refusal.code {
            ErrorCode::NotFound => CloseCode::NO_APP,
            // What was said before it was open is said of the key.
            ErrorCode::BadKey if matches!(self.phase, Phase::Opening) => CloseCode::NO_APP,
            other => CloseCode::of(other),
        };
        if self.tells_errors {
            say_error(&refusal.message, Some(code), effects);
        }
        // Whoever is sent to another node comes back at once, and is not to be seen leaving.
        if refusal.code != ErrorCode::Draining {
            let mut members: Vec<_> =
                self.memberships().map(|(name, member)| (name.clone(), Some(member.clone()))).collect();
            members.sort_by(|left, right| left.0.cmp(&right.0));
            effects.extend(members.into_iter().map(|(name, member)| Effect::Part(name, member)));
        }
        effects.push(Effect::Close(code, refusal.message.clone(), refusal.code));
        self.phase = Phase::Closed;
    }
}

fn say(said: &Said<'_>) -> Effect {
    Effect::Send(said.to_text())
}

fn say_error(message: &str, code: Option<CloseCode>, effects: &mut Effects) {
    effects.push(say(&Said::Error(message, code)));
}

/// Reads a channel's name as a client wrote it.
fn known(text: &str) -> Option<PusherChannel> {
    PusherChannel::parse(text).ok()
}

/// The client that a user is for everybody else.
fn client_of(user: &str) -> Option<ClientName> {
    ClientName::parse(user).ok()
}

#[cfg(test)]
mod tests;
