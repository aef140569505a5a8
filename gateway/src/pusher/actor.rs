//! The actor of one Pusher connection, a thin shell around its machine.

use std::{collections::HashMap, num::NonZeroU32, rc::Rc, sync::Arc};

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, SpawnHandle, WrapFuture};
use fanfare_domain::{
    Refusal, Timestamp, connections,
    deliveries::End,
    directory::AppProfile,
    grants::Grant,
    ids::{AppId, ConnectionId},
    limits::ConnectionPermit,
    metrics::Metric,
    pusher::{
        require_pusher,
        sessions::{Command, Session},
    },
    webhooks::Note,
};
use fanfare_protocol::{
    ChannelName, ErrorCode,
    pusher::CloseCode,
    websocket::{close_frame, text_frame},
};
use tokio::sync::Mutex;
use tracing::{debug, info};

use crate::{
    SocketCount, Unconnected,
    hub::{self, Hub, Subscription},
    sockets::{CLOSE_WAIT, Mail, Pace, Place, Reader, Terms, Transport, What},
    wire::{self, Inbound, Outbox},
};

/// What the handshake says of its client.
pub(super) struct Visitor {
    /// The id of an API key.
    pub(super) key: String,
    /// The protocol's version.
    pub(super) version: u32,
    /// The web page that it comes from.
    pub(super) origin: Option<String>,
}

/// One Pusher client's socket.
pub(super) struct PusherActor {
    pub(super) id: ConnectionId,
    pub(super) session: Session,
    pub(super) hub: Rc<Hub>,
    pub(super) outbox: Outbox,
    pub(super) subscriptions: HashMap<ChannelName, Rc<Subscription>>,
    /// The users that it watches.
    pub(super) watched: Vec<Rc<Subscription>>,
    /// What is asked of presence is done one after the other.
    pub(super) presence_turn: Arc<Mutex<()>>,
    /// Client events leave one after the other.
    pub(super) relay_turn: Arc<Mutex<()>>,
    /// The channel that tells of its user whether it is there, once it is signed in.
    pub(super) online: Option<ChannelName>,
    visitor: Option<Visitor>,
    origin: Option<String>,
    /// Its app, once it is let in; also when it is closed.
    profile: Option<Arc<AppProfile>>,
    pace: Pace,
    terms: Rc<Terms>,
    unconnected: Option<Unconnected>,
    timer: Option<(Timestamp, SpawnHandle)>,
    close_reason: Option<ErrorCode>,
}

/// Starts the actor of a socket and the task that reads it.
pub(super) fn start(hub: Rc<Hub>, mut inbound: Inbound, outbox: Outbox, visitor: Visitor, unconnected: Unconnected) {
    let gateway = hub.gateway().clone();
    let id = ConnectionId::generate();
    let now = gateway.ports().clock.now();
    let terms = Rc::<Terms>::default();
    outbox.keep(Box::new(SocketCount::new(&gateway)));
    let actor = PusherActor {
        id: id.clone(),
        session: Session::new(&id, visitor.version, &gateway.config().pusher, now),
        hub: Rc::clone(&hub),
        outbox: outbox.clone(),
        subscriptions: HashMap::new(),
        watched: Vec::new(),
        presence_turn: Arc::default(),
        relay_turn: Arc::default(),
        online: None,
        origin: visitor.origin.clone(),
        visitor: Some(visitor),
        profile: None,
        pace: Pace::default(),
        terms: Rc::clone(&terms),
        unconnected: Some(unconnected),
        timer: None,
        close_reason: None,
    };
    let address = actor.start();
    hub.join(id, address.clone().recipient(), &outbox);
    let mut reader = Reader::new(address.recipient(), terms);
    actix_rt::spawn(async move {
        let ended = wire::drive(&mut inbound, &outbox, &mut reader).await;
        debug!(?ended, "A socket ended");
        reader.ended().await;
    });
}

impl Actor for PusherActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        if let Some(visitor) = self.visitor.take() {
            self.authenticate(visitor, context);
        }
        self.arm(context);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        self.end_subscriptions(self.close_reason.map_or(End::LEFT, ErrorCode::name));
        self.hub.leave(&self.id);
        self.leave_presence();
        Metric::ConnectionsClosed.add_labelled(self.close_reason.map_or("client", ErrorCode::name), 1);
        self.outbox.finish();
    }
}

