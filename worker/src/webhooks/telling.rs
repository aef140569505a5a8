//! From notes to what is to be told.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use fanfare_domain::{
    Clock, StoreError, Timestamp,
    directory::{AppProfile, Directory},
    ids::AppId,
    metrics::Metric,
    occupancy::Occupancy,
    presence::{Place, Presence},
    webhooks::{
        Backlog, Changed, Effect, EventKind, Holder, Input, Note, Noted, Receipt, Seen, Taken, Telling, Tidings, Told,
        Unreadable, Webhooks, Wishes, has_members, read_notes,
    },
};
use fanfare_protocol::ChannelName;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};
use tracing::{error, warn};

use super::sweeping::Sweep;

/// How long a miss of an empty channel is not told again.
const MISS: Duration = Duration::from_secs(60);
/// Misses that are known at most.
const MISSES: usize = 50_000;
/// How soon what failed is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// What telling needs.
#[derive(Clone)]
pub struct TellPorts {
    /// Where notes come from.
    pub notes: Arc<dyn Backlog>,
    /// Where what is to be told goes.
    pub tellings: Arc<dyn Backlog>,
    /// What was told.
    pub told: Arc<dyn Told>,
    /// Which apps have webhooks.
    pub webhooks: Arc<dyn Webhooks>,
    /// Apps with their webhooks.
    pub directory: Arc<dyn Directory>,
    /// How many subscribers channels have.
    pub occupancy: Arc<dyn Occupancy>,
    /// Who their members are.
    pub presence: Arc<dyn Presence>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Takes notes and finds out what is to be told, until `stopped` says so. What is in hand then is handed out again, or found again.
pub async fn tell_webhooks(ports: TellPorts, mut stopped: watch::Receiver<bool>) {
    let (found, to_look_at) = mpsc::channel(16);
    let sweeping = Sweep::new(ports.clone()).run(found);
    let mut teller = Teller { ports, holder: Holder::default(), misses: HashMap::new() };
    tokio::select! {
        () = teller.run(to_look_at) => {}
        () = sweeping => {}
        _ = stopped.wait_for(|stop| *stop) => {}
    }
}

struct Teller {
    ports: TellPorts,
    holder: Holder,
    misses: HashMap<Place, Timestamp>,
}

impl Teller {
    async fn run(&mut self, mut found: mpsc::Receiver<Vec<Place>>) {
        let notes = self.ports.notes.clone();
        loop {
            let now = self.ports.clock.now();
            let wait =
                self.holder.next().map_or(Duration::from_secs(1), |at| at.since(now).min(Duration::from_secs(1)));
            tokio::select! {
                taken = notes.take() => self.read(taken).await,
                Some(places) = found.recv() => places.into_iter().for_each(|place| self.apply_quietly(Input::Noted(place))),
                () = sleep_until(Instant::now() + wait) => {}
            }
            self.look().await;
        }
    }

    fn apply_quietly(&mut self, input: Input) {
        let effects = self.holder.apply(input, self.ports.clock.now());
        debug_assert!(effects.is_empty(), "only a look or a tick has effects");
    }

    /// Reads lots of notes. They are settled once what they tell of themselves is put down; hints are found again if they are lost.
    async fn read(&mut self, taken: Vec<Taken>) {
        let (mut tellings, mut receipts): (Vec<Vec<u8>>, Vec<Receipt>) = (Vec::new(), Vec::new());
        for Taken { receipt, body } in taken {
            match read_notes(&body) {
                Ok(notes) => {
                    for noted in notes {
                        tellings.extend(self.take(noted).await.iter().map(Telling::to_bytes));
                    }
                    receipts.push(receipt);
                }
                // It stays, for a worker that can read it.
                Err(Unreadable::Later(version)) => {
                    error!(version, "Notes of a later version are left for a worker that knows it");
                }
                Err(Unreadable::Damaged(reason)) => {
                    error!(reason, "Notes for webhooks are damaged, and let go");
                    Metric::WebhookEvents.add_labelled("unreadable", 1);
                    receipts.push(receipt);
                }
            }
        }
        while !tellings.is_empty() {
            match self.ports.tellings.put(tellings.clone()).await {
                Ok(()) => break,
                Err(failure) => {
                    warn!(error = %failure, "What webhooks are to be told cannot be put down; trying again")
                }
            }
            sleep(PAUSE).await;
        }
        self.ports.notes.settle(&receipts).await;
    }

