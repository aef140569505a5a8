//! Telling and sending in virtual time, over engines of the test's own.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use fanfare_domain::{
    Clock, StoreError, Timestamp,
    apps::App,
    capabilities::Capability,
    directory::{AppProfile, Directory},
    ids::{AppId, KeyId, TenantId, WebhookId},
    keys::{Key, Keys},
    occupancy::{self, Listed, Occupancy, Uncounted, Wanted},
    plans::Limits,
    presence::{self, MemberPage, Place, Presence, PresenceError, Snapshot},
    pusher::PusherSwitches,
    stores::Page,
    webhooks::{
        Backlog, BacklogAway, Changed, EventKind, Known, Note, Notebook, Notes, Poster, Receipt, Request, Taken, Told,
        ToldPlace, Webhook, WebhookFormat, WebhookPatch, Webhooks,
    },
};
use fanfare_protocol::{ChannelName, ClientName};
use serde_json::{Value, json};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep},
};

use super::{SendPorts, TellPorts, send_webhooks, tell_webhooks};

/// A clock that goes with the runtime's.
struct VirtualClock(Instant);

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000).after(self.0.elapsed())
    }
}

#[derive(Default)]
struct Heap {
    waiting: Mutex<VecDeque<Taken>>,
    filled: Notify,
    put: Mutex<u64>,
    settled: Mutex<BTreeSet<u64>>,
}

#[async_trait]
impl Backlog for Heap {
    async fn put(&self, bodies: Vec<Vec<u8>>) -> Result<(), BacklogAway> {
        for body in bodies {
            let mut put = self.put.lock().unwrap();
            *put += 1;
            self.waiting.lock().unwrap().push_back(Taken { receipt: Receipt { life: 0, number: *put }, body });
        }
        self.filled.notify_one();
        Ok(())
    }
    async fn take(&self) -> Vec<Taken> {
        loop {
            let taken: Vec<_> = self.waiting.lock().unwrap().drain(..).collect();
            if !taken.is_empty() {
                return taken;
            }
            self.filled.notified().await;
        }
    }
    async fn settle(&self, receipts: &[Receipt]) {
        self.settled.lock().unwrap().extend(receipts.iter().map(|receipt| receipt.number));
    }
}

/// An app with one webhook and one key.
struct World {
    profile: Arc<AppProfile>,
    key: Key,
    answers: Mutex<VecDeque<Result<u16, String>>>,
    always: Mutex<Result<u16, String>>,
    posted: Mutex<Vec<(Duration, Value)>>,
    begun: Instant,
}

impl World {
    fn new(batch_webhooks: bool) -> Arc<Self> {
        let mut app = App::new(TenantId::generate(), "a".into(), Timestamp(1));
        app.pusher = PusherSwitches { batch_webhooks, ..PusherSwitches::default() };
        let id = app.id.clone();
        let hook = Webhook {
            id: WebhookId::generate(),
            app: id.clone(),
            url: "https://example.com/".into(),
            format: WebhookFormat::Pusher,
            events: EventKind::ALL.into(),
            enabled: true,
            created_at: Timestamp(1),
        };
        let profile = AppProfile {
            app,
            limits: Limits::default(),
            rules: HashMap::new(),
            signers: Vec::new(),
            webhooks: vec![Arc::new(hook)],
        };
        let key = Key::mint(id, "k".into(), Capability::everything(), None, Timestamp(1));
        Arc::new(Self {
            profile: Arc::new(profile),
            key,
            answers: Mutex::default(),
            always: Mutex::new(Ok(200)),
            posted: Mutex::default(),
            begun: Instant::now(),
        })
    }

    fn posted(&self) -> Vec<(Duration, Value)> {
        std::mem::take(&mut *self.posted.lock().unwrap())
    }

    fn names(&self) -> Vec<String> {
        let events = self.posted().into_iter().flat_map(|(_, body)| body["events"].as_array().unwrap().clone());
        events.map(|event| event["name"].as_str().unwrap().to_owned()).collect()
    }
}

