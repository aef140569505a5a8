//! The hub of one thread: its local channels, who follows them, and the fan-out from the bus.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    rc::{Rc, Weak},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use actix::Recipient;
use fanfare_domain::{
    Refusal,
    bus::{Broadcast, Following, Heard},
    connections::{Command, Located},
    deliveries::Receipts,
    ids::{AppId, ConnectionId},
    metrics::Metric,
    revocations::Standing,
};
use fanfare_protocol::{ChannelName, ErrorCode};
use tokio::sync::SetOnce;
use tracing::error;

use crate::{Drain, Gateway, sockets::Mail, wire::Outbox};

mod catch_up;
mod channel;
mod fan_out;
mod faults;
mod frames;
mod history;
mod late;
mod locate;
mod measured;
mod occupancy;
mod pages;
mod presence;
mod pusher;
mod repair;
mod revocations;
mod spans;
mod subscription;

use channel::Channel;
pub(crate) use frames::{Format, online_channel};
pub use measured::FanOut;
pub(crate) use pages::Pages;
pub(crate) use pusher::Arrival;
use revocations::Gate;
pub(crate) use subscription::Subscription;

type ChannelKey = (AppId, ChannelName);

/// The hub of one thread.
pub(crate) struct Hub {
    gateway: Gateway,
    channels: RefCell<HashMap<ChannelKey, Rc<Channel>>>,
    sockets: RefCell<HashMap<ConnectionId, Socket>>,
    watchers: occupancy::Watchers,
    gate: Rc<Gate>,
    /// What this thread wants to hear, once it listens.
    following: SetOnce<Arc<dyn Following>>,
    /// Whether the bus has brought more than what is looked at.
    more_waits: Cell<bool>,
    /// Interruptions of the bus that are being made good.
    interruptions: Cell<u32>,
    this: Weak<Hub>,
}

/// A socket, as control messages find it.
struct Socket {
    address: Recipient<Mail>,
    outbox: Outbox,
    /// Once it has connected: whose it is, and what a revocation may reach.
    standing: Option<Box<Standing>>,
}

impl Hub {
    /// A hub for this thread, listening to the bus.
    pub(crate) fn start(gateway: Gateway) -> Rc<Self> {
        let gate = Gate::new(Arc::clone(&gateway.ports().enforcement), gateway.faults().cloned());
        let hub = Rc::new_cyclic(|this| Self {
            gateway,
            gate,
            channels: RefCell::default(),
            sockets: RefCell::default(),
            watchers: occupancy::Watchers::default(),
            following: SetOnce::new(),
            more_waits: Cell::default(),
            interruptions: Cell::default(),
            this: this.clone(),
        });
        actix_rt::spawn(listen(Rc::clone(&hub)));
        actix_rt::spawn(occupancy::tell(Rc::clone(&hub)));
        actix_rt::spawn(revocations::obey_changes(Rc::clone(&hub)));
        actix_rt::spawn(faults::suffer(Rc::clone(&hub)));
        hub
    }

    pub(crate) fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Makes a new socket known to control messages, and to the gate that decides whether anything is delivered.
    pub(crate) fn join(&self, connection: ConnectionId, address: Recipient<Mail>, outbox: &Outbox) {
        if self.gateway.is_draining() {
            // It came past the refusal of new ones, and perhaps after all others were told.
            let address = address.clone();
            actix_rt::spawn(async move { tell(&address, Command::Drain { after: Duration::ZERO }).await });
        }
        outbox.guard(self.gate.clone());
        let socket = Socket { address, outbox: outbox.clone(), standing: None };
        self.sockets.borrow_mut().insert(connection, socket);
    }

    /// Forgets a socket.
    pub(crate) fn leave(&self, connection: &ConnectionId) {
        if self.sockets.borrow_mut().remove(connection).is_some_and(|socket| socket.standing.is_some()) {
            self.gateway.shared.connections.fetch_sub(1, Ordering::SeqCst);
            Metric::Connections.shift(-1.0);
        }
    }

    /// Begins to deliver a channel to a socket after a position.
    pub(crate) fn deliver(
        &self,
        app: AppId,
        channel: ChannelName,
        connection: ConnectionId,
        outbox: (Outbox, Format),
        located: &Located,
        (presence, receipts): (bool, Option<Arc<Receipts>>),
    ) -> Rc<Subscription> {
        let channel = self.channel(app, channel);
        let subscription = Subscription::begin(&channel, connection, outbox, located.position, presence);
        subscription.trace(receipts);
        if channel.is_other_epoch(&located.answer.epoch) {
            self.end_epoch(&subscription);
            return subscription;
        }
        self.go_on(&subscription);
        subscription
    }

    /// Delivers from where a subscription stands: live if it has everything, else from the past first.
    pub(crate) fn go_on(&self, subscription: &Rc<Subscription>) {
        let hub = self.this.upgrade().expect("the hub that is running is alive");
        hub.tell_missed_presence(subscription);
        catch_up::start(hub, Rc::clone(subscription));
    }

