//! Connections: the state machine of one client's socket, free of clocks, sockets and waiting.
//!
//! `apply(command, now)` takes what happened and gives back what is to be done, in order. Every request is answered
//! exactly once: at once, or when the command that completes it arrives. The invariants are held to by a property test.

use std::time::Duration;

use fanfare_protocol::{ChannelName, ErrorCode, requests::Range, requests::Start};
use serde::{Deserialize, Serialize};

use crate::{Refusal, Timestamp, grants::Grant, ids::ConnectionId, publishing::NewPublish};

mod commands;
mod heartbeat;
mod presence;
mod requests;
mod subscriptions;
mod tokens;

pub use commands::Command;
use heartbeat::Heartbeat;
pub use presence::{PresenceDone, PresenceWish};
use subscriptions::Subscriptions;

/// How connections are kept alive and how long they may take.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionConfig {
    /// A connection that is silent for this long is pinged.
    #[serde(with = "humantime_serde")]
    pub ping_interval: Duration,
    /// A pinged connection that stays silent for this long is closed as `no_pong`.
    #[serde(with = "humantime_serde")]
    pub pong_timeout: Duration,
    /// A socket that has not sent `connect` for this long is closed as `connect_timeout`; one whose credentials could not be checked for as long after
    /// that, as `unavailable`.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
        }
    }
}

/// Where a subscription starts, as its answer tells.
#[derive(Debug, Clone)]
pub struct Located {
    /// What the client is told.
    pub answer: fanfare_protocol::events::Subscribed,
    /// The serial after which delivery begins.
    pub position: fanfare_protocol::Serial,
}

/// What is to be done, in the order given.
#[derive(Debug)]
pub enum Effect {
    /// Send a text message.
    Send(String),
    /// Send a page of history: large, asked for, and therefore paced apart from what else waits.
    SendPage(String),
    /// Look at credentials, take a place among the app's connections, and come back with [`Command::Authenticated`].
    Authenticate(Credential),
    /// Look at a fresh token and come back with [`Command::Refreshed`].
    Refresh {
        /// The request.
        id: u32,
        /// Which of the connection's fresh tokens it is: of several that are looked at at once, the last one stands.
        turn: u32,
        /// The token.
        token: String,
    },
    /// Find where a subscription starts and come back with [`Command::Located`].
    Locate {
        /// The request.
        id: u32,
        /// The channel.
        channel: ChannelName,
        /// Where it is to start.
        start: Start,
        /// Whether presence events are wanted, none of which may be missed from the answer on.
        presence: bool,
    },
    /// Begin to deliver a channel after a position.
    Deliver {
        /// The channel.
        channel: ChannelName,
        /// The position.
        located: Located,
        /// Whether presence events are wanted too.
        presence: bool,
    },
    /// Tell a channel's counts too, from now until it is stopped.
    WatchOccupancy(ChannelName),
    /// Stop delivering a channel, and why: `unsubscribed`, or an error code.
    Stop(ChannelName, &'static str),
    /// Take note that a subscription was refused.
    NoteRefusal(ChannelName, ErrorCode),
    /// Publish and come back with [`Command::Published`].
    Publish {
        /// The request.
        id: u32,
        /// The message.
        publish: Box<NewPublish>,
        /// What the answer waits for.
        ack: fanfare_protocol::requests::Ack,
    },
    /// Do something about presence, in the order asked, and come back with [`Command::PresenceDone`].
    Presence {
        /// The request.
        id: u32,
        /// The channel.
        channel: ChannelName,
        /// What is wanted.
        wish: Box<PresenceWish>,
    },
    /// Take the connection out of a channel's presence.
    Withdraw(ChannelName),
    /// Read a page and come back with [`Command::HistoryRead`].
    ReadHistory {
        /// The request.
        id: u32,
        /// The channel.
        channel: ChannelName,
        /// Which page.
        range: Range,
        /// How many items at most.
        limit: u32,
    },
    /// Deliver nothing until [`Effect::Resume`]; positions stay.
    Hold,
    /// Deliver again, from where each subscription stands.
    Resume,
    /// Close with the code's close code; nothing is sent after it.
    Close(ErrorCode),
}

/// What a `connect` brings.
#[derive(Debug)]
pub enum Credential {
    /// A JWT, and the app that it must be of, if named.
    Token {
        /// The token.
        token: String,
        /// The app.
        app: Option<String>,
    },
    /// A key's id: public channels only.
    PublicKey {
        /// The key's id.
        key: String,
        /// The app that it must be of, if named.
        app: Option<String>,
    },
}

/// What comes of commands: effects, collected in order.
type Effects = Vec<Effect>;

/// One client's connection.
#[derive(Debug)]
pub struct Connection {
    id: ConnectionId,
    heartbeat: Heartbeat,
    bearer: Option<String>,
    origin: Option<String>,
    is_one_way: bool,
    phase: Phase,
    strikes: u32,
    /// Until when it is served, once its node is shutting down.
    served_until: Option<Timestamp>,
}

#[derive(Debug)]
enum Phase {
    /// Nothing but `connect` is taken, which may take so long to come.
    Fresh { until: Timestamp, timeout: Duration },
    /// Credentials are being looked at, until then at most; what comes meanwhile waits.
    Connecting { id: u32, until: Timestamp, waiting: Vec<String> },
    /// Everything is taken.
    Open(Box<Open>),
    /// Nothing is taken any more.
    Closed,
}

/// What an open connection holds.
#[derive(Debug)]
struct Open {
    grant: Grant,
    subscriptions: Subscriptions,
    memberships: presence::Memberships,
    token: tokens::TokenWatch,
    turns: tokens::Turns,
}

/// Messages that may wait while credentials are looked at.
const MAX_WAITING: usize = 64;

impl Connection {
    /// A connection whose socket has just opened; `bearer` is the token of the handshake's `Authorization`, if it had one.
    pub fn new(id: ConnectionId, config: &ConnectionConfig, bearer: Option<String>, now: Timestamp) -> Self {
        Self {
            id,
            heartbeat: Heartbeat::new(config, now),
            bearer,
            origin: None,
            is_one_way: false,
            phase: Phase::Fresh { until: now.after(config.connect_timeout), timeout: config.connect_timeout },
            strikes: 0,
            served_until: None,
        }
    }

