//! The trace of deliveries of a process that is all there is.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use fanfare_domain::{
    Timestamp,
    deliveries::{
        COURSES_OF_APP, COURSES_OF_CLIENT, Course, DeliveryTrace, KEPT, Kept, Lot, Memory, PUBLISHES_OF_APP, Place,
        Publish, Untraceable,
    },
    ids::{AppId, MessageId},
};
use fanfare_protocol::{ChannelName, ClientName};

/// Courses inside the process, which begin with it.
#[derive(Debug)]
pub struct MemoryTrace {
    began_at: Timestamp,
    /// Up to when everything was told, as milliseconds; 0 while there was nothing.
    caught_up: AtomicU64,
    apps: Mutex<HashMap<AppId, Trace>>,
}

type Client = (ChannelName, ClientName);

#[derive(Debug, Default)]
struct Trace {
    since: Timestamp,
    /// Up to when courses were let go.
    floor: Timestamp,
    clients: HashMap<Client, Courses>,
    /// Every course by when it was told.
    order: BTreeSet<(Timestamp, Client, String)>,
    publishes: VecDeque<Publish>,
}

#[derive(Debug, Default)]
struct Courses {
    floor: Timestamp,
    by_id: BTreeMap<String, Course>,
}

impl MemoryTrace {
    /// A trace that begins now.
    pub fn new(now: Timestamp) -> Self {
        Self { began_at: now, caught_up: AtomicU64::new(0), apps: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AppId, Trace>> {
        self.apps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fresh(&self) -> Trace {
        Trace { since: self.began_at, ..Trace::default() }
    }
}

impl Trace {
    fn keep(&mut self, client: Client, course: Course) {
        let courses = self.clients.entry(client.clone()).or_default();
        let (id, told_at) = (course.id.clone(), course.told_at);
        if let Some(last) = courses.by_id.insert(id.clone(), course) {
            self.order.remove(&(last.told_at, client.clone(), id.clone()));
        }
        self.order.insert((told_at, client.clone(), id));
        if courses.by_id.len() > COURSES_OF_CLIENT
            && let Some(oldest) = courses.by_id.values().min_by_key(|course| course.told_at)
        {
            let (id, told_at) = (oldest.id.clone(), oldest.told_at);
            courses.by_id.remove(&id);
            courses.floor = courses.floor.max(told_at);
            self.order.remove(&(told_at, client, id));
        }
    }

    /// Lets go what is too old, and the oldest of what is too much.
    fn bound(&mut self, now: Timestamp) {
        while let Some((told_at, _, _)) = self.order.first()
            && (self.order.len() > COURSES_OF_APP || *told_at < now.before(KEPT))
        {
            let Some((told_at, client, id)) = self.order.pop_first() else { break };
            self.floor = self.floor.max(told_at);
            if let Some(courses) = self.clients.get_mut(&client) {
                courses.by_id.remove(&id);
                if courses.by_id.is_empty() {
                    self.clients.remove(&client);
                }
            }
        }
        let surplus = self.publishes.len().saturating_sub(PUBLISHES_OF_APP);
        self.publishes.drain(..surplus);
    }
}

#[async_trait]
impl DeliveryTrace for MemoryTrace {
    async fn begin(&self, app: &AppId, now: Timestamp) -> Result<(), Untraceable> {
        self.lock().insert(app.clone(), Trace { since: now, ..Trace::default() });
        Ok(())
    }

    async fn forget(&self, app: &AppId) -> Result<(), Untraceable> {
        self.lock().remove(app);
        Ok(())
    }

    async fn write(&self, lot: &Lot, now: Timestamp) -> Result<Memory, Untraceable> {
        let mut apps = self.lock();
        for (place, course) in &lot.courses {
            let trace = apps.entry(place.app.clone()).or_insert_with(|| self.fresh());
            trace.keep((place.channel.clone(), place.client.clone()), course.clone());
        }
        for publish in &lot.publishes {
            apps.entry(publish.app.clone()).or_insert_with(|| self.fresh()).publishes.push_back(publish.clone());
        }
        for (app, at) in &lot.gaps {
            let trace = apps.entry(app.clone()).or_insert_with(|| self.fresh());
            trace.floor = trace.floor.max(*at);
        }
        apps.values_mut().for_each(|trace| trace.bound(now));
        if let Some(caught_up) = lot.caught_up {
            self.caught_up.store(caught_up.0, Ordering::SeqCst);
        }
        Ok(Memory::Whole)
    }

    async fn retire(&self) -> Result<(), Untraceable> {
        Ok(())
    }

    async fn read(&self, place: &Place, message: &MessageId, now: Timestamp) -> Result<Kept, Untraceable> {
        let apps = self.lock();
        let caught_up = self.caught_up.load(Ordering::SeqCst);
        let gaps: Vec<_> = (caught_up > 0).then_some((Timestamp(caught_up), now)).into_iter().collect();
        let Some(trace) = apps.get(&place.app) else {
            return Ok(Kept { reaches_back_to: self.began_at, gaps, ..Kept::default() });
        };
        let client = (place.channel.clone(), place.client.clone());
        let courses = trace.clients.get(&client);
        let floor = trace.since.max(trace.floor).max(courses.map_or(Timestamp(0), |courses| courses.floor));
        // Whoever tells is this process.
        let mut found: Vec<_> = courses
            .into_iter()
            .flat_map(|courses| courses.by_id.values().cloned())
            .map(|course| (course, true))
            .collect();
        found.sort_by_key(|(course, _)| course.began_at);
        let is_it = |publish: &&Publish| publish.channel == place.channel && publish.message == *message;
        let publish = trace.publishes.iter().rev().find(is_it).map(|publish| publish.is_ephemeral);
        Ok(Kept { courses: found, reaches_back_to: floor, gaps, publish })
    }
}
