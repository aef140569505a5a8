//! Telling and sending in virtual time, over engines of the test's own.

use std::{sync::Arc, time::Duration};

use fanfare_domain::{
    Clock,
    webhooks::{Note, Notebook, Notes},
};
use fanfare_protocol::{ChannelName, ClientName};
use serde_json::json;
use tokio::{sync::watch, time::sleep};

use super::{SendPorts, TellPorts, send_webhooks, tell_webhooks};
use engines::{Heap, Nobody, VirtualClock, World};

mod engines;

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