#[async_trait]
impl Poster for World {
    async fn post(&self, _: &str, request: Request, patience: Duration) -> Result<u16, String> {
        assert_eq!(patience, Duration::from_secs(4));
        let body = serde_json::from_slice(&request.body).unwrap();
        self.posted.lock().unwrap().push((self.begun.elapsed(), body));
        let answer = self.answers.lock().unwrap().pop_front();
        answer.unwrap_or_else(|| self.always.lock().unwrap().clone())
    }
}

#[async_trait]
impl Directory for World {
    async fn key(&self, _: &KeyId) -> Result<Option<Arc<Key>>, StoreError> {
        Ok(None)
    }
    async fn app(&self, app: &AppId) -> Result<Option<Arc<AppProfile>>, StoreError> {
        Ok((self.profile.app.id == *app).then(|| self.profile.clone()))
    }
    async fn forget_key(&self, _: &KeyId) {}
    async fn forget_app(&self, _: &AppId) {}
    async fn forget_all(&self) {}
    async fn doubt_all(&self) {}
}

#[async_trait]
impl Keys for World {
    async fn insert(&self, _: &Key, _: u32) -> Result<(), StoreError> {
        unreachable!()
    }
    async fn find(&self, _: &AppId, _: &KeyId) -> Result<Option<Key>, StoreError> {
        unreachable!()
    }
    async fn find_by_id(&self, _: &KeyId) -> Result<Option<Key>, StoreError> {
        unreachable!()
    }
    async fn list(&self, _: &AppId, _: &Page) -> Result<Vec<Key>, StoreError> {
        Ok(vec![self.key.clone()])
    }
    async fn rotate(&self, _: &AppId, _: &KeyId, _: Duration, _: Timestamp) -> Result<Option<Key>, StoreError> {
        unreachable!()
    }
    async fn remove(&self, _: &AppId, _: &KeyId) -> Result<bool, StoreError> {
        unreachable!()
    }
}

#[async_trait]
impl Webhooks for World {
    async fn insert(&self, _: &Webhook, _: u32) -> Result<(), StoreError> {
        unreachable!()
    }
    async fn find(&self, _: &AppId, _: &WebhookId) -> Result<Option<Webhook>, StoreError> {
        unreachable!()
    }
    async fn list(&self, _: &AppId, _: &Page) -> Result<Vec<Webhook>, StoreError> {
        unreachable!()
    }
    async fn update(&self, _: &AppId, _: &WebhookId, _: &WebhookPatch) -> Result<Option<Webhook>, StoreError> {
        unreachable!()
    }
    async fn remove(&self, _: &AppId, _: &WebhookId) -> Result<bool, StoreError> {
        unreachable!()
    }
    async fn apps(&self, after: Option<&AppId>, _: u32) -> Result<Vec<AppId>, StoreError> {
        Ok(if after.is_none() { vec![self.profile.app.id.clone()] } else { Vec::new() })
    }
}

/// Nobody is anywhere, and nothing was told.
struct Nobody;

#[async_trait]
impl Told for Nobody {
    async fn read(&self, _: &Place) -> Result<Known, StoreError> {
        Ok(Known::default())
    }
    async fn change(&self, _: &AppId, _: Vec<Changed>) -> Result<usize, StoreError> {
        panic!("nothing changes")
    }
    async fn places(&self, _: Option<&Place>, _: u32) -> Result<Vec<ToldPlace>, StoreError> {
        Ok(Vec::new())
    }
    async fn occupied(&self, _: &AppId, _: &[ChannelName]) -> Result<BTreeSet<ChannelName>, StoreError> {
        Ok(BTreeSet::new())
    }
    async fn forget(&self, _: &AppId) -> Result<(), StoreError> {
        Ok(())
    }
}

