//! Occupancy events: once a second all channels that somebody on this node watches are counted, in one round trip; every thread then tells
//! its own watchers what has changed.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fanfare_domain::{
    Timestamp,
    occupancy::{Counts, Place},
};
use tokio::{
    sync::{Notify, watch},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tracing::{info, warn};

use crate::Gateway;

/// How often what is watched is counted; a little more than a second, since nobody is told twice within one.
const EVERY: Duration = Duration::from_millis(1_020);
/// How long more channels are waited for before new ones are counted; by then the subscription that watches counts itself.
const GATHERING: Duration = Duration::from_millis(50);
/// How long a node that ends may take to say so.
const WITHDRAWAL: Duration = Duration::from_secs(1);

/// A channel's counts, and when they were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counted {
    pub counts: Counts,
    pub time: Timestamp,
}

/// What is watched on this node.
#[derive(Default)]
pub(crate) struct Watching {
    channels: Mutex<HashMap<Place, Watched>>,
    /// Somebody new watches.
    wanted: Notify,
    /// Everything was counted.
    counted: watch::Sender<()>,
}

#[derive(Default)]
struct Watched {
    watchers: usize,
    /// It is to be counted before its turn.
    is_wanted: bool,
    counted: Option<Counted>,
}

impl Watching {
    /// One more watches a channel, which is counted soon.
    pub fn watch(&self, place: &Place) {
        let mut channels = self.lock();
        let watched = channels.entry(place.clone()).or_default();
        watched.watchers += 1;
        watched.is_wanted = true;
        self.wanted.notify_one();
    }

    /// A subscription began or ended here: if somebody watches the channel, it is counted soon.
    pub fn hint(&self, place: &Place) {
        if let Some(watched) = self.lock().get_mut(place) {
            watched.is_wanted = true;
            self.wanted.notify_one();
        }
    }

    /// One fewer watches it.
    pub fn unwatch(&self, place: &Place) {
        let mut channels = self.lock();
        let Some(watched) = channels.get_mut(place) else { return };
        watched.watchers -= 1;
        if watched.watchers == 0 {
            channels.remove(place);
        }
    }

    /// What was last counted of a channel.
    pub fn last(&self, place: &Place) -> Option<Counted> {
        self.lock().get(place)?.counted
    }

    /// Hears whenever channels were counted.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.counted.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Watched>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn places(&self, all: bool) -> Vec<Place> {
        let channels = self.lock();
        channels.iter().filter(|(_, watched)| all || watched.is_wanted).map(|(place, _)| place.clone()).collect()
    }

    fn take(&self, places: &[Place], counts: Vec<Counts>, time: Timestamp) {
        let mut channels = self.lock();
        for (place, counts) in places.iter().zip(counts) {
            if let Some(watched) = channels.get_mut(place) {
                watched.is_wanted = false;
                if watched.counted.is_none_or(|last| last.counts != counts) {
                    watched.counted = Some(Counted { counts, time });
                }
            }
        }
    }
}

impl Gateway {
    /// Counts what is watched until `stopped` says so.
    pub async fn count_occupancy(self, mut stopped: watch::Receiver<bool>) {
        let mut due = interval(EVERY);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_known_to_fail = false;
        loop {
            let all = tokio::select! {
                _ = due.tick() => true,
                () = self.watching().wanted.notified() => false,
                _ = stopped.wait_for(|stop| *stop) => return,
            };
            if !all {
                sleep(GATHERING).await;
            }
            self.count(all, &mut is_known_to_fail).await;
        }
    }

    async fn count(&self, all: bool, is_known_to_fail: &mut bool) {
        let places = self.watching().places(all);
        if places.is_empty() {
            return;
        }
        match self.ports().census.counts(&places).await {
            Ok(counts) => {
                self.watching().take(&places, counts, self.ports().clock.now());
                self.watching().counted.send_replace(());
                if std::mem::take(is_known_to_fail) {
                    info!("Occupancy events go on");
                }
            }
            Err(failure) if !std::mem::replace(is_known_to_fail, true) => {
                warn!(error = %failure, "No occupancy events are sent until channels can be counted again");
            }
            Err(_) => {}
        }
    }

    /// Says that this node's subscriptions count no more. Called when its sockets are closed.
    pub async fn withdraw(&self) {
        // Who is not told within that time finds it out by itself.
        let _ = timeout(WITHDRAWAL, self.ports().census.occupancy.withdraw()).await;
    }
}

#[cfg(test)]
mod tests {
    use fanfare_domain::ids::AppId;
    use fanfare_protocol::ChannelName;

    use super::*;

    #[test]
    fn a_channel_is_counted_for_as_long_as_somebody_watches() {
        let watching = Watching::default();
        let places = [(AppId::generate(), ChannelName::parse("room").unwrap())];
        let place = &places[0];
        watching.watch(place);
        watching.watch(place);
        assert_eq!(watching.places(false), places);
        watching.take(&places, vec![Counts { subscribers: 2, members: 0 }], Timestamp(5));
        assert!(watching.places(false).is_empty());
        watching.unwatch(place);
        assert_eq!(watching.places(true), places);
        watching.take(&places, vec![Counts { subscribers: 2, members: 0 }], Timestamp(9));
        assert_eq!(watching.last(place).map(|last| last.time), Some(Timestamp(5)), "nothing has changed since");
        watching.unwatch(place);
        assert!(watching.places(true).is_empty() && watching.last(place).is_none());
        watching.take(&places, vec![Counts::default()], Timestamp(9));
        assert!(watching.last(place).is_none());
    }
}
