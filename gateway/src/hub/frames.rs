//! Frames of what a hub tells, encoded once for everyone who reads the same format.

use std::{cell::OnceCell, collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use fanfare_domain::{
    messages::{Envelope, Message},
    occupancy::Counts,
    presence::{Member, PresenceEvent},
};
use fanfare_protocol::{
    ChannelName, Serial,
    events::{Event, event_text, message_text},
    presence::PresenceAction,
    pusher::{self, Access, PusherChannel, Said},
    websocket::text_frame,
};
use serde_json::value::RawValue;

use crate::occupancy::Counted;

/// What the name of an event begins with that a Pusher client sends.
pub(crate) const CLIENT_EVENT: &str = "client-";
/// What the channels begin with whose members are the connections that are signed in as a user.
const ONLINE: &str = "#online-";

/// How a subscription's frames are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Format {
    /// As `fanfare.v1` has them; streams take their text.
    Native,
    /// As Pusher's protocol 7 has them.
    Pusher,
    /// As Pusher tells a signed-in user whether another one is: nothing but members coming and going.
    Watchlist,
}

/// A message, and its frame in each format that somebody here reads.
pub(super) struct Encoded {
    pub(super) envelope: Arc<Envelope>,
    native: OnceCell<Bytes>,
    pusher: OnceCell<Bytes>,
}

impl Encoded {
    pub(super) fn new(envelope: Arc<Envelope>) -> Self {
        Self { envelope, native: OnceCell::new(), pusher: OnceCell::new() }
    }

    pub(super) fn serial(&self) -> Option<Serial> {
        self.envelope.place.as_ref().map(|(_, serial)| *serial)
    }

    /// The frame, encoded when it is first asked for.
    pub(super) fn frame(&self, format: Format) -> Bytes {
        let cell = if format == Format::Native { &self.native } else { &self.pusher };
        let encode = || message(format, &self.envelope.channel, self.serial(), &self.envelope.message);
        cell.get_or_init(encode).clone()
    }

    /// About as many bytes as a frame has.
    pub(super) fn bytes(&self) -> usize {
        self.envelope.message.data.get().len() + FRAME_BYTES
    }
}

/// What a frame has beside the data, more or less.
const FRAME_BYTES: usize = 200;

/// The frame of a message.
pub(super) fn message(format: Format, channel: &ChannelName, serial: Option<Serial>, message: &Message) -> Bytes {
    if format == Format::Native {
        return text_frame(message_text(&message.to_item(channel, serial)).as_bytes());
    }
    let name = message.name.as_ref().map(|name| name.as_str());
    // What a client sends has no place, and says who sent it where there are members.
    let is_of_client = serial.is_none() && name.is_some_and(|name| name.starts_with(CLIENT_EVENT));
    let has_members = PusherChannel::parse(channel.as_str()).is_ok_and(|channel| channel.access == Access::Presence);
    let member = message.client.as_ref().filter(|_| has_members);
    text_frame(pusher::message_text(channel, name, &message.data, is_of_client, member).as_bytes())
}

/// The frame that tells whoever is excluded from a message of its serial, where that is told.
pub(super) fn skip(format: Format, channel: &ChannelName, serial: Serial) -> Option<Bytes> {
    native(format, || Event::Skip { channel: channel.clone(), serial })
}

/// The frame that tells which serials will never come, where that is told.
pub(super) fn gap(format: Format, channel: &ChannelName, from: Serial, to: Serial) -> Option<Bytes> {
    native(format, || Event::Gap { channel: channel.clone(), from, to })
}

fn native(format: Format, event: impl FnOnce() -> Event) -> Option<Bytes> {
    (format == Format::Native).then(|| text_frame(event_text(&event()).as_bytes()))
}