#[async_trait]
impl Occupancy for Nobody {
    fn enter(&self, _: &AppId, _: &ChannelName) {}
    fn leave(&self, _: &AppId, _: &ChannelName) {}
    async fn subscribers(&self, places: &[occupancy::Place]) -> Result<Vec<u64>, Uncounted> {
        Ok(vec![0; places.len()])
    }
    async fn list(&self, _: &AppId, _: &Wanted) -> Result<Listed, Uncounted> {
        Ok(Listed::default())
    }
    async fn withdraw(&self) {}
}

type Done = Result<(), PresenceError>;

#[async_trait]
impl Presence for Nobody {
    async fn enter(&self, _: &Place, _: presence::Entry, _: u32) -> Done {
        unreachable!()
    }
    async fn update(&self, _: &Place, _: presence::Entry) -> Done {
        unreachable!()
    }
    async fn leave(
        &self,
        _: &Place,
        _: &fanfare_domain::ids::ConnectionId,
        _: Option<Box<serde_json::value::RawValue>>,
    ) -> Done {
        unreachable!()
    }
    fn withdraw(&self, _: &Place, _: &fanfare_domain::ids::ConnectionId) {}
    fn ended(&self, _: &fanfare_domain::ids::ConnectionId) {}
    async fn page(&self, _: &Place, _: Option<&ClientName>, _: u32) -> Result<MemberPage, PresenceError> {
        Ok(MemberPage::default())
    }
    async fn snapshot(&self, _: &Place) -> Result<Snapshot, PresenceError> {
        Ok(Snapshot { version: 0, life: None, members: Vec::new() })
    }
    async fn retire(&self) {}
}

/// From the notebook to the address.
struct Running {
    world: Arc<World>,
    notebook: Notebook,
    notes: Arc<Heap>,
    tellings: Arc<Heap>,
    _stop: watch::Sender<bool>,
}

impl Running {
    fn start(world: &Arc<World>) -> Self {
        let (notes, tellings): (Arc<Heap>, Arc<Heap>) = Default::default();
        let (stop, stopped) = watch::channel(false);
        let clock: Arc<dyn Clock> = Arc::new(VirtualClock(world.begun));
        tokio::spawn(tell_webhooks(
            TellPorts {
                notes: notes.clone(),
                tellings: tellings.clone(),
                told: Arc::new(Nobody),
                webhooks: world.clone(),
                directory: world.clone(),
                occupancy: Arc::new(Nobody),
                presence: Arc::new(Nobody),
                clock: clock.clone(),
            },
            stopped.clone(),
        ));
        tokio::spawn(send_webhooks(
            SendPorts {
                tellings: tellings.clone(),
                directory: world.clone(),
                keys: world.clone(),
                poster: world.clone(),
                clock,
            },
            stopped,
        ));
        Self { world: world.clone(), notebook: Notebook::default(), notes, tellings, _stop: stop }
    }

    async fn note(&self, note: Note) {
        self.notebook.note(&self.world.profile, note);
        self.notebook.put_down(self.notes.as_ref()).await.unwrap();
    }

    /// Whether nothing waits any more.
    fn is_settled(&self) -> bool {
        [&self.notes, &self.tellings]
            .iter()
            .all(|heap| heap.settled.lock().unwrap().len() as u64 == *heap.put.lock().unwrap())
    }
}

fn channel(name: &str) -> ChannelName {
    ChannelName::restore(name).unwrap()
}

fn event(name: &str, n: u32) -> Note {
    Note::ClientEvent {
        channel: channel(name),
        event: "client-said".into(),
        data: n.to_string(),
        socket_id: "1.2".into(),
        user_id: Some(ClientName::parse("ann").unwrap()),
    }
}

