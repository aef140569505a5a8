//! Presence as those who watch a channel see it: events in the order of their versions, and differences where some were missed.

use std::{
    cell::{Cell, RefCell},
    collections::{HashMap, VecDeque},
    pin::Pin,
    rc::Rc,
    time::Duration,
};

use fanfare_domain::{
    Refusal, Timestamp,
    ids::ConnectionId,
    presence::{
        Entry, Member, Place, PresenceEvent, Snapshot,
        views::{Outcome, View},
    },
};
use fanfare_protocol::{ClientName, presence::PresenceAction};
use futures::{FutureExt, future::Shared};
use tokio::sync::Notify;

use super::{
    Hub,
    channel::Channel,
    fan_out::AT_ONCE,
    frames::Told,
    late::Late,
    subscription::{Mode, Subscription},
};

/// Events that wait while a channel is read; past that it is read again.
const HELD_EVENTS: usize = 1_000;
/// Events that wait until those before them are told; past that, nothing more is taken from the bus until they are fewer.
const UNTOLD_EVENTS: usize = 1_000;
/// How often a channel is read again that changes while it is read.
const READS: usize = 50;
/// How soon a channel is read again whose members were forgotten and are being named again.
const WHOLE_PAUSE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Who was there at a version.
pub(super) struct MembersRead {
    version: u64,
    is_whole: bool,
    pub(super) members: Vec<Member>,
}

type Reading = Shared<Pin<Box<dyn Future<Output = Result<Rc<MembersRead>, Refusal>>>>>;

/// A channel's members while somebody watches; nothing is kept otherwise.
#[derive(Default)]
pub(super) struct Watch {
    watchers: Cell<usize>,
    view: RefCell<View>,
    /// Tells one spell of watching from the next.
    spell: Cell<u64>,
    reading: RefCell<Option<Reading>>,
    held: RefCell<Vec<PresenceEvent>>,
    /// Events that wait until those before them are told to everyone.
    untold: RefCell<VecDeque<PresenceEvent>>,
    is_telling: Cell<bool>,
    room: Notify,
    /// How many events there were to tell so far, and how many of them were told.
    events: Cell<u64>,
    told: Cell<u64>,
    /// Something was missed, and the channel is to be read.
    is_doubtful: Cell<bool>,
    is_mending: Cell<bool>,
}

impl Watch {
    /// Whether somebody watches.
    pub(super) fn is_wanted(&self) -> bool {
        self.watchers.get() > 0
    }

    /// One more watches.
    pub(super) fn begin(&self) {
        self.watchers.set(self.watchers.get() + 1);
    }

    /// One fewer watches; with the last one everything is forgotten.
    pub(super) fn end(&self) {
        self.watchers.set(self.watchers.get() - 1);
        if self.watchers.get() == 0 {
            self.spell.set(self.spell.get() + 1);
            self.view.take();
            self.reading.take();
            self.held.take();
            self.is_doubtful.set(false);
        }
    }

    /// How many events there were so far: a subscription that begins now is told what comes after them.
    pub(super) fn events(&self) -> u64 {
        self.events.get()
    }

    /// Returns when not too many events wait to be told.
    async fn room(&self) {
        while self.untold.borrow().len() > UNTOLD_EVENTS {
            self.room.notified().await;
        }
    }
}

/// Of whom nothing was told while a subscription was held, whether they were members before, and by which connection last.
#[derive(Default)]
pub(super) struct Missed(RefCell<HashMap<ClientName, (bool, ConnectionId)>>);

impl Late<Missed> {
    fn is_empty(&self) -> bool {
        self.if_used().is_none_or(|missed| missed.0.borrow().is_empty())
    }
}

impl Missed {
    fn note(&self, event: &PresenceEvent) {
        let was_there = event.action != PresenceAction::Enter;
        let connection = &event.entry.connection;
        let mut missed = self.0.borrow_mut();
        let (_, last) = missed.entry(event.entry.client.clone()).or_insert_with(|| (was_there, connection.clone()));
        *last = connection.clone();
    }
}

impl Hub {
    /// Returns when nothing that happens in the channel from now on would be missed.
    pub(super) async fn watch(self: &Rc<Self>, channel: &Rc<Channel>) -> Result<(), Refusal> {
        if channel.watch.view.borrow().is_read() {
            return Ok(());
        }
        self.read_members(channel).await.map(drop)
    }

