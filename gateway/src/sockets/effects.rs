//! What the machine wants done, done: sends at once, everything that waits as a future of the actor.

use std::{future::Future, num::NonZeroU32, rc::Rc, sync::Arc};

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use fanfare_domain::{
    Refusal,
    connections::{Command, Credential, Effect, Located, PresenceDone, PresenceWish},
    grants::Grant,
    ids::ConnectionId,
    limits::ConnectionPermit,
    metrics::Metric,
    presence::{PAGE_MEMBERS, Place as Channel, Presence},
    publishing::NewPublish,
    webhooks::Note,
};
use fanfare_protocol::{
    ChannelName, ErrorCode, requests::Ack, requests::Range, requests::Start, websocket::text_frame,
};

use super::{Pace, Place, SocketActor};
use crate::hub::{self, Format};

type SocketContext = Context<SocketActor>;

impl SocketActor {
    pub(super) fn run(&mut self, effect: Effect, place: &Place, context: &mut SocketContext) {
        match effect {
            Effect::Send(text) => self.send(&text),
            Effect::SendPage(text) => self.outbox.push_page(text_frame(text.as_bytes())),
            Effect::Authenticate(credential) => self.authenticate(credential, place, context),
            Effect::Refresh { id, turn, token } => self.refresh(id, turn, token, place, context),
            Effect::Locate { id, channel, start, presence } => {
                self.locate(id, channel, start, presence, place, context)
            }
            Effect::Deliver { channel, located, presence } => self.deliver(channel, &located, presence),
            Effect::WatchOccupancy(channel) => {
                if let Some(subscription) = self.subscriptions.get(&channel) {
                    self.hub.watch_occupancy(subscription);
                }
            }
            Effect::Stop(channel, reason) => {
                if let Some(subscription) = self.subscriptions.remove(&channel) {
                    subscription.end(reason, self.hub.gateway().ports().clock.now());
                    self.note(Note::Occupancy(channel));
                }
            }
            Effect::NoteRefusal(channel, code) => self.note_refusal(&channel, code),
            Effect::Publish { id, publish, ack } => self.publish(id, *publish, ack, place, context),
            Effect::Presence { id, channel, wish } => self.presence(id, channel, *wish, place, context),
            Effect::Withdraw(channel) => self.withdraw(channel),
            Effect::ReadHistory { id, channel, range, limit } => {
                self.read_history(id, channel, range, limit, place, context)
            }
            Effect::Hold => self.subscriptions.values().for_each(|subscription| subscription.hold()),
            Effect::Resume => self.subscriptions.values().for_each(|subscription| self.hub.go_on(subscription)),
            Effect::Close(code) => self.close(code, context),
        }
    }

    /// Takes note of something that webhooks tell.
    pub(super) fn note(&self, note: Note) {
        if let Some(profile) = &self.profile {
            self.hub.gateway().ports().notes.note(profile, note);
        }
    }