/// The frame of what a member did, where that is told.
fn presence(format: Format, event: &PresenceEvent) -> Option<Bytes> {
    let (channel, client) = (&event.place.channel, &event.entry.client);
    let is_member = event.action != PresenceAction::Leave;
    let text = match format {
        Format::Native => event.to_text(),
        // That a member says something else is nothing that these clients know.
        Format::Pusher | Format::Watchlist if event.action == PresenceAction::Update => return None,
        Format::Pusher if is_member => Said::MemberAdded(channel, client, said_of(&event.entry)).to_text(),
        Format::Pusher => Said::MemberRemoved(channel, client).to_text(),
        Format::Watchlist => {
            let user = [client.as_str()];
            let (online, offline): (&[&str], &[&str]) = if is_member { (&user, &[]) } else { (&[], &user) };
            Said::Watchlist { online, offline }.to_text()
        }
    };
    Some(text_frame(text.as_bytes()))
}

/// What Pusher's clients are told of a member: what its app says of it, or else what it says of itself.
fn said_of(entry: &fanfare_domain::presence::Entry) -> Option<&RawValue> {
    entry.info.as_deref().or(entry.data.as_deref())
}

/// The frame that tells a Pusher client that it is subscribed; with members, who they are.
pub(super) fn subscribed(channel: &ChannelName, members: Option<&[Member]>) -> Bytes {
    let of = |member: &'_ Member| -> (String, Option<Box<RawValue>>) {
        (member.entry.client.as_str().to_owned(), said_of(&member.entry).map(RawValue::to_owned))
    };
    let members: Option<BTreeMap<_, _>> = members.map(|members| members.iter().map(of).collect());
    let borrowed =
        members.as_ref().map(|members| members.iter().map(|(user, said)| (user.as_str(), said.as_deref())).collect());
    text_frame(Said::Subscribed(channel, borrowed).to_text().as_bytes())
}

/// The frame of a channel's counts, where they are told.
pub(super) fn occupancy(format: Format, channel: &ChannelName, Counted { counts, time }: Counted) -> Option<Bytes> {
    let Counts { subscribers, members } = counts;
    match format {
        Format::Native => {
            native(format, || Event::Occupancy { channel: channel.clone(), subscribers, members, time: time.0 })
        }
        Format::Pusher => Some(text_frame(Said::SubscriptionCount(channel, subscribers).to_text().as_bytes())),
        Format::Watchlist => None,
    }
}

/// The channel whose members are the connections that are signed in as a user.
pub(crate) fn online_channel(user: &str) -> Option<ChannelName> {
    ChannelName::restore(&format!("{ONLINE}{user}")).ok()
}

/// What a member did, and its frame in each format that somebody here reads.
pub(super) struct Told<'a> {
    pub(super) event: &'a PresenceEvent,
    frames: [OnceCell<Option<Bytes>>; 3],
}

impl<'a> Told<'a> {
    pub(super) fn of(event: &'a PresenceEvent) -> Self {
        Self { event, frames: Default::default() }
    }

    /// The frame, encoded when it is first asked for; `None` where nothing is told.
    pub(super) fn frame(&self, format: Format) -> Option<Bytes> {
        let cell = match format {
            Format::Native => &self.frames[0],
            Format::Pusher => &self.frames[1],
            Format::Watchlist => &self.frames[2],
        };
        cell.get_or_init(|| presence(format, self.event)).clone()
    }
}

/// The frame that tells a Pusher client that nothing is kept of a cache channel.
pub(super) fn cache_miss(channel: &ChannelName) -> Bytes {
    text_frame(Said::CacheMiss(channel).to_text().as_bytes())
}

/// The frame that tells who of the watched is signed in and who is not.
pub(super) fn watchlist(online: &[String], offline: &[String]) -> Bytes {
    let online: Vec<&str> = online.iter().map(String::as_str).collect();
    let offline: Vec<&str> = offline.iter().map(String::as_str).collect();
    text_frame(Said::Watchlist { online: &online, offline: &offline }.to_text().as_bytes())
}