    /// The local channel, made if it is new. It stays while somebody holds it.
    fn channel(&self, app: AppId, name: ChannelName) -> Rc<Channel> {
        let key = (app, name);
        let mut channels = self.channels.borrow_mut();
        if let Some(channel) = channels.get(&key) {
            return Rc::clone(channel);
        }
        let channel = Rc::new(Channel::new(key.clone(), self.this.clone()));
        channels.insert(key, Rc::clone(&channel));
        channel
    }

    /// Forgets a channel that nobody holds but the hub itself.
    fn release(&self, key: &ChannelKey) {
        let mut channels = self.channels.borrow_mut();
        if channels.get(key).is_some_and(|channel| channel.is_unused()) {
            channels.remove(key);
            if let Some(following) = self.following.get() {
                following.unfollow(&key.0, &key.1);
            }
        }
    }

    /// Returns when no message of the channel sent from now on would be missed.
    async fn follow(&self, channel: &Channel) {
        self.following.wait().await.follow(&channel.key.0, &channel.key.1).await;
    }

    async fn hear(self: &Rc<Self>, heard: Heard) {
        match heard {
            Heard::Sent(broadcast) => self.take(broadcast).await,
            Heard::Head { app, channel, head } => self.take_head(&(app, channel), &head),
            Heard::Interrupted => self.interrupted(),
        }
    }

    async fn take(&self, broadcast: Broadcast) {
        match broadcast {
            Broadcast::Message(envelope) => self.fan_out(envelope).await,
            Broadcast::Presence(event) => self.take_presence(&event).await,
            Broadcast::AppChanged(app) => {
                self.gateway.shared.pages.forget_app(&app);
                let addresses = self.addresses(|standing| standing.app == app);
                actix_rt::spawn(tell_app_changed(self.gateway.clone(), app, addresses));
            }
            Broadcast::KeyRevoked(key) => {
                let addresses = self.addresses(|standing| standing.voucher.key() == Some(&key));
                let directory = Arc::clone(&self.gateway.ports().directory);
                actix_rt::spawn(async move {
                    directory.forget_key(&key).await;
                    for address in addresses {
                        tell(&address, Command::End(revoked())).await;
                    }
                });
            }
            // What is revoked is known to the process, and told to its threads, apart from the bus.
            Broadcast::Beat(_) | Broadcast::Revision(_) => {}
        }
    }

    fn addresses(&self, which: impl Fn(&Standing) -> bool) -> Vec<Recipient<Mail>> {
        let sockets = self.sockets.borrow();
        sockets
            .values()
            .filter(|socket| socket.standing.as_deref().is_some_and(&which))
            .map(|socket| socket.address.clone())
            .collect()
    }

    /// Tells every socket of this thread how long it is still served; those that have not connected end at once.
    async fn drain(self: Rc<Self>, drain: Arc<Drain>) {
        let sockets: Vec<_> =
            self.sockets.borrow().values().map(|one| (one.address.clone(), one.standing.is_some())).collect();
        for (address, has_connected) in sockets {
            let now = self.gateway.ports().clock.now();
            let after = if has_connected { drain.next(now) } else { Duration::ZERO };
            tell(&address, Command::Drain { after }).await;
        }
    }
}

async fn tell_app_changed(gateway: Gateway, app: AppId, addresses: Vec<Recipient<Mail>>) {
    gateway.ports().directory.forget_app(&app).await;
    for address in addresses {
        // Read for each, from the cache: while the last ones are told, the app may change again.
        let news = app_news(&gateway, &app).await;
        tell(&address, news).await;
    }
}

/// What an app allows now, as a socket is told of it.
pub(crate) async fn app_news(gateway: &Gateway, app: &AppId) -> Command {
    Command::AppChanged(match gateway.ports().directory.app(app).await {
        Ok(Some(profile)) => Ok(profile),
        Ok(None) => Err(Refusal::new(ErrorCode::AppDisabled, "the app was removed")),
        Err(failure) => Err(failure.into()),
    })
}

/// What a socket is told whose key was revoked.
pub(crate) fn revoked() -> Refusal {
    Refusal::new(ErrorCode::BadKey, "the key was revoked")
}

/// Tells a socket something that it may not miss: a full mailbox is waited for.
async fn tell(address: &Recipient<Mail>, command: Command) {
    // A socket that is gone needs no telling.
    let _ = address.send(Mail::new(command)).await;
}

/// Takes everything from the bus, in order, until the process ends.
async fn listen(hub: Rc<Hub>) {
    let mut drain = hub.gateway.shared.drain.subscribe();
    let mut bus = match hub.gateway.ports().bus.listen().await {
        Ok(bus) => bus,
        Err(failure) => return error!(error = %failure, "The gateway cannot listen to the bus"),
    };
    // A hub listens once.
    let _ = hub.following.set(Arc::clone(&bus.following));
    loop {
        tokio::select! {
            heard = bus.heard.recv() => match heard {
                Some(heard) => {
                    hub.more_waits.set(!bus.heard.is_empty());
                    hub.hear(heard).await;
                }
                None => return,
            },
            changed = drain.changed() => match changed {
                Ok(()) => {
                    let begun = drain.borrow_and_update().clone();
                    if let Some(begun) = begun {
                        // Beside the rest: whoever is told is served on.
                        actix_rt::spawn(Rc::clone(&hub).drain(begun));
                    }
                }
                Err(_) => return,
            },
        }
    }
}