    /// Waits for an outcome and takes it as a command; the request keeps its place meanwhile.
    fn wait<T: 'static>(
        &self,
        outcome: impl Future<Output = T> + 'static,
        place: &Place,
        context: &mut SocketContext,
        command: impl FnOnce(T) -> Command + 'static,
    ) {
        let place = place.clone();
        context.spawn(
            outcome.into_actor(self).map(move |outcome, actor, context| actor.apply(command(outcome), &place, context)),
        );
    }

    fn authenticate(&self, credential: Credential, place: &Place, context: &mut SocketContext) {
        let ports = self.hub.gateway().ports().clone();
        let place = place.clone();
        let admitted = async move {
            let grant = match credential {
                Credential::Token { token, app } => ports.authenticator.client(&token, app.as_deref()).await?,
                Credential::PublicKey { key, app } => ports.authenticator.public(&key, app.as_deref()).await?,
            };
            let limits = &grant.profile.limits;
            let permit = ports.limits.connect(&grant.profile.app.id, limits).await.map_err(|exceeded| {
                let message = format!("the app may have {} connections", exceeded.limit);
                Refusal::new(ErrorCode::ConnectionLimit, message).retry_after(exceeded.retry_after)
            })?;
            Ok((grant, permit))
        };
        context.spawn(admitted.into_actor(self).map(move |admitted, actor, context| {
            let outcome = admitted.and_then(|(grant, permit)| actor.admit(grant, permit));
            actor.apply(Command::Authenticated(outcome), &place, context);
            actor.confirm(context);
        }));
    }

    /// Takes note of what the connection is now.
    fn admit(&mut self, grant: Grant, permit: Box<dyn ConnectionPermit>) -> Result<Grant, Refusal> {
        // What is revoked from here on ends the socket by what is noted of it below.
        self.hub.check(&grant)?;
        self.profile = Some(Arc::clone(&grant.profile));
        // Its place is given back when the last byte has left, or never will.
        self.outbox.keep(Box::new(permit));
        self.unconnected = None;
        Metric::ConnectionsOpened.add_labelled(self.transport.name(), 1);
        let limits = &grant.profile.limits;
        self.pace = Pace::new(NonZeroU32::new(limits.requests_per_s).unwrap_or(NonZeroU32::MIN));
        let account = self.hub.gateway().accounts().of(&grant.profile.app.id, limits.app_outbox_bytes as usize);
        self.outbox.admit(limits.outbox_bytes as usize, account);
        self.terms.admit(limits);
        self.hub.identify(&self.id, grant.standing());
        Ok(grant)
    }

    fn refresh(&self, id: u32, turn: u32, token: String, place: &Place, context: &mut SocketContext) {
        let Some(grant) = self.connection.grant() else { return };
        let app = grant.profile.app.id.clone();
        let authenticator = self.hub.gateway().ports().authenticator.clone();
        let place = place.clone();
        let refreshed = async move { authenticator.refresh(&token, &app).await };
        context.spawn(refreshed.into_actor(self).map(move |outcome, actor, context| {
            let outcome = outcome.and_then(|grant| actor.hub.check(&grant).map(|()| grant));
            actor.apply(Command::Refreshed { id, turn, outcome }, &place, context);
            // It is the fresh token, or its key, whose revocation now ends the connection.
            if let Some(grant) = actor.connection.grant() {
                actor.hub.identify(&actor.id, grant.standing());
            }
            actor.confirm(context);
        }));
    }

    /// Looks at the key and the app once more. Changes from here on are told to the socket, since it is identified; one that
    /// came between the look at the credential and that moment was told to nobody.
    fn confirm(&self, context: &mut SocketContext) {
        let Some(grant) = self.connection.grant() else { return };
        let (gateway, app) = (self.hub.gateway().clone(), grant.profile.app.id.clone());
        let key = grant.voucher.key().cloned();
        let news = async move {
            let key = match &key {
                Some(key) => gateway.ports().directory.key(key).await.map(|key| key.is_some()),
                // Whether a signer is still there, the app says.
                None => Ok(true),
            };
            match key {
                Ok(false) => Some(Command::End(hub::revoked())),
                Ok(true) => Some(hub::app_news(&gateway, &app).await),
                // What was read a moment ago stands for as long as the cache would have kept it.
                Err(_) => None,
            }
        };
        context.spawn(news.into_actor(self).map(|news, actor, context| {
            if let Some(command) = news {
                actor.apply(command, &Place::default(), context);
            }
        }));
    }

    fn locate(
        &self,
        id: u32,
        channel: ChannelName,
        start: Start,
        presence: bool,
        place: &Place,
        context: &mut SocketContext,
    ) {
        let Some(grant) = self.connection.grant() else { return };
        let (hub, app, name) = (Rc::clone(&self.hub), grant.profile.app.id.clone(), channel.clone());
        let start = match hub.gateway().faults() {
            Some(faults) => faults.start(start),
            None => start,
        };
        let place = place.clone();
        let located = async move { hub.locate(app, name, start, presence).await };
        context.spawn(located.into_actor(self).map(move |(outcome, hold), actor, context| {
            actor.apply(Command::Located { id, channel, outcome }, &place, context);
            // Only now: while the answer is taken, the channel must not be forgotten.
            drop(hold);
        }));
    }

    fn deliver(&mut self, channel: ChannelName, located: &Located, presence: bool) {
        let Some(grant) = self.connection.grant() else { return };
        let app = grant.profile.app.id.clone();
        let (id, outbox) = (self.id.clone(), self.outbox.clone());
        let start = (located.answer.epoch.clone(), located.position);
        let recorder = &self.hub.gateway().ports().publisher.recorder;
        let receipts = recorder.begin(grant, &self.id, self.transport.name(), &channel, start, false);
        let subscription =
            self.hub.deliver(app, channel.clone(), id, (outbox, Format::Native), located, (presence, receipts));
        self.subscriptions.insert(channel.clone(), subscription);
        self.note(Note::Occupancy(channel));
    }

    /// Wishes of a connection are done one after the other, in the order asked.
    fn presence(&self, id: u32, channel: ChannelName, wish: PresenceWish, place: &Place, context: &mut SocketContext) {
        let Some(grant) = self.connection.grant() else { return };
        let place_of = Channel { app: grant.profile.app.id.clone(), channel: channel.clone() };
        let presence = Arc::clone(&self.hub.gateway().ports().presence);
        let (turn, outbox, connection) = (Arc::clone(&self.presence_turn), self.outbox.clone(), self.id.clone());
        let was_to_enter = matches!(wish, PresenceWish::Enter { .. });
        let done = async move {
            let turn = turn.lock_owned().await;
            if matches!(wish, PresenceWish::List(_)) {
                outbox.room_for_page().await;
            }
            (grant_wish(presence.as_ref(), &place_of, &connection, wish).await, turn)
        };
        let place = place.clone();
        context.spawn(done.into_actor(self).map(move |(outcome, turn), actor, context| {
            if matches!(outcome, Ok(PresenceDone::Entered | PresenceDone::Left)) {
                actor.note(Note::Members(channel.clone()));
            }
            actor.apply(Command::PresenceDone { id, channel, was_to_enter, outcome }, &place, context);
            drop(turn);
        }));
    }

    fn withdraw(&self, channel: ChannelName) {
        if let Some(profile) = &self.profile {
            let place = Channel { app: profile.app.id.clone(), channel };
            self.hub.gateway().ports().presence.withdraw(&place, &self.id);
        }
    }

    fn publish(&self, id: u32, publish: NewPublish, ack: Ack, place: &Place, context: &mut SocketContext) {
        let Some(grant) = self.connection.grant().cloned() else { return };
        let publisher = self.hub.gateway().ports().publisher.clone();
        let published = async move { publisher.publish_one(&grant, publish, ack).await.map(|(receipt, _)| receipt) };
        self.wait(published, place, context, move |outcome| Command::Published {
            id,
            with_place: ack == Ack::Persisted,
            outcome,
        });
    }

    fn read_history(
        &self,
        id: u32,
        channel: ChannelName,
        range: Range,
        limit: u32,
        place: &Place,
        context: &mut SocketContext,
    ) {
        let Some(grant) = self.connection.grant().cloned() else { return };
        let hub = Rc::clone(&self.hub);
        let (outbox, turn, place) = (self.outbox.clone(), Arc::clone(&self.page_turn), place.clone());
        let name = channel.clone();
        let page = async move {
            let turn = turn.lock_owned().await;
            outbox.room_for_page().await;
            (hub.history(&grant, name, range, limit).await, turn)
        };
        context.spawn(page.into_actor(self).map(move |(outcome, turn), actor, context| {
            actor.apply(Command::HistoryRead { id, channel, outcome }, &place, context);
            // Only now may the next page be waited for.
            drop(turn);
        }));
    }
}

async fn grant_wish(
    presence: &dyn Presence,
    place: &Channel,
    connection: &ConnectionId,
    wish: PresenceWish,
) -> Result<PresenceDone, Refusal> {
    Ok(match wish {
        PresenceWish::Enter { entry, most } => {
            presence.enter(place, entry, most).await?;
            PresenceDone::Entered
        }
        PresenceWish::Update(entry) => {
            presence.update(place, entry).await?;
            PresenceDone::Updated
        }
        PresenceWish::Leave(data) => {
            presence.leave(place, connection, data).await?;
            PresenceDone::Left
        }
        PresenceWish::List(after) => PresenceDone::Listed(presence.page(place, after.as_ref(), PAGE_MEMBERS).await?),
    })
}
