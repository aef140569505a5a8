//! Looking for what nobody noted: of nodes that were killed, and of notes that were lost.

use std::{collections::HashSet, time::Duration};

use fanfare_domain::{
    StoreError,
    ids::AppId,
    occupancy::Wanted,
    presence::Place,
    webhooks::{ToldPlace, Wishes, has_members},
};
use fanfare_protocol::ChannelName;
use tokio::{
    sync::mpsc,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};
use tracing::warn;

use super::telling::{TellPorts, wishes};

/// How often what was told is looked through.
const EVERY: Duration = Duration::from_secs(10);
/// In how many of these turns what is, and was never told, is looked for too.
const FULL: u32 = 6;
const PAGE: u32 = 500;

/// What is looked for, and when.
pub(super) struct Sweep {
    ports: TellPorts,
    due: Interval,
    turn: u32,
}

impl Sweep {
    pub fn new(ports: TellPorts) -> Self {
        // Not at once: clients of a process that begins anew come back meanwhile.
        let mut due = interval_at(Instant::now() + EVERY, EVERY);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ports, due, turn: 0 }
    }

    /// Looks again and again, and gives the channels that are to be looked at.
    pub async fn run(mut self, found: mpsc::Sender<Vec<Place>>) {
        while found.send(self.next().await).await.is_ok() {}
    }

    async fn next(&mut self) -> Vec<Place> {
        self.due.tick().await;
        let mut found = Vec::new();
        let swept = async {
            self.gone(&mut found).await?;
            if self.turn.is_multiple_of(FULL) {
                self.unheard_of(&mut found).await?;
            }
            Ok::<(), StoreError>(())
        };
        if let Err(failure) = swept.await {
            warn!(error = %failure, "What webhooks were not told could not be looked for; trying again");
        }
        self.turn = self.turn.wrapping_add(1);
        found
    }

    /// Channels that are told to be occupied and are not, or have another number of members.
    async fn gone(&self, found: &mut Vec<Place>) -> Result<(), StoreError> {
        let (mut after, mut unwanted) = (None, HashSet::new());
        loop {
            let page = self.ports.told.places(after.as_ref(), PAGE).await?;
            let places: Vec<_> = page.iter().map(|told| (told.place.app.clone(), told.place.channel.clone())).collect();
            let counts = self.ports.occupancy.subscribers(&places).await.map_err(StoreError::unavailable)?;
            for (ToldPlace { place, is_occupied, members }, subscribers) in page.iter().cloned().zip(counts) {
                if !self.is_heard(&place.app, &mut unwanted).await? {
                    continue;
                }
                let has_left = is_occupied && subscribers == 0;
                if has_left || (has_members(&place.channel) && self.members(&place).await? != members) {
                    found.push(place);
                }
            }
            if page.len() < PAGE as usize {
                return Ok(());
            }
            after = page.last().map(|told| told.place.clone());
        }
    }

    /// Whether the app still has somebody who wants to know. Else what was told is forgotten.
    async fn is_heard(&self, app: &AppId, unwanted: &mut HashSet<AppId>) -> Result<bool, StoreError> {
        if unwanted.contains(app) {
            return Ok(false);
        }
        let profile = self.ports.directory.app(app).await?;
        if profile.is_some_and(|profile| wishes(&profile) != Wishes::default()) {
            return Ok(true);
        }
        self.ports.told.forget(app).await?;
        unwanted.insert(app.clone());
        Ok(false)
    }

    async fn members(&self, place: &Place) -> Result<u64, StoreError> {
        self.ports.presence.page(place, None, 1).await.map(|page| page.count).map_err(StoreError::unavailable)
    }

    /// Occupied channels of apps with webhooks that were never told to be.
    async fn unheard_of(&self, found: &mut Vec<Place>) -> Result<(), StoreError> {
        let mut after: Option<AppId> = None;
        loop {
            let apps = self.ports.webhooks.apps(after.as_ref(), PAGE).await?;
            for app in &apps {
                if let Some(profile) = self.ports.directory.app(app).await?
                    && wishes(&profile) != Wishes::default()
                {
                    self.unheard_of_app(app, wishes(&profile), found).await?;
                }
            }
            if apps.len() < PAGE as usize {
                return Ok(());
            }
            after = apps.last().cloned();
        }
    }

    async fn unheard_of_app(&self, app: &AppId, wishes: Wishes, found: &mut Vec<Place>) -> Result<(), StoreError> {
        let mut wanted = Wanted { prefix: String::new(), after: None, limit: PAGE as usize };
        loop {
            let listed = self.ports.occupancy.list(app, &wanted).await.map_err(StoreError::unavailable)?;
            let channels: Vec<ChannelName> = listed.channels.into_iter().map(|(channel, _)| channel).collect();
            let told = self.ports.told.occupied(app, &channels).await?;
            let is_new = |channel: &ChannelName| {
                !channel.is_of_service() && (!told.contains(channel) || (wishes.members && has_members(channel)))
            };
            found.extend(channels.into_iter().filter(is_new).map(|channel| Place { app: app.clone(), channel }));
            match listed.next {
                Some(next) => wanted.after = Some(next),
                None => return Ok(()),
            }
        }
    }
}
