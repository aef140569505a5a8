//! From what is to be told to the addresses that are told.
//!
//! What concerns one channel goes to one webhook in order, one request after the other; different channels go beside each other, a few at a time for each
//! webhook. So a slow address delays nobody else's.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fanfare_domain::{
    Clock, StoreError,
    directory::Directory,
    ids::{AppId, TellingId, WebhookId},
    keys::{Key, Keys},
    metrics::Metric,
    stores::Page,
    webhooks::{Backlog, Lane, Patience, Poster, Receipt, Step, Taken, Telling, Unreadable, Webhook},
};
use tokio::{
    sync::{Notify, Semaphore, watch},
    task::JoinSet,
    time::{Instant, sleep},
};
use tracing::{error, info, warn};

/// How many events a worker has in hand at most.
pub const MOST_IN_HAND: usize = 4_000;
/// How many of them may be one webhook's; of more, its oldest are let go.
const MOST_OF_HOOK: usize = 1_000;
/// Requests to one webhook at the same time.
const LANES: u64 = 8;
/// Requests at the same time.
const REQUESTS: usize = 256;
/// How long an address may take to answer.
const ANSWER: Duration = Duration::from_secs(4);
/// How soon an app that cannot be read is read again.
const PAUSE: Duration = Duration::from_secs(1);

/// What sending needs.
#[derive(Clone)]
pub struct SendPorts {
    /// What is to be told.
    pub tellings: Arc<dyn Backlog>,
    /// Apps with their webhooks.
    pub directory: Arc<dyn Directory>,
    /// The keys that sign.
    pub keys: Arc<dyn Keys>,
    /// What posts.
    pub poster: Arc<dyn Poster>,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Tells webhooks what they are to be told, until `stopped` says so. What is in hand then is handed out again.
pub async fn send_webhooks(ports: SendPorts, mut stopped: watch::Receiver<bool>) {
    let hall = Arc::new(Hall {
        ports,
        lanes: Mutex::default(),
        requests: Semaphore::new(REQUESTS),
        hasher: RandomState::new(),
        freed: Notify::new(),
    });
    tokio::select! {
        () = hall.run() => {}
        _ = stopped.wait_for(|stop| *stop) => {}
    }
}

type LaneKey = (WebhookId, u64);

struct Hall {
    ports: SendPorts,
    lanes: Mutex<Lanes>,
    requests: Semaphore,
    hasher: RandomState,
    freed: Notify,
}

#[derive(Default)]
struct Lanes {
    by_key: HashMap<LaneKey, LaneState>,
    /// By what each telling in hand is settled: its latest receipt.
    receipts: HashMap<TellingId, Receipt>,
    of_hook: HashMap<WebhookId, usize>,
}

struct LaneState {
    lane: Lane<Telling>,
    app: AppId,
    pushed: Arc<Notify>,
    /// How many of its first are being sent.
    under_way: usize,
    /// Whether its last failure was told in the log.
    is_known_to_fail: bool,
}

/// What came of a request.
enum Outcome {
    Taken,
    /// It was not; why.
    Failed(String),
    /// Nobody wants to be told any more.
    Unwanted,
    /// It could not be found out whom to tell.
    Unknown,
}

impl Hall {
    async fn run(self: &Arc<Self>) {
        // Dropped with this, and so all that they do ends.
        let mut running = JoinSet::new();
        loop {
            while self.lanes().receipts.len() >= MOST_IN_HAND {
                self.freed.notified().await;
            }
            let taken = self.ports.tellings.take().await;
            for key in self.sort(taken).await {
                let hall = self.clone();
                running.spawn(async move { hall.drive(key).await });
            }
            while let Some(ended) = running.try_join_next() {
                if let Err(failure) = ended {
                    error!(error = %failure, "A lane of webhooks ended unasked");
                }
            }
        }
    }

    /// Puts each into its lane; the lanes that are new.
    async fn sort(&self, taken: Vec<Taken>) -> Vec<LaneKey> {
        let (mut new, mut done) = (Vec::new(), Vec::new());
        for Taken { receipt, body } in taken {
            match Telling::read(&body) {
                Ok(telling) => {
                    let number = self.number(&telling).await;
                    let (key, over) = self.push(telling, number, receipt);
                    new.extend(key);
                    done.extend(over);
                }
                Err(Unreadable::Later(version)) => {
                    error!(version, "What a later version wrote for a webhook is left for a worker that knows it");
                }
                Err(Unreadable::Damaged(reason)) => {
                    error!(reason, "What was written for a webhook is damaged, and let go");
                    Metric::WebhookEvents.add_labelled("unreadable", 1);
                    done.push(receipt);
                }
            }
        }
        self.settle(&done).await;
        new
    }