    /// The same from a web page of that origin, as the browser named it: the app must allow it, now and for as long as it lasts.
    pub fn from_origin(self, origin: Option<String>) -> Self {
        Self { origin, ..self }
    }

    /// The same on a wire that nothing comes back on: a fresh token cannot be sent, so the connection ends with the one it has.
    pub fn one_way(self) -> Self {
        Self { is_one_way: true, ..self }
    }

    /// Takes what happened and says what is to be done.
    pub fn apply(&mut self, command: Command, now: Timestamp) -> Effects {
        let mut effects = Vec::new();
        if matches!(self.phase, Phase::Closed) {
            return effects;
        }
        match command {
            Command::Text(text) => {
                self.strikes = self.strikes.saturating_sub(1);
                self.heartbeat.heard(now);
                self.text(text, now, &mut effects);
            }
            Command::TooFast { text, retry_after } => {
                self.heartbeat.heard(now);
                self.too_fast(&text, retry_after, &mut effects);
            }
            Command::Unavailable { text } => {
                self.heartbeat.heard(now);
                self.unavailable(&text, &mut effects);
            }
            Command::Binary => self.close(&Refusal::plain(ErrorCode::BinaryFrame), &mut effects),
            Command::Heard => self.heartbeat.heard(now),
            Command::Authenticated(outcome) => self.authenticated(outcome, now, &mut effects),
            Command::Refreshed { id, turn, outcome } => self.refreshed(id, turn, outcome, now, &mut effects),
            Command::Located { id, channel, outcome } => self.located(id, channel, outcome, &mut effects),
            Command::Published { id, with_place, outcome } => {
                requests::published(id, with_place, outcome, &mut effects)
            }
            Command::HistoryRead { id, channel, outcome } => {
                requests::history_read(id, &channel, outcome, &mut effects)
            }
            Command::PresenceDone { id, channel, was_to_enter, outcome } => {
                self.presence_done(id, channel, was_to_enter, outcome, &mut effects)
            }
            Command::AppChanged(outcome) => self.app_changed(outcome, &mut effects),
            Command::EpochChanged(channel) => self.epoch_changed(channel, &mut effects),
            Command::End(refusal) => self.close(&refusal, &mut effects),
            Command::Drain { after } => self.drain(after, now, &mut effects),
            Command::Expire { after } => self.expire(after, now, &mut effects),
            Command::Tick => self.tick(now, &mut effects),
        }
        effects
    }