impl Handler<Mail> for PusherActor {
    type Result = ();

    fn handle(&mut self, Mail { what, place }: Mail, context: &mut Self::Context) {
        let place = Rc::new(place);
        match what {
            What::Command(command) => {
                if let Some(command) = understood(command) {
                    self.apply(command, &place, context);
                }
            }
            What::Text { text, .. } if self.hub.may_deliver() => self.text(text, &place, context),
            What::Text { text, .. } => {
                self.apply(Command::Heard, &Place::default(), context);
                // Nothing else is done for this connection meanwhile, so that its requests keep their order.
                let current = self.hub.current_soon();
                let text = move |_, actor: &mut Self, context: &mut Context<Self>| actor.text(text, &place, context);
                context.wait(current.into_actor(self).map(text));
            }
            What::Violated(refusal) => self.close_reason = Some(refusal.code),
            What::Ended => context.stop(),
        }
    }
}

/// What a hub or a reader tells any connection, as this machine takes it.
fn understood(command: connections::Command) -> Option<Command> {
    match command {
        connections::Command::Heard => Some(Command::Heard),
        connections::Command::Binary => Some(Command::Binary),
        connections::Command::AppChanged(outcome) => Some(Command::AppChanged(outcome)),
        connections::Command::EpochChanged(channel) => Some(Command::EpochChanged(channel)),
        connections::Command::End(refusal) => Some(Command::End(refusal)),
        connections::Command::Drain { after } => Some(Command::Drain { after }),
        _ => None,
    }
}

impl PusherActor {
    fn text(&mut self, text: String, place: &Place, context: &mut Context<Self>) {
        let command = match self.pace.take() {
            _ if !self.hub.may_deliver() => Command::Unavailable,
            Ok(()) if self.outbox.is_cut_off() => return,
            Ok(()) => Command::Text(text),
            Err(_) => Command::TooFast,
        };
        self.apply(command, place, context);
    }

    pub(super) fn apply(&mut self, command: Command, place: &Place, context: &mut Context<Self>) {
        let now = self.hub.gateway().ports().clock.now();
        if let Command::AppChanged(Ok(profile)) = &command {
            self.profile = Some(Arc::clone(profile));
        }
        for effect in self.session.apply(command, now) {
            self.run(effect, place, context);
        }
        self.arm(context);
    }

    /// Sets the timer to the machine's next deadline. A deadline that moved back is looked at when the timer fires.
    fn arm(&mut self, context: &mut Context<Self>) {
        let Some(due) = self.session.deadline() else { return };
        if self.timer.is_some_and(|(at, _)| at <= due) {
            return;
        }
        if let Some((_, timer)) = self.timer.take() {
            context.cancel_future(timer);
        }
        let wait = due.since(self.hub.gateway().ports().clock.now());
        let timer = context.run_later(wait, |actor, context| {
            actor.timer = None;
            actor.apply(Command::Tick, &Place::default(), context);
        });
        self.timer = Some((due, timer));
    }

    fn authenticate(&self, visitor: Visitor, context: &mut Context<Self>) {
        let ports = self.hub.gateway().ports().clone();
        let admitted = async move {
            let grant = ports.authenticator.public(&visitor.key, None).await?;
            require_pusher(&grant.profile)?;
            let limits = &grant.profile.limits;
            let permit = ports.limits.connect(&grant.profile.app.id, limits).await.map_err(|exceeded| {
                let message = format!("the app may have {} connections", exceeded.limit);
                Refusal::new(ErrorCode::ConnectionLimit, message).retry_after(exceeded.retry_after)
            })?;
            Ok((grant, permit))
        };
        context.spawn(admitted.into_actor(self).map(|admitted, actor, context| {
            let outcome = admitted.and_then(|(grant, permit)| actor.admit(grant, permit));
            actor.apply(Command::Opened(outcome), &Place::default(), context);
            actor.confirm(context);
        }));
    }