    /// The lane, if it is new, and what is let go.
    fn push(&self, telling: Telling, number: u64, receipt: Receipt) -> (Option<LaneKey>, Option<Receipt>) {
        let now = self.ports.clock.now();
        let mut lanes = self.lanes();
        if let Some(known) = lanes.receipts.get_mut(&telling.id) {
            // Handed out again, since the connection broke.
            *known = receipt;
            return (None, None);
        }
        lanes.receipts.insert(telling.id.clone(), receipt);
        let hook = telling.hook.clone();
        let count = lanes.of_hook.entry(hook.clone()).or_default();
        *count += 1;
        let is_over = *count > MOST_OF_HOOK;
        Metric::WebhookWaiting.shift(1.0);
        let key = (hook.clone(), number);
        let mut new = None;
        let state = lanes.by_key.entry(key.clone()).or_insert_with(|| {
            new = Some(key.clone());
            let (app, pushed) = (telling.app.clone(), Arc::new(Notify::new()));
            LaneState { lane: Lane::default(), app, pushed, under_way: 0, is_known_to_fail: false }
        });
        state.lane.push(telling, now);
        state.pushed.notify_one();
        let over = if is_over { lanes.give_up(&hook) } else { None };
        if over.is_some() {
            Metric::WebhookEvents.add_labelled("overflow", 1);
        }
        (new, over)
    }

    /// Which of its webhook's lanes it goes into. Where several events go into one request there is one.
    async fn number(&self, telling: &Telling) -> u64 {
        let profile = self.ports.directory.app(&telling.app).await.ok().flatten();
        if profile.is_some_and(|profile| profile.app.pusher.batch_webhooks) {
            return 0;
        }
        self.hasher.hash_one(telling.event.channel().as_str()) % LANES
    }

