//! From a subscription that is wanted to one that is there: the signature, the member, what there is, and only then the word to the client.

use std::rc::Rc;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use fanfare_domain::{
    Refusal,
    grants::Grant,
    presence::{Entry, Place as Channel},
    pusher::{
        Signed, authorize,
        sessions::{Command, Join, MAX_MEMBERS, Rejected},
    },
    webhooks::Note,
};
use fanfare_protocol::{
    ErrorCode,
    pusher::{Access, PusherChannel},
};

use super::actor::PusherActor;
use crate::{
    GatewayPorts,
    hub::Arrival,
    sockets::{Place, Transport},
};

impl PusherActor {
    pub(super) fn join(&self, join: Join, place: &Place, context: &mut Context<Self>) {
        let Some(grant) = self.session.grant().cloned() else { return };
        let (hub, turn, id) = (Rc::clone(&self.hub), self.presence_turn.clone(), self.id.clone());
        let (socket_id, place) = (self.session.socket_id().to_owned(), place.clone());
        let channel = join.channel.clone();
        let arrived = async move {
            let app = &grant.profile.app.id;
            let ports = hub.gateway().ports();
            check(ports, &grant, &join, &socket_id).await?;
            if let Some(member) = &join.member {
                let _turn = turn.lock_owned().await;
                let spot = Channel { app: app.clone(), channel: join.channel.name.clone() };
                let entry = Entry {
                    connection: id.clone(),
                    client: member.client.clone(),
                    data: None,
                    info: member.info.clone(),
                };
                let most = MAX_MEMBERS.min(grant.profile.limits.presence_members);
                ports.presence.enter(&spot, entry, most).await.map_err(Refusal::from)?;
                let arrival = hub.arrive(app, &join.channel).await;
                if arrival.is_err() {
                    ports.presence.withdraw(&spot, &id);
                }
                return Ok(arrival?);
            }
            Ok(hub.arrive(app, &join.channel).await?)
        };
        context.spawn(arrived.into_actor(self).map(move |arrival: Result<Arrival, Rejected>, actor, context| {
            if actor.session.is_closed() {
                return;
            }
            let outcome = arrival.map(|arrival| actor.go_on(&channel, &arrival));
            actor.apply(Command::Joined(channel.name, outcome), &place, context);
        }));
    }

    /// Tells the client that it is subscribed, and delivers from there on.
    pub(super) fn go_on(&mut self, channel: &PusherChannel, arrival: &Arrival) {
        let Some(grant) = self.session.grant() else { return };
        let ports = self.hub.gateway().ports();
        let app = &grant.profile.app.id;
        let begin = |located: &fanfare_domain::connections::Located| {
            let start = (located.answer.epoch.clone(), located.position);
            let name = Transport::Pusher.name();
            ports.publisher.recorder.begin(grant, &self.id, name, &channel.name, start, false)
        };
        let subscription = self.hub.enter_channel(app, channel, self.id.clone(), &self.outbox, arrival, begin);
        let is_counted = grant.profile.app.pusher.subscription_counts;
        if is_counted && !matches!(channel.access, Access::Presence | Access::User) {
            self.hub.watch_occupancy(&subscription);
        }
        self.subscriptions.insert(channel.name.clone(), subscription);
        self.note(Note::Occupancy(channel.name.clone()));
        if channel.access == Access::Presence {
            self.note(Note::Members(channel.name.clone()));
        }
        if arrival.is_miss {
            self.note(Note::CacheMiss(channel.name.clone()));
        }
    }
}

/// Looks at the signature, if one is needed, and at what its key may do.
async fn check(ports: &GatewayPorts, grant: &Grant, join: &Join, socket_id: &str) -> Result<(), Rejected> {
    let Some((auth, data)) = &join.auth else { return Ok(()) };
    let signed = Signed::Subscription { channel: join.channel.name.as_str(), data: data.as_deref() };
    let app = &grant.profile.app.id;
    let key = authorize(&ports.directory, &ports.clock, app, (auth, socket_id), signed).await?;
    let rights = key.capability.rights(&join.channel.name);
    if !rights.has(fanfare_domain::capabilities::Right::Subscribe) {
        let why = "the key that signed lacks the right `subscribe` on the channel";
        return Err(Refusal::new(ErrorCode::Forbidden, why).into());
    }
    Ok(())
}