    /// When [`Command::Tick`] is due next; `None` when closed.
    pub fn deadline(&self) -> Option<Timestamp> {
        match &self.phase {
            Phase::Closed => None,
            Phase::Fresh { until, .. } | Phase::Connecting { until, .. } => Some(*until),
            Phase::Open(open) => {
                let others = [open.token.deadline(), self.served_until];
                others.into_iter().flatten().chain([self.heartbeat.deadline()]).min()
            }
        }
    }

    /// Whether it was closed by the machine.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// The grant of an open connection.
    pub fn grant(&self) -> Option<&Grant> {
        match &self.phase {
            Phase::Open(open) => Some(&open.grant),
            _ => None,
        }
    }

    fn tick(&mut self, now: Timestamp, effects: &mut Effects) {
        let open = match &mut self.phase {
            Phase::Fresh { until, .. } if *until <= now => {
                return self.close(&Refusal::plain(ErrorCode::ConnectTimeout), effects);
            }
            Phase::Connecting { id, until, .. } if *until <= now => {
                let id = *id;
                let refusal = Refusal::new(ErrorCode::Unavailable, "the credentials could not be checked in time")
                    .retry_after(Duration::from_secs(1));
                return self.refuse_and_close(id, &refusal, effects);
            }
            Phase::Open(open) => open,
            _ => return,
        };
        if self.served_until.is_some_and(|end| end <= now) {
            return self.close(&Refusal::plain(ErrorCode::Draining), effects);
        }
        let verdict = open.token.tick(now, effects);
        if verdict == tokens::Verdict::Over || self.is_one_way && open.token.is_expired() {
            return self.close(&Refusal::plain(ErrorCode::TokenExpired), effects);
        }
        if self.heartbeat.tick(now, effects) == heartbeat::Verdict::Silent {
            self.close(&Refusal::plain(ErrorCode::NoPong), effects);
        }
    }

    fn drain(&mut self, after: Duration, now: Timestamp, effects: &mut Effects) {
        let after = if matches!(self.phase, Phase::Open(_)) { after } else { Duration::ZERO };
        let end = now.after(after);
        if self.served_until.is_some_and(|told| told <= end) {
            return;
        }
        self.served_until = Some(end);
        let reason = ErrorCode::Draining.name().into();
        let reconnect = fanfare_protocol::events::Event::Reconnect { after_ms: after.as_millis() as u64, reason };
        effects.push(Effect::Send(fanfare_protocol::events::event_text(&reconnect)));
        if after.is_zero() {
            self.close(&Refusal::plain(ErrorCode::Draining), effects);
        }
    }

    /// Says why, then closes.
    fn close(&mut self, refusal: &Refusal, effects: &mut Effects) {
        if let Phase::Open(open) = &mut self.phase
            && !comes_back(refusal.code)
        {
            open.end_memberships(effects);
        }
        let event = fanfare_protocol::events::Event::Error { error: refusal.to_wire() };
        effects.push(Effect::Send(fanfare_protocol::events::event_text(&event)));
        effects.push(Effect::Close(refusal.code));
        self.phase = Phase::Closed;
    }
}

/// Whether whoever is closed with that code keeps what it had entered, if it comes back in time.
fn comes_back(code: ErrorCode) -> bool {
    code != ErrorCode::TokenExpired && code.row().retry != fanfare_protocol::errors::Retry::Never
}

#[cfg(test)]
mod tests;
