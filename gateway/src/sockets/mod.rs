//! Sockets: one actor each, a thin shell around the connection's state machine.

use std::{rc::Rc, sync::Arc, time::Duration};

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Message, SpawnHandle, WrapFuture,
};
use fanfare_domain::{
    Refusal, Timestamp,
    connections::{Command, Connection},
    deliveries::End,
    directory::AppProfile,
    ids::ConnectionId,
    metrics::Metric,
    webhooks::Note,
};
use fanfare_protocol::{
    ChannelName, ErrorCode,
    events::{Event, event_text},
    websocket::{close_frame, text_frame},
};
use tokio::sync::{Mutex, OwnedSemaphorePermit};
use tracing::{debug, info};

use crate::{
    SocketCount, Unconnected,
    hub::{Hub, Subscription},
    wire::{self, Inbound, Listener, News, Outbox},
};

mod deliveries;
mod effects;
mod pace;
mod reader;

pub(crate) use pace::Pace;
pub(crate) use reader::{Reader, Terms};

/// How long the client may take to answer our close frame.
pub(crate) const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// What reaches an actor: something that happened, and the place that a request takes until it is answered.
pub(crate) struct Mail {
    pub(crate) what: What,
    pub(crate) place: Option<OwnedSemaphorePermit>,
}

/// What happened to a socket.
pub(crate) enum What {
    /// Something that its machine takes.
    Command(Command),
    /// A text message. One that came in takes from the connection's rate first.
    Text { text: String, is_paced: bool },
    /// The client broke RFC 6455: it is told, and the reader sends the close.
    Violated(Refusal),
    /// The socket has ended; so does the actor.
    Ended,
}

impl Mail {
    /// What the client of a one-way connection would say; it takes nothing from a rate.
    pub(crate) fn said(text: String) -> Self {
        Self { what: What::Text { text, is_paced: false }, place: None }
    }

    /// A command.
    pub(crate) fn new(command: Command) -> Self {
        Self { what: What::Command(command), place: None }
    }
}

impl Message for Mail {
    type Result = ();
}

/// One client's socket.
pub(crate) struct SocketActor {
    id: ConnectionId,
    connection: Connection,
    transport: Transport,
    hub: Rc<Hub>,
    outbox: Outbox,
    subscriptions: std::collections::HashMap<ChannelName, Rc<Subscription>>,
    pace: Pace,
    /// Pages of history are read and sent one at a time.
    page_turn: Arc<Mutex<()>>,
    /// What is asked of presence is done one after the other.
    presence_turn: Arc<Mutex<()>>,
    /// Its app, once it has connected; also when it is closed.
    profile: Option<Arc<AppProfile>>,
    terms: Rc<Terms>,
    /// Until it has connected.
    unconnected: Option<Unconnected>,
    timer: Option<(Timestamp, SpawnHandle)>,
    close_reason: Option<ErrorCode>,
}

/// What a request says of its client before the connection does.
#[derive(Default)]
pub(crate) struct Visitor {
    /// A token that serves in place of the one in `connect`.
    pub(crate) bearer: Option<String>,
    /// The web page that it comes from.
    pub(crate) origin: Option<String>,
}

/// What carries a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    WebSocket,
    Pusher,
    Sse,
    Poll,
}

impl Transport {
    /// Its name in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Pusher => "pusher",
            Self::Sse => "sse",
            Self::Poll => "poll",
        }
    }
}

/// Starts the actor of a socket and the task that reads it.
pub(crate) fn start(hub: Rc<Hub>, mut inbound: Inbound, outbox: Outbox, visitor: Visitor, unconnected: Unconnected) {
    let (address, terms) = start_actor(hub, outbox.clone(), visitor, Transport::WebSocket, unconnected);
    // Made out here, since a task has room for what it is given and again for what it makes of that.
    let mut reader = Reader::new(address.recipient(), terms);
    actix_rt::spawn(async move {
        let ended = wire::drive(&mut inbound, &outbox, &mut reader).await;
        debug!(?ended, "A socket ended");
        reader.ended().await;
    });
}

/// Starts the actor of a connection on which nothing comes in, and the task that tells it how its outbox fares. What its client would
/// say is mailed to it.
pub(crate) fn start_one_way(
    hub: Rc<Hub>,
    outbox: Outbox,
    visitor: Visitor,
    transport: Transport,
    unconnected: Unconnected,
) -> Addr<SocketActor> {
    let (address, terms) = start_actor(hub, outbox.clone(), visitor, transport, unconnected);
    let mut reader = Reader::new(address.clone().recipient(), terms);
    actix_rt::spawn(async move {
        while outbox.news().await == News::Overflowed {
            reader.overflowed().await;
        }
        reader.ended().await;
    });
    address
}

fn start_actor(
    hub: Rc<Hub>,
    outbox: Outbox,
    visitor: Visitor,
    transport: Transport,
    unconnected: Unconnected,
) -> (Addr<SocketActor>, Rc<Terms>) {
    let gateway = hub.gateway().clone();
    let id = ConnectionId::generate();
    let now = gateway.ports().clock.now();
    let terms = Rc::<Terms>::default();
    let connection = Connection::new(id.clone(), &gateway.config().connection, visitor.bearer, now);
    let connection = connection.from_origin(visitor.origin);
    let actor = SocketActor {
        id: id.clone(),
        connection: if transport == Transport::WebSocket { connection } else { connection.one_way() },
        transport,
        hub: Rc::clone(&hub),
        outbox: outbox.clone(),
        subscriptions: Default::default(),
        pace: Pace::default(),
        page_turn: Arc::default(),
        presence_turn: Arc::default(),
        profile: None,
        terms: Rc::clone(&terms),
        unconnected: Some(unconnected),
        timer: None,
        close_reason: None,
    };
    outbox.keep(Box::new(SocketCount::new(&gateway)));
    let address = actor.start();
    hub.join(id, address.clone().recipient(), &outbox);
    (address, terms)
}

