//! Presence under chaos: members that enter, change, leave and come back, observers who are told, and the judgement of what they were told.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use serde_json::Value;
use tokio::{sync::watch, time::MissedTickBehavior};

use super::{faults::Fault, links::Lost, stage::pass};
use crate::harness::tokens::now_s;

mod members;
mod observers;
mod settling;
mod stays;
mod views;

pub use members::Member;
pub use observers::Observer;
pub use settling::settle;
use stays::{Gateway, Stays};
use views::View;

/// Members; of every second one the gateway is another.
pub const MEMBERS: usize = 10;
/// Observers: by socket and by server-sent events, two of each at either gateway.
pub const OBSERVERS: usize = 8;
/// Observers that stay as long as they can; the others come and go.
const STAYING: usize = 4;
/// The channels that members enter.
const ROOMS: [&str; 2] = ["chaos:room-0", "chaos:room-1"];
/// Members that enter once and stay; the others also change, leave and drop their connections.
const STEADY: usize = 6;
/// Between two tries of what is unavailable.
const PAUSE: Duration = Duration::from_millis(200);
/// How often the clock of the test looks whether it is served, and how late it may be.
const TICK: Duration = Duration::from_millis(100);
const LATE: Duration = Duration::from_secs(2);

/// What a member does in a room, as far as it knows.
#[derive(Debug, Clone, PartialEq)]
enum Truth {
    /// It was answered that it is in, with this data.
    In(Value),
    /// It was answered that it is out.
    Out,
    /// It was not answered yet, or lost its connection.
    Unknown,
}

/// Who is in a room, by client, with its data.
type Room = BTreeMap<String, Value>;

/// What members, observers and the judge share.
pub struct Presence {
    /// While it is true, nobody changes anything.
    calm: watch::Sender<bool>,
    state: Mutex<State>,
}

struct State {
    /// Of each member, of each room.
    truths: Vec<[Truth; ROOMS.len()]>,
    /// Of each observer, of each room; nothing while it is not subscribed.
    views: Vec<[Option<View>; ROOMS.len()]>,
    stays: Stays,
    figures: Figures,
}

/// What was judged.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figures {
    /// Presence events that observers were told.
    pub told: usize,
    /// Of these, enters and leaves.
    pub changes: usize,
    /// Subscriptions of observers that these came to, each unbroken.
    pub subscriptions: usize,
    /// Leaves of members that never leave, whose gateway was struck or whose connection was lost.
    pub leaves: usize,
    /// The same while the machine did not even serve the test's own clock.
    pub starved: usize,
    /// Times that all views, lists and members agreed.
    pub settled: usize,
}

impl Presence {
    /// Before anybody comes.
    pub fn new() -> Self {
        let truths = vec![[const { Truth::Unknown }; ROOMS.len()]; MEMBERS];
        let views = vec![[const { None }; ROOMS.len()]; OBSERVERS];
        let state = State { truths, views, stays: Stays::new(MEMBERS), figures: Figures::default() };
        Self { calm: watch::Sender::new(false), state: Mutex::new(state) }
    }

    /// What was judged so far.
    pub fn figures(&self) -> Figures {
        self.with(|state| state.figures)
    }

    /// A fault is made from now on; what it does to a gateway's presence is its excuse.
    pub fn struck(&self, fault: &Fault) {
        if let Some(gateway) = fault.gateway() {
            self.with(|state| state.stays.struck(Gateway(gateway), now_ms()));
        }
    }

    /// It is over.
    pub fn healed(&self, fault: &Fault) {
        if let Some(gateway) = fault.gateway() {
            self.with(|state| state.stays.healed(Gateway(gateway), now_ms()));
        }
    }

    /// Notes for as long as it runs when the machine did not serve even a clock: no lease can be kept then.
    pub async fn watch_the_clock(&self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = ticks.tick().await;
        loop {
            ticks.tick().await;
            if last.elapsed() > LATE {
                self.with(|state| state.stays.starved(now_ms()));
            }
            last = tokio::time::Instant::now();
        }
    }

    /// Returns after a while, but not while nobody changes anything.
    async fn stay(&self, time: Duration) {
        pass(time).await;
        let _ = self.calm.subscribe().wait_for(|is_calm| !is_calm).await;
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))
    }

    /// An observer has subscribed and listed.
    fn sees(&self, observer: usize, room: usize, view: View) {
        self.with(|state| {
            state.views[observer][room] = Some(view);
            state.figures.subscriptions += 1;
        });
    }

    /// An observer is not subscribed any more.
    fn sees_nothing(&self, observer: usize) {
        self.with(|state| state.views[observer].fill_with(|| None));
    }

    /// An observer was told something, which must fit what it was told before.
    fn told(&self, observer: usize, event: &Value) -> Result<(), Lost> {
        let place = ROOMS.iter().position(|room| event["channel"] == *room);
        let room = place.ok_or_else(|| Lost::Refused(format!("presence of another channel came: {event}")))?;
        self.with(|state| {
            let view = state.views[observer][room].as_mut().expect("an observer lists before it takes events");
            view.take(event).map_err(Lost::Refused)?;
            state.figures.told += 1;
            state.figures.changes += usize::from(event["action"] != "update");
            state.judge_leave(event)
        })
    }
}

impl State {
    /// A member that never leaves may only be told to have left if its connection was lost, or its gateway could not keep its lease.
    fn judge_leave(&mut self, event: &Value) -> Result<(), Lost> {
        let steady = (0..STEADY).find(|member| event["client"] == members::name(*member).as_str());
        let (Some(member), true) = (steady, event["action"] == "leave") else { return Ok(()) };
        let time = event["time"].as_u64().unwrap_or_default();
        if !self.stays.stayed_unharmed(member, time) {
            self.figures.leaves += 1;
        } else if self.stays.was_starved(time) {
            self.figures.starved += 1;
        } else {
            return Err(Lost::Refused(format!(
                "a member that stayed on a gateway that nothing happened to left: {event}"
            )));
        }
        Ok(())
    }
}

fn now_ms() -> u64 {
    (now_s() * 1_000.0) as u64
}
