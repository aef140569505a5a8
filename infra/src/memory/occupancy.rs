//! The subscriptions of a process that is all there is.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use fanfare_domain::{
    ids::AppId,
    occupancy::{Listed, Occupancy, Place, Uncounted, Wanted},
};
use fanfare_protocol::ChannelName;

/// Counts inside the process.
#[derive(Debug, Default)]
pub struct MemoryOccupancy(Mutex<HashMap<AppId, BTreeMap<ChannelName, u64>>>);

impl MemoryOccupancy {
    fn lock(&self) -> MutexGuard<'_, HashMap<AppId, BTreeMap<ChannelName, u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Occupancy for MemoryOccupancy {
    fn enter(&self, app: &AppId, channel: &ChannelName) {
        *self.lock().entry(app.clone()).or_default().entry(channel.clone()).or_default() += 1;
    }

    fn leave(&self, app: &AppId, channel: &ChannelName) {
        let mut apps = self.lock();
        let Some(channels) = apps.get_mut(app) else { return };
        let Some(count) = channels.get_mut(channel) else { return };
        *count -= 1;
        if *count == 0 {
            channels.remove(channel);
        }
        if channels.is_empty() {
            apps.remove(app);
        }
    }

    async fn subscribers(&self, places: &[Place]) -> Result<Vec<u64>, Uncounted> {
        let apps = self.lock();
        let count = |(app, channel): &Place| apps.get(app)?.get(channel).copied();
        Ok(places.iter().map(|place| count(place).unwrap_or(0)).collect())
    }

    async fn list(&self, app: &AppId, wanted: &Wanted) -> Result<Listed, Uncounted> {
        let apps = self.lock();
        let Some(channels) = apps.get(app) else { return Ok(Listed::default()) };
        let from = match &wanted.after {
            Some(after) if *after >= wanted.prefix => Bound::Excluded(after.as_str()),
            _ => Bound::Included(wanted.prefix.as_str()),
        };
        let mut found = channels
            .range::<str, _>((from, Bound::Unbounded))
            .take_while(|(channel, _)| channel.as_str().starts_with(&wanted.prefix));
        let channels: Vec<_> =
            found.by_ref().take(wanted.limit).map(|(channel, count)| (channel.clone(), *count)).collect();
        let next = found.next().and(channels.last()).map(|(channel, _)| channel.to_string());
        Ok(Listed { channels, next })
    }

    async fn withdraw(&self) {}
}