    /// Sends what is in a lane until it is empty.
    async fn drive(&self, key: LaneKey) {
        loop {
            let Some((app, pushed)) = self.rest_or_go_on(&key) else { return };
            let (batched, hook) = match self.hook(&app, &key.0).await {
                Ok(Some(found)) => found,
                Ok(None) => {
                    self.finish(&key, usize::MAX, Outcome::Unwanted).await;
                    continue;
                }
                Err(failure) => {
                    warn!(error = %failure, app.id = %app, "A webhook cannot be read; trying again");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let patience = if batched { Patience::BATCHED } else { Patience::ALONE };
            match self.step(&key, patience) {
                Step::Rest => {}
                Step::Wait(until) => {
                    let wait = until.since(self.ports.clock.now());
                    tokio::select! {
                        () = sleep(wait) => {}
                        () = pushed.notified() => {}
                    }
                }
                Step::Send(count) => {
                    let tellings = self.begin(&key, count);
                    let outcome = self.send(&app, &hook, &tellings).await;
                    self.finish(&key, count, outcome).await;
                }
            }
        }
    }

    /// Takes an empty lane away, under the lock under which others are pushed.
    fn rest_or_go_on(&self, key: &LaneKey) -> Option<(AppId, Arc<Notify>)> {
        let mut lanes = self.lanes();
        let state = lanes.by_key.get(key)?;
        if state.lane.is_empty() {
            lanes.by_key.remove(key);
            return None;
        }
        Some((state.app.clone(), state.pushed.clone()))
    }

    /// The webhook, if it is told anything now, and whether several events go into one request.
    async fn hook(&self, app: &AppId, hook: &WebhookId) -> Result<Option<(bool, Arc<Webhook>)>, StoreError> {
        let Some(profile) = self.ports.directory.app(app).await? else { return Ok(None) };
        let found = profile.webhooks.iter().find(|known| known.id == *hook && known.enabled && profile.app.enabled);
        Ok(found.map(|hook| (profile.app.pusher.batch_webhooks, hook.clone())))
    }

    fn step(&self, key: &LaneKey, patience: Patience) -> Step {
        let lanes = self.lanes();
        lanes.by_key.get(key).map_or(Step::Rest, |state| state.lane.step(patience, self.ports.clock.now()))
    }

    fn begin(&self, key: &LaneKey, count: usize) -> Vec<Telling> {
        let mut lanes = self.lanes();
        let Some(state) = lanes.by_key.get_mut(key) else { return Vec::new() };
        state.under_way = count;
        state.lane.items().take(count).cloned().collect()
    }

    async fn send(&self, app: &AppId, hook: &Webhook, tellings: &[Telling]) -> Outcome {
        let key = match self.signing_key(app).await {
            Ok(Some(key)) => key,
            Ok(None) => return Outcome::Failed("the app has no API key to sign with".to_owned()),
            Err(failure) => {
                warn!(error = %failure, app.id = %app, "The keys of an app cannot be read; trying again");
                sleep(PAUSE).await;
                return Outcome::Unknown;
            }
        };
        let Ok(_permit) = self.requests.acquire().await else { return Outcome::Unknown };
        let events = tellings.iter().map(|telling| &telling.event);
        let request = hook.format.write(events, &key, self.ports.clock.now());
        let begun = Instant::now();
        let answer = self.ports.poster.post(&hook.url, request, ANSWER).await;
        Metric::WebhookSeconds.observe(begun.elapsed());
        match answer {
            Ok(status) if (200..300).contains(&status) => {
                Metric::WebhookRequests.add_labelled("taken", 1);
                Outcome::Taken
            }
            Ok(status) => {
                Metric::WebhookRequests.add_labelled("refused", 1);
                Outcome::Failed(format!("it answered {status}"))
            }
            Err(reason) => {
                Metric::WebhookRequests.add_labelled("failed", 1);
                Outcome::Failed(reason)
            }
        }
    }

    /// The oldest API key that works.
    async fn signing_key(&self, app: &AppId) -> Result<Option<Key>, StoreError> {
        let now = self.ports.clock.now();
        let keys = self.ports.keys.list(app, &Page { after: None, limit: 100 }).await?;
        Ok(keys.into_iter().find(|key| key.is_live(now)))
    }

    async fn finish(&self, key: &LaneKey, count: usize, outcome: Outcome) {
        let now = self.ports.clock.now();
        let receipts: Vec<Receipt> = {
            let mut lanes = self.lanes();
            let Some(state) = lanes.by_key.get_mut(key) else { return };
            state.under_way = 0;
            let (over, label) = match outcome {
                Outcome::Taken => {
                    if std::mem::take(&mut state.is_known_to_fail) {
                        info!(app.id = %state.app, webhook.id = %key.0, "A webhook takes events again");
                    }
                    (state.lane.taken(count), "told")
                }
                Outcome::Unwanted => (state.lane.taken(count), "unwanted"),
                Outcome::Unknown => (Vec::new(), "told"),
                Outcome::Failed(reason) => {
                    let over = state.lane.failed(now);
                    if !std::mem::replace(&mut state.is_known_to_fail, true) {
                        info!(app.id = %state.app, webhook.id = %key.0, reason, "A webhook takes no events; trying again for 5 minutes");
                    }
                    if !over.is_empty() {
                        let events = over.len();
                        warn!(app.id = %state.app, webhook.id = %key.0, events, reason, "Events that a webhook did not take within 5 minutes are let go");
                    }
                    (over, "expired")
                }
            };
            Metric::WebhookEvents.add_labelled(label, over.len() as u64);
            over.iter().filter_map(|telling| lanes.let_go(telling)).collect()
        };
        self.settle(&receipts).await;
    }

    async fn settle(&self, receipts: &[Receipt]) {
        if !receipts.is_empty() {
            self.ports.tellings.settle(receipts).await;
            self.freed.notify_one();
        }
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    /// Nothing is kept of it any more; what it is settled by.
    fn let_go(&mut self, telling: &Telling) -> Option<Receipt> {
        if let Some(count) = self.of_hook.get_mut(&telling.hook) {
            *count -= 1;
            if *count == 0 {
                self.of_hook.remove(&telling.hook);
            }
        }
        Metric::WebhookWaiting.shift(-1.0);
        self.receipts.remove(&telling.id)
    }

    /// Takes what has waited long out of a webhook's longest lane.
    fn give_up(&mut self, hook: &WebhookId) -> Option<Receipt> {
        let own = self.by_key.iter_mut().filter(|((of, _), _)| of == hook);
        let (_, longest) = own.max_by_key(|(_, state)| state.lane.len())?;
        let telling = longest.lane.give_up(longest.under_way)?;
        self.let_go(&telling)
    }
}