    /// Everyone who is there, read after this was asked: whoever subscribes in the same moment is told what comes after. The channel must be watched.
    pub(super) async fn members(self: &Rc<Self>, channel: &Rc<Channel>) -> Result<Rc<MembersRead>, Refusal> {
        for _ in 0..READS {
            // One that is under way may have begun before.
            let under_way = channel.watch.reading.borrow().clone();
            if let Some(under_way) = under_way {
                let _ = under_way.await;
            }
            let read = self.read_members(channel).await?;
            if !read.is_whole {
                tokio::time::sleep(WHOLE_PAUSE).await;
                continue;
            }
            let is_last = channel.watch.view.borrow().version() == read.version;
            if is_last && channel.watch.reading.borrow().is_none() {
                return Ok(read);
            }
        }
        Err(Refusal::new(fanfare_protocol::ErrorCode::Unavailable, "members come and go too fast to be listed now"))
    }

    /// Whether somebody is in a channel, as far as those who watch it here were told.
    pub(super) fn has_members(&self, channel: &Channel) -> bool {
        !channel.watch.view.borrow().is_empty()
    }

    /// Takes an event from the bus. Returns when more can be taken, which may be before everyone was told.
    pub(super) async fn take_presence(&self, event: &PresenceEvent) {
        let key = (event.place.app.clone(), event.place.channel.clone());
        let channel = self.channels.borrow().get(&key).cloned();
        let Some(channel) = channel.filter(|channel| channel.is_watched()) else { return };
        let watch = &channel.watch;
        if !self.may_deliver() {
            // The channel is read when something may be delivered again, and the difference told.
            watch.is_doubtful.set(true);
        } else if watch.reading.borrow().is_some() {
            let mut held = watch.held.borrow_mut();
            match held.len() < HELD_EVENTS {
                true => held.push(event.clone()),
                false => watch.is_doubtful.set(true),
            }
        } else if watch.view.borrow().is_read() && !watch.is_doubtful.get() {
            self.show(&channel, event.clone());
            channel.watch.room().await;
        }
    }

    /// The bus was interrupted: every channel that is watched is read.
    pub(super) fn doubt_presence(&self) {
        let channels: Vec<_> = self.channels.borrow().values().cloned().collect();
        for channel in channels.iter().filter(|channel| channel.is_watched()) {
            self.doubt_members(channel);
        }
    }

    /// Reads a channel of which something was missed, if nobody does yet.
    pub(super) fn catch_up_with_members(&self, channel: &Rc<Channel>) {
        if channel.is_watched() && channel.watch.is_doubtful.get() {
            self.doubt_members(channel);
        }
    }

    /// Tells an event that is the next, or reads the channel if it is not.
    fn show(&self, channel: &Rc<Channel>, event: PresenceEvent) {
        let outcome = channel.watch.view.borrow_mut().take(event);
        match outcome {
            Outcome::Tell(event) => channel.tell_presence(&event),
            Outcome::Known => {}
            Outcome::Hole => self.doubt_members(channel),
        }
    }

