//! Engines of the tests: an app with one webhook, in whose channels nobody is.

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
        Backlog, BacklogAway, Changed, EventKind, Known, Poster, Receipt, Request, Taken, Told, ToldPlace, Webhook,
        WebhookFormat, WebhookPatch, Webhooks,
    },
};
use fanfare_protocol::{ChannelName, ClientName};
use serde_json::Value;
use tokio::{sync::Notify, time::Instant};

/// A clock that goes with the runtime's.
pub struct VirtualClock(pub Instant);

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_700_000_000_000).after(self.0.elapsed())
    }
}

#[derive(Default)]
pub struct Heap {
    pub waiting: Mutex<VecDeque<Taken>>,
    pub filled: Notify,
    pub put: Mutex<u64>,
    pub settled: Mutex<BTreeSet<u64>>,
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
pub struct World {
    pub profile: Arc<AppProfile>,
    pub key: Key,
    pub answers: Mutex<VecDeque<Result<u16, String>>>,
    pub always: Mutex<Result<u16, String>>,
    pub posted: Mutex<Vec<(Duration, Value)>>,
    pub begun: Instant,
}

impl World {
    pub fn new(batch_webhooks: bool) -> Arc<Self> {
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

    pub fn posted(&self) -> Vec<(Duration, Value)> {
        std::mem::take(&mut *self.posted.lock().unwrap())
    }

    pub fn names(&self) -> Vec<String> {
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
pub struct Nobody;

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

pub type Done = Result<(), PresenceError>;

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
    async fn count(&self, _: &Place) -> Result<u64, PresenceError> {
        Ok(0)
    }
    async fn snapshot(&self, _: &Place) -> Result<Snapshot, PresenceError> {
        Ok(Snapshot { version: 0, life: None, members: Vec::new(), is_whole: true })
    }
    async fn retire(&self) {}
}