#[tokio::test(start_paused = true)]
async fn client_events_and_cache_misses_are_told_with_all_that_belongs_to_them() {
    let world = World::new(false);
    let running = Running::start(&world);
    running.note(event("private-a", 1)).await;
    running.note(event("presence-a", 2)).await;
    running.note(event("#server-to-user-ann", 3)).await;
    sleep(Duration::from_secs(1)).await;
    let mut events: Vec<_> = world.posted().into_iter().map(|(_, body)| body["events"].clone()).collect();
    events.sort_by_key(|events| events[0]["data"].to_string());
    assert_eq!(
        events,
        [
            json!([{"name": "client_event", "channel": "private-a", "event": "client-said", "data": "1", "socket_id": "1.2"}]),
            json!([{"name": "client_event", "channel": "presence-a", "event": "client-said", "data": "2", "socket_id": "1.2", "user_id": "ann"}]),
        ]
    );
    for _ in 0..5 {
        running.note(Note::CacheMiss(channel("cache-a"))).await;
        sleep(Duration::from_secs(5)).await;
    }
    running.note(Note::CacheMiss(channel("cache-b"))).await;
    sleep(Duration::from_secs(40)).await;
    assert_eq!(world.names(), ["cache_miss", "cache_miss"], "once for each channel");
    running.note(Note::CacheMiss(channel("cache-a"))).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.names(), ["cache_miss"], "and again after a while");
    assert!(running.is_settled());
}

#[tokio::test(start_paused = true)]
async fn what_is_never_taken_is_let_go_after_five_minutes_and_what_is_taken_late_is_told_once() {
    let world = World::new(false);
    *world.always.lock().unwrap() = Ok(503);
    let running = Running::start(&world);
    running.note(event("private-a", 1)).await;
    sleep(Duration::from_secs(299)).await;
    assert!(!running.is_settled());
    sleep(Duration::from_secs(2)).await;
    assert!(running.is_settled());
    let times: Vec<_> = world.posted().iter().map(|(at, _)| at.as_secs()).collect();
    assert_eq!(times, [0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 300]);
    sleep(Duration::from_secs(600)).await;
    assert!(world.posted().is_empty());
    *world.always.lock().unwrap() = Ok(204);
    world.answers.lock().unwrap().extend([Err("it did not answer".to_owned()), Ok(301), Ok(404)]);
    for n in 0..3 {
        running.note(event("private-a", n)).await;
    }
    sleep(Duration::from_secs(30)).await;
    let told = world.posted().into_iter().map(|(_, body)| body["events"][0]["data"].as_str().unwrap().to_owned());
    assert_eq!(told.collect::<Vec<_>>(), ["0", "0", "0", "0", "1", "2"], "in the order of the channel");
    assert!(running.is_settled());
}

#[tokio::test(start_paused = true)]
async fn batches_hold_what_came_in_a_quarter_of_a_second_and_twenty_at_most() {
    let world = World::new(true);
    let running = Running::start(&world);
    for n in 0..50 {
        running.note(event("private-a", n)).await;
    }
    sleep(Duration::from_secs(1)).await;
    let posted = world.posted();
    let sizes: Vec<_> = posted.iter().map(|(_, body)| body["events"].as_array().unwrap().len()).collect();
    assert_eq!(sizes, [20, 20, 10]);
    assert!(posted[2].0 - posted[0].0 <= Duration::from_millis(300));
    let all = posted.iter().flat_map(|(_, body)| body["events"].as_array().unwrap());
    let data: Vec<_> = all.map(|event| event["data"].as_str().unwrap().to_owned()).collect();
    assert_eq!(data, (0..50).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_dead_address_holds_so_much_and_no_more() {
    let world = World::new(false);
    *world.always.lock().unwrap() = Ok(500);
    let running = Running::start(&world);
    for n in 0..1_500 {
        running.note(event("private-a", n)).await;
    }
    sleep(Duration::from_secs(10)).await;
    let waiting = *running.tellings.put.lock().unwrap() - running.tellings.settled.lock().unwrap().len() as u64;
    assert_eq!(waiting, 1_000);
}