    /// Takes note of what the connection is now.
    fn admit(&mut self, grant: Grant, permit: Box<dyn ConnectionPermit>) -> Result<Grant, Refusal> {
        self.hub.check(&grant)?;
        grant.profile.app.origins.require(self.origin.as_deref())?;
        self.profile = Some(Arc::clone(&grant.profile));
        // Its place is given back when the last byte has left, or never will.
        self.outbox.keep(Box::new(permit));
        self.unconnected = None;
        Metric::ConnectionsOpened.add_labelled(Transport::Pusher.name(), 1);
        let limits = &grant.profile.limits;
        self.pace = Pace::new(NonZeroU32::new(limits.requests_per_s).unwrap_or(NonZeroU32::MIN));
        let account = self.hub.gateway().accounts().of(&grant.profile.app.id, limits.app_outbox_bytes as usize);
        self.outbox.admit(limits.outbox_bytes as usize, account);
        self.terms.admit(limits);
        self.hub.identify(&self.id, grant.standing());
        Ok(grant)
    }

    /// Looks at the key and the app once more: a change between the look at them and now was told to nobody.
    fn confirm(&self, context: &mut Context<Self>) {
        let Some(grant) = self.session.grant() else { return };
        let (gateway, app) = (self.hub.gateway().clone(), grant.profile.app.id.clone());
        let Some(key) = grant.voucher.key().cloned() else { return };
        let news = async move {
            match gateway.ports().directory.key(&key).await {
                Ok(None) => Some(connections::Command::End(hub::revoked())),
                Ok(Some(_)) => Some(hub::app_news(&gateway, &app).await),
                // What was read a moment ago stands for as long as the cache would have kept it.
                Err(_) => None,
            }
        };
        context.spawn(news.into_actor(self).map(|news, actor, context| {
            if let Some(command) = news.and_then(understood) {
                actor.apply(command, &Place::default(), context);
            }
        }));
    }

    pub(super) fn send(&self, text: &str) {
        let frame = text_frame(text.as_bytes());
        match self.session.is_closed() {
            true => self.outbox.push_last(frame),
            // A full outbox ends the connection by itself, which the reader tells.
            false => drop(self.outbox.push(frame)),
        }
    }

    /// Sends the close frame and gives the client a moment to answer it.
    pub(super) fn close(&mut self, code: CloseCode, why: &str, reason: ErrorCode, context: &mut Context<Self>) {
        self.close_reason = Some(reason);
        self.end_subscriptions(reason.name());
        self.outbox.close(close_frame(code.0, why));
        info!(conn.id = %self.id, code = code.0, "Closed a Pusher connection: {}", reason.row().title);
        let outbox = self.outbox.clone();
        context.run_later(CLOSE_WAIT, move |_, context| {
            outbox.finish();
            context.stop();
        });
    }

    fn end_subscriptions(&mut self, reason: &str) {
        let now = self.hub.gateway().ports().clock.now();
        for subscription in self.watched.drain(..) {
            subscription.end(reason, now);
        }
        for (channel, subscription) in std::mem::take(&mut self.subscriptions) {
            subscription.end(reason, now);
            self.note(Note::Occupancy(channel));
        }
    }

    /// Its user has left, at once: a client that closes leaves, in Pusher's terms. One that was sent to another node has its moment to come back.
    fn leave_presence(&self) {
        let (Some(app), presence) = (self.app(), &self.hub.gateway().ports().presence) else { return };
        if self.close_reason != Some(ErrorCode::Draining) {
            let members = self.session.memberships().map(|(channel, _)| channel).chain(&self.online);
            for channel in members {
                let place = fanfare_domain::presence::Place { app: app.clone(), channel: channel.clone() };
                presence.withdraw(&place, &self.id);
                self.note(Note::Members(channel.clone()));
            }
        }
        presence.ended(&self.id);
    }

    /// The app that it is connected to.
    pub(super) fn app(&self) -> Option<&AppId> {
        self.profile.as_ref().map(|profile| &profile.app.id)
    }

    /// Takes note of something that webhooks tell.
    pub(super) fn note(&self, note: Note) {
        if let Some(profile) = &self.profile {
            self.hub.gateway().ports().notes.note(profile, note);
        }
    }
}