    async fn take(&mut self, Noted { app, note }: Noted) -> Vec<Telling> {
        let event = match note {
            Note::Occupancy(channel) | Note::Members(channel) => {
                self.apply_quietly(Input::Noted(Place { app, channel }));
                return Vec::new();
            }
            Note::CacheMiss(channel) if self.is_known_miss(&app, &channel) => return Vec::new(),
            Note::CacheMiss(channel) => Tidings::CacheMiss { channel },
            Note::ClientEvent { channel, event, data, socket_id, user_id } => {
                let user_id = user_id.filter(|_| has_members(&channel));
                Tidings::ClientEvent { channel, event, data, socket_id, user_id }
            }
        };
        loop {
            match self.ports.directory.app(&app).await {
                Ok(Some(profile)) => return tellings(&profile, &event),
                Ok(None) => return Vec::new(),
                Err(failure) => warn!(error = %failure, app.id = %app, "An app cannot be read; trying again"),
            }
            sleep(PAUSE).await;
        }
    }

    fn is_known_miss(&mut self, app: &AppId, channel: &ChannelName) -> bool {
        let now = self.ports.clock.now();
        if self.misses.len() >= MISSES {
            self.misses.retain(|_, at| now.since(*at) < MISS);
        }
        let place = Place { app: app.clone(), channel: channel.clone() };
        if self.misses.get(&place).is_some_and(|at| now.since(*at) < MISS) {
            return true;
        }
        if self.misses.len() < MISSES {
            self.misses.insert(place, now);
        }
        false
    }

    /// Looks at what is due, app by app.
    async fn look(&mut self) {
        let effects = self.holder.apply(Input::Tick, self.ports.clock.now());
        let mut by_app: BTreeMap<AppId, Vec<Place>> = BTreeMap::new();
        for effect in effects {
            if let Effect::Look(place) = effect {
                by_app.entry(place.app.clone()).or_default().push(place);
            }
        }
        for (app, places) in by_app {
            if let Err(failure) = self.look_at(&app, &places).await {
                warn!(error = %failure, app.id = %app, "What happened in an app cannot be told now; trying again");
                places.into_iter().for_each(|place| self.apply_quietly(Input::Failed(place)));
            }
        }
    }

    async fn look_at(&mut self, app: &AppId, places: &[Place]) -> Result<(), StoreError> {
        let profile = self.ports.directory.app(app).await?;
        let Some(profile) = profile.filter(|profile| wishes(profile) != Wishes::default()) else {
            // What anybody wants to be told later begins with nothing.
            return self.ports.told.forget(app).await;
        };
        let wishes = wishes(&profile);
        let asked: Vec<_> = places.iter().map(|place| (app.clone(), place.channel.clone())).collect();
        let counts = self.ports.occupancy.subscribers(&asked).await.map_err(StoreError::unavailable)?;
        let mut changes = Vec::new();
        for (place, subscribers) in places.iter().zip(counts) {
            let known = self.ports.told.read(place).await?;
            let mut seen = Seen { subscribers, ..Seen::default() };
            if wishes.members && has_members(&place.channel) {
                let snapshot = self.ports.presence.snapshot(place).await.map_err(StoreError::unavailable)?;
                seen.members = snapshot.members.into_iter().map(|member| member.entry.client).collect();
            }
            let looked = Input::Looked { place: place.clone(), seen, known, wishes };
            for effect in self.holder.apply(looked, self.ports.clock.now()) {
                if let Effect::Tell(place, change) = effect {
                    let tellings = tellings(&profile, &change.tidings(&place.channel));
                    changes.push(Changed { channel: place.channel, change, tellings });
                }
            }
        }
        if !changes.is_empty() {
            self.ports.told.change(app, changes).await?;
        }
        Ok(())
    }
}

/// What an app's webhooks are told of who is there.
pub(super) fn wishes(profile: &AppProfile) -> Wishes {
    Wishes {
        occupancy: profile.tells(EventKind::ChannelOccupied) || profile.tells(EventKind::ChannelVacated),
        members: profile.tells(EventKind::MemberAdded) || profile.tells(EventKind::MemberRemoved),
        counts: profile.app.pusher.subscription_counts && profile.tells(EventKind::SubscriptionCount),
    }
}

fn tellings(profile: &AppProfile, event: &Tidings) -> Vec<Telling> {
    let hooks = profile.webhooks_for(event.kind());
    hooks.map(|hook| Telling::new(profile.app.id.clone(), hook.id.clone(), event.clone())).collect()
}
