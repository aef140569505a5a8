//! Signing in, and watching who else is.

use std::rc::Rc;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use fanfare_domain::{
    Refusal,
    presence::{Entry, Place as Channel},
    pusher::{
        Signed, authorize,
        sessions::{Command, SignIn},
    },
    revocations::Standing,
};

use super::actor::PusherActor;
use crate::{hub, sockets::Place};

impl PusherActor {
    pub(super) fn sign_in(&self, sign_in: SignIn, place: &Place, context: &mut Context<Self>) {
        let Some(grant) = self.session.grant().cloned() else { return };
        let SignIn { auth, user } = sign_in;
        let (hub, turn, id) = (Rc::clone(&self.hub), self.presence_turn.clone(), self.id.clone());
        let (socket_id, place) = (self.session.socket_id().to_owned(), place.clone());
        let client = user.member.client.clone();
        let online = hub::online_channel(client.as_str());
        let user_data = user.user_data.clone();
        let entered = {
            let (client, online) = (client.clone(), online.clone());
            async move {
                let (ports, app) = (hub.gateway().ports(), &grant.profile.app.id);
                let signed = Signed::User(&user_data);
                authorize(&ports.directory, &ports.clock, app, (&auth, &socket_id), signed).await?;
                // From here on a revocation of the client reaches the connection.
                let standing =
                    Standing { client: Some(client.clone()), issued_at: Some(ports.clock.now()), ..grant.standing() };
                hub.identify(&id, standing);
                let Some(channel) = online else { return Ok(()) };
                let _turn = turn.lock_owned().await;
                let spot = Channel { app: app.clone(), channel };
                let entry = Entry { connection: id.clone(), client, data: None, info: None };
                ports.presence.enter(&spot, entry, u32::MAX).await.map_err(Refusal::from)
            }
        };
        context.spawn(entered.into_actor(self).map(move |outcome, actor, context| {
            if outcome.is_ok() {
                actor.online = online;
            }
            actor.apply(Command::SignedIn(Box::new(user), outcome), &place, context);
        }));
    }

    pub(super) fn watch(&self, users: Vec<String>, place: &Place, context: &mut Context<Self>) {
        let Some(app) = self.app().cloned() else { return };
        let (hub, id, outbox, place) = (Rc::clone(&self.hub), self.id.clone(), self.outbox.clone(), place.clone());
        let watched = async move { hub.watch_users(&app, &users, &id, &outbox).await };
        context.spawn(watched.into_actor(self).map(move |watched, actor, context| match watched {
            Ok(watched) if actor.session.is_closed() => {
                let now = actor.hub.gateway().ports().clock.now();
                watched.iter().for_each(|subscription| subscription.end("unsubscribed", now));
            }
            Ok(watched) => actor.watched.extend(watched),
            Err(refusal) => actor.apply(Command::WatchFailed(refusal), &place, context),
        }));
    }
}
