//! What the machine wants done.

use std::rc::Rc;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};
use fanfare_domain::{
    ids::MessageId,
    messages::{Envelope, Message},
    presence::Place as Channel,
    pusher::sessions::{ClientEvent, Command, Effect, Member},
    webhooks::Note,
};
use fanfare_protocol::{ChannelName, json, pusher::Access, pusher::text_of};
use serde_json::value::RawValue;

use super::actor::PusherActor;
use crate::sockets::Place;

impl PusherActor {
    pub(super) fn run(&mut self, effect: Effect, place: &Place, context: &mut Context<Self>) {
        match effect {
            Effect::Send(text) => self.send(&text),
            Effect::Join(join) => self.join(*join, place, context),
            Effect::Part(channel, member) => self.part(channel, member, place, context),
            Effect::Reopen(channel) => self.reopen(channel, context),
            Effect::SignIn(sign_in) => self.sign_in(*sign_in, place, context),
            Effect::Watch(users) => self.watch(users, place, context),
            Effect::Relay(event) => self.relay(*event, place, context),
            Effect::Close(code, why, reason) => self.close(code, &why, reason, context),
        }
    }

    fn part(&mut self, channel: ChannelName, member: Option<Member>, place: &Place, context: &mut Context<Self>) {
        let ports = self.hub.gateway().ports();
        if let Some(subscription) = self.subscriptions.remove(&channel) {
            subscription.end("unsubscribed", ports.clock.now());
        }
        self.note(Note::Occupancy(channel.clone()));
        let (Some(app), Some(_)) = (self.app().cloned(), member) else { return };
        let (presence, turn, id) = (ports.presence.clone(), self.presence_turn.clone(), self.id.clone());
        let (spot, place) = (Channel { app, channel: channel.clone() }, place.clone());
        let left = async move {
            let _turn = turn.lock_owned().await;
            if presence.leave(&spot, &id, None).await.is_err() {
                // It goes on in the background, for as long as it takes.
                presence.withdraw(&spot, &id);
            }
            drop(place);
        };
        context.spawn(left.into_actor(self).map(|(), actor, _| actor.note(Note::Members(channel))));
    }

    fn relay(&self, event: ClientEvent, place: &Place, context: &mut Context<Self>) {
        let Some(grant) = self.session.grant().cloned() else { return };
        let ports = self.hub.gateway().ports();
        let (publisher, notes) = (ports.publisher.clone(), ports.notes.clone());
        let ClientEvent { channel, name, data, client } = event;
        let note = Note::ClientEvent {
            channel: channel.name.clone(),
            event: name.as_str().to_owned(),
            data: text_of(&data).into_owned(),
            socket_id: self.session.socket_id().to_owned(),
            user_id: client.clone().filter(|_| channel.access == Access::Presence),
        };
        let message = Message {
            id: MessageId::generate(),
            time: ports.clock.now(),
            name: Some(name),
            client,
            headers: None,
            data: one_line(data),
        };
        let envelope = Envelope {
            app: grant.profile.app.id.clone(),
            channel: channel.name,
            place: None,
            exclude: Some(self.id.clone()),
            trace: None,
            message,
        };
        // Events of one connection leave in the order in which they came.
        let (turn, place) = (self.relay_turn.clone(), place.clone());
        let relayed = async move {
            let _turn = turn.lock_owned().await;
            publisher.relay(&grant, envelope).await.inspect(|()| notes.note(&grant.profile, note))
        };
        context.spawn(relayed.into_actor(self).map(move |outcome, actor, context| {
            if let Err(refusal) = outcome {
                actor.apply(Command::ClientEventRefused(refusal), &place, context);
            }
        }));
    }

    /// The channel's history was replaced, which these clients do not know of: they are told what comes.
    fn reopen(&mut self, channel: ChannelName, context: &mut Context<Self>) {
        let ports = self.hub.gateway().ports();
        let Some(subscription) = self.subscriptions.remove(&channel) else { return };
        subscription.end("epoch_changed", ports.clock.now());
        let Some(app) = self.app().cloned() else { return };
        let Ok(channel) = fanfare_protocol::pusher::PusherChannel::parse(channel.as_str()) else { return };
        let (hub, again) = (Rc::clone(&self.hub), channel.clone());
        let located = async move { hub.arrive(&app, &channel).await };
        context.spawn(located.into_actor(self).map(move |arrival, actor, _| match arrival {
            Ok(arrival) if !actor.session.is_closed() => actor.go_on(&again, &arrival),
            _ => {}
        }));
    }
}

/// Data as it was sent, on one line as everybody else has it.
fn one_line(data: Box<RawValue>) -> Box<RawValue> {
    match data.get().contains(['\n', '\r']) {
        true => json::compact(&data),
        false => data,
    }
}