    /// Has the channel read until that was possible.
    fn doubt_members(&self, channel: &Rc<Channel>) {
        channel.watch.is_doubtful.set(true);
        if channel.watch.is_mending.replace(true) {
            return;
        }
        let hub = self.this.upgrade().expect("the hub that is running is alive");
        let channel = Rc::clone(channel);
        actix_rt::spawn(async move {
            let mut pause = FIRST_PAUSE;
            while channel.is_watched() && channel.watch.is_doubtful.get() {
                hub.open_gate().await;
                // A reading that is under way may have begun before the doubt.
                let under_way = channel.watch.reading.borrow().clone();
                if let Some(under_way) = under_way {
                    let _ = under_way.await;
                }
                channel.watch.is_doubtful.set(false);
                if hub.read_members(&channel).await.is_err() {
                    channel.watch.is_doubtful.set(true);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
            channel.watch.is_mending.set(false);
        });
    }

    /// Reads the channel, once for all who wait, and tells the difference.
    async fn read_members(self: &Rc<Self>, channel: &Rc<Channel>) -> Result<Rc<MembersRead>, Refusal> {
        let reading = {
            let mut reading = channel.watch.reading.borrow_mut();
            let begin = || Rc::clone(self).begin_reading(Rc::clone(channel)).boxed_local().shared();
            reading.get_or_insert_with(begin).clone()
        };
        reading.await
    }

    async fn begin_reading(self: Rc<Self>, channel: Rc<Channel>) -> Result<Rc<MembersRead>, Refusal> {
        let spell = channel.watch.spell.get();
        let place = Place { app: channel.key.0.clone(), channel: channel.key.1.clone() };
        let snapshot = self.gateway.ports().presence.snapshot(&place).await;
        if channel.watch.spell.get() != spell {
            return Err(Refusal::plain(fanfare_protocol::ErrorCode::Unavailable));
        }
        channel.watch.reading.take();
        let held = channel.watch.held.take();
        let snapshot = snapshot?;
        let read =
            MembersRead { version: snapshot.version, is_whole: snapshot.is_whole, members: snapshot.members.clone() };
        self.members_read(&channel, &place, snapshot);
        held.into_iter().for_each(|event| self.show(&channel, event));
        Ok(Rc::new(read))
    }

    fn members_read(&self, channel: &Rc<Channel>, place: &Place, snapshot: Snapshot) {
        let now = self.gateway.ports().clock.now();
        let (events, again) = channel.watch.view.borrow_mut().replace(place, snapshot, now);
        events.iter().for_each(|event| channel.tell_presence(event));
        if let Some(again) = again {
            let (hub, channel, spell) = (self.this.clone(), Rc::clone(channel), channel.watch.spell.get());
            actix_rt::spawn(async move {
                tokio::time::sleep(again).await;
                if let Some(hub) = hub.upgrade().filter(|_| channel.watch.spell.get() == spell) {
                    hub.doubt_members(&channel);
                }
            });
        }
    }

    /// Tells a subscription that goes on what became of those of whom nothing was told while it was held.
    pub(super) fn tell_missed_presence(self: &Rc<Self>, subscription: &Rc<Subscription>) {
        if subscription.missed.is_empty() {
            return;
        }
        let (hub, subscription) = (Rc::clone(self), Rc::clone(subscription));
        actix_rt::spawn(async move {
            let channel = subscription.channel();
            let place = Place { app: channel.key.0.clone(), channel: channel.key.1.clone() };
            let mut pause = FIRST_PAUSE;
            while subscription.mode() != Mode::Ended {
                match hub.gateway.ports().presence.snapshot(&place).await {
                    Ok(snapshot) => {
                        return tell_missed(&subscription, &place, snapshot, hub.gateway.ports().clock.now());
                    }
                    Err(_) => tokio::time::sleep(pause).await,
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        });
    }
}

fn tell_missed(subscription: &Subscription, place: &Place, snapshot: Snapshot, time: Timestamp) {
    if !matches!(subscription.mode(), Mode::Live | Mode::CatchingUp) {
        return;
    }
    let mut missed = subscription.missed.0.take();
    let version = snapshot.version;
    for member in snapshot.members {
        if let Some((was_there, _)) = missed.remove(&member.entry.client) {
            let action = if was_there { PresenceAction::Update } else { PresenceAction::Enter };
            let event = PresenceEvent { place: place.clone(), version, action, entry: member.entry, time };
            subscription.push_presence(&Told::of(&event));
        }
    }
    for (client, (_, connection)) in missed.into_iter().filter(|(_, (was_there, _))| *was_there) {
        let entry = Entry { connection, client, data: None, info: None };
        let event = PresenceEvent { place: place.clone(), version, action: PresenceAction::Leave, entry, time };
        subscription.push_presence(&Told::of(&event));
    }
}

impl Channel {
    /// Tells an event to everyone who watches: at once where they are few, else in parts, between which everything else goes on, and after the events
    /// before it.
    fn tell_presence(self: &Rc<Self>, event: &PresenceEvent) {
        let watch = &self.watch;
        watch.events.set(watch.events.get() + 1);
        if watch.watchers.get() <= AT_ONCE && !watch.is_telling.get() {
            watch.told.set(watch.events.get());
            let told = Told::of(event);
            return self.subscriptions().iter().for_each(|subscription| subscription.hear(&told));
        }
        watch.untold.borrow_mut().push_back(event.clone());
        if !watch.is_telling.replace(true) {
            actix_rt::spawn(Rc::clone(self).tell_in_parts());
        }
    }

    async fn tell_in_parts(self: Rc<Self>) {
        loop {
            let Some(event) = self.watch.untold.borrow_mut().pop_front() else { break };
            self.watch.room.notify_waiters();
            let number = self.watch.told.get() + 1;
            self.watch.told.set(number);
            let told = Told::of(&event);
            for part in self.subscriptions().chunks(AT_ONCE) {
                let watching = part.iter().filter(|subscription| subscription.hears_from() < number);
                watching.for_each(|subscription| subscription.hear(&told));
                tokio::task::yield_now().await;
            }
        }
        self.watch.is_telling.set(false);
    }
}

impl Subscription {
    /// Takes an event, if it watches; what comes while it is held is told when it goes on.
    fn hear(&self, told: &Told<'_>) {
        if !self.watches() || self.mode() == Mode::Ended {
            return;
        }
        let is_silent = self.mode() == Mode::Held || !self.missed.is_empty();
        match is_silent {
            true => self.missed.note(told.event),
            false => self.push_presence(told),
        }
    }

    /// An outbox that is full closes the socket by itself.
    fn push_presence(&self, told: &Told<'_>) {
        if let Some(frame) = told.frame(self.format()) {
            let _ = self.outbox().push_message(frame);
        }
    }
}
