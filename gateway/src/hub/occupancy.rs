//! Who of a thread watches the counts of channels, and telling them, each at most once a second.

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    time::{Duration, Instant},
};

use fanfare_domain::{metrics::Metric, occupancy::Counts};

use super::{
    ChannelKey, Hub,
    frames::{self, Format},
    subscription::{Mode, Subscription},
};

/// Nobody is told of a channel twice within this.
const APART: Duration = Duration::from_secs(1);
/// Past so many, Pusher's clients are told less often, as its documents say.
const MANY_SUBSCRIBERS: u64 = 100;
const FAR_APART: Duration = Duration::from_secs(5);

/// The watchers of a thread, by channel.
#[derive(Default)]
pub(super) struct Watchers(RefCell<HashMap<ChannelKey, Vec<Watcher>>>);

struct Watcher {
    subscription: Rc<Subscription>,
    /// What it was last told, and when.
    told: Option<(Counts, Instant)>,
}

impl Watcher {
    /// Whether it is to be told now. One whose client reads slowly is told later, and then only the newest.
    fn wants(&self, counts: Counts, now: Instant) -> bool {
        let is_news = match self.subscription.format() {
            // Members are told by themselves.
            Format::Pusher => self.told.is_none_or(|(told, at)| {
                let apart = if counts.subscribers > MANY_SUBSCRIBERS { FAR_APART } else { Duration::ZERO };
                told.subscribers != counts.subscribers && now.duration_since(at) >= apart
            }),
            _ => self.told.is_none_or(|(told, at)| told != counts && now.duration_since(at) >= APART),
        };
        let is_delivered = matches!(self.subscription.mode(), Mode::Live | Mode::CatchingUp);
        let outbox = self.subscription.outbox();
        is_news && is_delivered && outbox.is_open() && !outbox.is_half_full()
    }
}

impl Hub {
    /// Tells a subscription the counts of its channel, soon and whenever they change, until it ends.
    pub(crate) fn watch_occupancy(&self, subscription: &Rc<Subscription>) {
        let key = &subscription.channel().key;
        let watcher = Watcher { subscription: Rc::clone(subscription), told: None };
        self.watchers.0.borrow_mut().entry(key.clone()).or_default().push(watcher);
        self.gateway().watching().watch(key);
    }

    /// A subscription has ended, which may have watched.
    pub(super) fn unwatch_occupancy(&self, subscription: &Rc<Subscription>) {
        let key = &subscription.channel().key;
        let mut channels = self.watchers.0.borrow_mut();
        let Some(watchers) = channels.get_mut(key) else { return };
        let Some(at) = watchers.iter().position(|other| Rc::ptr_eq(&other.subscription, subscription)) else { return };
        watchers.swap_remove(at);
        if watchers.is_empty() {
            channels.remove(key);
        }
        self.gateway().watching().unwatch(key);
    }

    pub(super) fn tell_occupancy(&self, now: Instant) {
        if !self.may_deliver() {
            return;
        }
        let mut told = 0;
        for (key, watchers) in self.watchers.0.borrow_mut().iter_mut() {
            let Some(counted) = self.gateway().watching().last(key) else { continue };
            let [mut native, mut pusher] = [None, None];
            for watcher in watchers.iter_mut().filter(|watcher| watcher.wants(counted.counts, now)) {
                let format = watcher.subscription.format();
                let frame = if format == Format::Native { &mut native } else { &mut pusher };
                let frame = frame.get_or_insert_with(|| frames::occupancy(format, &key.1, counted));
                let Some(frame) = frame else { continue };
                if watcher.subscription.outbox().push_message(frame.clone()).is_ok() {
                    watcher.told = Some((counted.counts, now));
                    told += 1;
                }
            }
        }
        Metric::OccupancyEvents.add(told);
    }
}

/// Tells the thread's watchers what was counted, until the process ends.
pub(super) async fn tell(hub: Rc<Hub>) {
    let mut counted = hub.gateway().watching().subscribe();
    while counted.changed().await.is_ok() {
        hub.tell_occupancy(Instant::now());
    }
}
