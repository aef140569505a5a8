//! Client events: what a client sends to the others who subscribe.

use std::{collections::VecDeque, time::Duration};

use fanfare_protocol::{
    ClientName, EventName,
    pusher::{CloseCode, PusherChannel},
};
use serde_json::value::RawValue;

use super::{Effect, Effects, Session, known, say_error};
use crate::{Timestamp, capabilities::Right};

/// The most bytes of an event's data, a client's or a library's.
pub const MAX_EVENT_BYTES: usize = 10_240;
/// Events that a connection may send within [`WITHIN`].
const MOST: usize = 10;
const WITHIN: Duration = Duration::from_secs(1);

/// An event on its way to the others.
#[derive(Debug)]
pub struct ClientEvent {
    /// Where.
    pub channel: PusherChannel,
    /// Its name.
    pub name: EventName,
    /// Its data, as sent.
    pub data: Box<RawValue>,
    /// Who sends it: the member, or who is signed in.
    pub client: Option<ClientName>,
}

/// When the last events were sent.
#[derive(Debug, Default)]
pub(super) struct Pace(VecDeque<Timestamp>);

impl Pace {
    /// Takes one, if there is room.
    fn take(&mut self, now: Timestamp) -> bool {
        while self.0.front().is_some_and(|sent| now.since(*sent) >= WITHIN) {
            self.0.pop_front();
        }
        let has_room = self.0.len() < MOST;
        if has_room {
            self.0.push_back(now);
        }
        has_room
    }
}

impl Session {
    pub(super) fn client_event(
        &mut self,
        event: String,
        channel: &str,
        data: Box<RawValue>,
        now: Timestamp,
        effects: &mut Effects,
    ) {
        match self.checked_event(&event, channel, data, now) {
            Ok(event) => effects.push(Effect::Relay(Box::new(event))),
            Err(why) => {
                say_error(&format!("client event refused: {why}"), Some(CloseCode::CLIENT_EVENT_REFUSED), effects)
            }
        }
    }

    fn checked_event(
        &mut self,
        event: &str,
        name: &str,
        data: Box<RawValue>,
        now: Timestamp,
    ) -> Result<ClientEvent, String> {
        let grant = self.grant().ok_or("the connection is not open")?;
        if !grant.profile.app.pusher.client_events {
            return Err("the app has client events switched off".to_owned());
        }
        let channel = known(name).filter(PusherChannel::takes_client_events);
        let channel = channel.ok_or("clients send to private and presence channels only")?;
        let there = self.channels.get(&channel.name).filter(|there| there.is_joined());
        let there = there.ok_or_else(|| format!("the connection is not subscribed to `{name}`"))?;
        let rule = grant.profile.rule(&channel.name);
        if !rule.client_publish || !grant.ceiling().rights(&channel.name).has(Right::Publish) {
            return Err("clients may not publish to this channel".to_owned());
        }
        let bad = |bad: fanfare_protocol::BadName| bad.to_string();
        let event = EventName::parse(event).map_err(bad)?;
        if data.get().len() > MAX_EVENT_BYTES {
            return Err(format!("its data has {} bytes; {MAX_EVENT_BYTES} are allowed", data.get().len()));
        }
        let member = there.member.as_ref().map(|member| member.client.clone());
        let client = member.or_else(|| self.user().map(|user| user.member.client.clone()));
        if !self.pace.take(now) {
            return Err(format!("a connection may send {MOST} a second"));
        }
        Ok(ClientEvent { channel, name: event, data, client })
    }
}
