//! What Pusher's clients ask of a hub beyond what others do: members as a whole, the last message of a cache channel, and who is signed in.

use std::rc::Rc;

use fanfare_domain::{
    Refusal,
    connections::Located,
    ids::{AppId, ConnectionId},
    messages::Message,
    presence::Member,
};
use fanfare_protocol::{
    ChannelName, ErrorCode, Serial,
    pusher::{Access, PusherChannel},
    requests::{Range, Start},
};
use futures::future::try_join_all;

use super::{
    Format, Hub, frames,
    locate::ChannelHold,
    presence::MembersRead,
    subscription::{Mode, Subscription},
};
use crate::wire::Outbox;

/// For how long a cache channel keeps its last message, as Pusher's documents say; the channel's rule may keep it for less.
const CACHED_S: u64 = 30 * 60;

/// A channel that a Pusher client is about to subscribe to. Nothing may be waited for between this and [`Hub::enter_channel`].
pub(crate) struct Arrival {
    located: Located,
    members: Option<Rc<MembersRead>>,
    /// What a cache channel keeps.
    kept: Option<(Serial, Message)>,
    /// Whether it is a cache channel of which nothing is kept.
    pub(crate) is_miss: bool,
    /// The channel is listened to until this is dropped.
    _hold: ChannelHold,
}

impl Hub {
    /// Finds where a Pusher client's subscription starts, who is there, and what is kept.
    pub(crate) async fn arrive(self: &Rc<Self>, app: &AppId, channel: &PusherChannel) -> Result<Arrival, Refusal> {
        let has_members = channel.access == Access::Presence;
        let (located, hold) = self.locate(app.clone(), channel.name.clone(), Start::Live, has_members).await;
        let mut located = located?;
        let kept = if channel.is_cache { self.last_kept(app, &channel.name).await? } else { None };
        // It is sent apart from what follows it, so that it comes first.
        located.position = kept.as_ref().map_or(located.position, |(serial, _)| located.position.max(*serial));
        let is_miss = channel.is_cache && kept.is_none();
        let members = match has_members {
            true => Some(self.members(&self.channel(app.clone(), channel.name.clone())).await?),
            false => None,
        };
        Ok(Arrival { located, members, kept, is_miss, _hold: hold })
    }

    /// Tells a Pusher client that it is subscribed, and delivers from there on.
    pub(crate) fn enter_channel(
        &self,
        app: &AppId,
        channel: &PusherChannel,
        connection: ConnectionId,
        outbox: &Outbox,
        arrival: &Arrival,
        begin: impl FnOnce(&Located) -> Option<std::sync::Arc<fanfare_domain::deliveries::Receipts>>,
    ) -> Rc<Subscription> {
        let members: Option<&[Member]> = arrival.members.as_deref().map(|read| read.members.as_slice());
        // A full outbox ends the connection by itself.
        let _ = outbox.push(frames::subscribed(&channel.name, members));
        if let Some((serial, message)) = &arrival.kept {
            let _ = outbox.push(frames::message(Format::Pusher, &channel.name, Some(*serial), message));
        }
        if arrival.is_miss {
            let _ = outbox.push(frames::cache_miss(&channel.name));
        }
        let (located, receipts) = (&arrival.located, begin(&arrival.located));
        let outbox = (outbox.clone(), Format::Pusher);
        self.deliver(app.clone(), channel.name.clone(), connection, outbox, located, (members.is_some(), receipts))
    }

    /// A channel's last message, if it is kept and not too old.
    async fn last_kept(&self, app: &AppId, channel: &ChannelName) -> Result<Option<(Serial, Message)>, Refusal> {
        match self.read(&(app.clone(), channel.clone()), Range::Newest, 1, Some(CACHED_S)).await {
            Ok(page) => Ok(page.items.into_iter().next()),
            Err(refusal) if refusal.code == ErrorCode::HistoryOff => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Has a connection told which of these users are signed in, now and whenever that changes, until the subscriptions end.
    pub(crate) async fn watch_users(
        self: &Rc<Self>,
        app: &AppId,
        users: &[String],
        connection: &ConnectionId,
        outbox: &Outbox,
    ) -> Result<Vec<Rc<Subscription>>, Refusal> {
        let named = users.iter().filter_map(|user| Some((user.as_str(), frames::online_channel(user)?)));
        let watched = try_join_all(named.map(async |(user, name)| {
            let channel = self.channel(app.clone(), name);
            let hold = ChannelHold::new(&channel, true);
            self.follow(&channel).await;
            self.watch(&channel).await?;
            Ok::<_, Refusal>((user, channel, hold))
        }));
        let watched = watched.await?;
        let (online, offline): (Vec<_>, Vec<_>) =
            watched.iter().partition::<Vec<_>, _>(|(_, channel, _)| self.has_members(channel));
        let names =
            |of: Vec<&(&str, _, _)>| -> Vec<String> { of.iter().map(|(user, _, _)| (*user).to_owned()).collect() };
        let _ = outbox.push_message(frames::watchlist(&names(online), &names(offline)));
        // Nothing is waited for from here on: what the views tell next is told after this.
        Ok(watched
            .iter()
            .map(|(_, channel, _)| {
                let outbox = (outbox.clone(), Format::Watchlist);
                let subscription = Subscription::begin(channel, connection.clone(), outbox, channel.seen(), true);
                subscription.set_mode(Mode::Live);
                subscription
            })
            .collect())
    }
}