impl Actor for SocketActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.arm(context);
    }

    fn stopped(&mut self, _: &mut Self::Context) {
        // A poll that was answered is over; else the client closed, or was lost.
        let left = if self.transport == Transport::Poll { End::ANSWERED } else { End::LEFT };
        self.end_subscriptions(self.close_reason.map_or(left, ErrorCode::name));
        self.hub.leave(&self.id);
        if self.profile.is_some() {
            self.hub.gateway().ports().presence.ended(&self.id);
        }
        // That a poll has its answer is no close.
        if self.transport != Transport::Poll || self.close_reason.is_some() {
            Metric::ConnectionsClosed.add_labelled(self.close_reason.map_or("client", ErrorCode::name), 1);
        }
        self.outbox.finish();
    }
}

impl Handler<Mail> for SocketActor {
    type Result = ();

    fn handle(&mut self, Mail { what, place }: Mail, context: &mut Self::Context) {
        let place = Rc::new(place);
        match what {
            What::Command(command) => self.apply(command, &place, context),
            What::Text { text, is_paced } if self.hub.may_deliver() => self.text(text, is_paced, &place, context),
            What::Text { text, is_paced } => {
                self.apply(Command::Heard, &Place::default(), context);
                // Nothing else is done for this connection meanwhile, so that its requests keep their order.
                let current = self.hub.current_soon();
                let text =
                    move |_, actor: &mut Self, context: &mut Context<Self>| actor.text(text, is_paced, &place, context);
                context.wait(current.into_actor(self).map(text));
            }
            What::Violated(refusal) => {
                self.close_reason = Some(refusal.code);
                self.say_why(&refusal);
            }
            What::Ended => context.stop(),
        }
    }
}

/// The place of a request among those worked on at once; given back when the last effect of the request is done.
pub(crate) type Place = Rc<Option<OwnedSemaphorePermit>>;

impl SocketActor {
    /// A text message at its turn. One of a connection that is cut off is not taken any more: its end is on the way.
    fn text(&mut self, text: String, is_paced: bool, place: &Place, context: &mut Context<Self>) {
        let pace = if is_paced { self.pace.take() } else { Ok(()) };
        let command = match pace {
            Ok(()) if !self.hub.may_deliver() => Command::Unavailable { text },
            Ok(()) if self.outbox.is_cut_off() => return,
            Ok(()) => Command::Text(text),
            Err(retry_after) => Command::TooFast { text, retry_after },
        };
        self.apply(command, place, context);
    }

    fn apply(&mut self, command: Command, place: &Place, context: &mut Context<Self>) {
        let now = self.hub.gateway().ports().clock.now();
        let may_change_trace = matches!(command, Command::AppChanged(_));
        if let Command::AppChanged(Ok(profile)) = &command {
            self.profile = Some(Arc::clone(profile));
        }
        for effect in self.connection.apply(command, now) {
            self.run(effect, place, context);
        }
        if may_change_trace {
            self.trace_as_the_app_wants();
        }
        self.arm(context);
    }

    /// Sets the timer to the machine's next deadline. A deadline that moved back is looked at when the timer fires.
    fn arm(&mut self, context: &mut Context<Self>) {
        let Some(due) = self.connection.deadline() else { return };
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

    fn send(&self, text: &str) {
        let frame = text_frame(text.as_bytes());
        if self.connection.is_closed() {
            self.outbox.push_last(frame);
            return;
        }
        // A full outbox ends the connection by itself, which the reader tells.
        let _ = match is_prompt(text) && !self.hub.may_deliver() {
            true => self.outbox.push_prompt(frame),
            false => self.outbox.push(frame),
        };
    }

    /// Tells why a close follows.
    fn say_why(&self, refusal: &Refusal) {
        let event = Event::Error { error: refusal.to_wire() };
        self.outbox.push_last(text_frame(event_text(&event).as_bytes()));
    }

    /// Sends the close frame and gives the client a moment to answer it.
    fn close(&mut self, code: ErrorCode, context: &mut Context<Self>) {
        self.close_reason = Some(code);
        self.end_subscriptions(code.name());
        let row = code.row();
        self.outbox.close(close_frame(row.close.unwrap_or(INTERNAL_ERROR), row.name));
        info!(conn.id = %self.id, code = row.name, "Closed a connection: {}", row.title);
        let outbox = self.outbox.clone();
        context.run_later(CLOSE_WAIT, move |_, context| {
            outbox.finish();
            context.stop();
        });
    }

    fn end_subscriptions(&mut self, reason: &str) {
        let now = self.hub.gateway().ports().clock.now();
        for (channel, subscription) in std::mem::take(&mut self.subscriptions) {
            subscription.end(reason, now);
            self.note(Note::Occupancy(channel));
        }
    }
}

/// Whether a text is an answer, or asks for a sign of life: that does not wait for messages that are held back, so that nobody is taken for
/// silent or slow for it.
fn is_prompt(text: &str) -> bool {
    text.starts_with("{\"id\":") || text.starts_with("{\"op\":\"ping\"")
}

/// The close code of an error that has none of its own (RFC 6455, section 7.4.1).
const INTERNAL_ERROR: u16 = 1011;

/// The refusal of a client that reads too slowly.
pub(crate) fn too_slow() -> Refusal {
    Refusal::plain(ErrorCode::SlowConsumer)
}
