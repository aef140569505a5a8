//! Settling: nobody changes anything and nothing is struck, so that in a moment members, lists and observers must agree, and then nothing more is told.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::{Presence, ROOMS, Room, Truth, members};
use crate::{chaos::stage::Stage, harness::stalls::Stalls};

/// All must agree this long after the last fault was over.
const PATIENCE: Duration = Duration::from_secs(60);
/// So long after the last fault no lease is left that could end, and nobody is waited for after Redis forgot everything.
const QUIET: Duration = Duration::from_secs(16);
/// So long after the last fault a gateway that came back may find that its lease is over, and enter for its clients again.
const RETURN: Duration = Duration::from_secs(6);

/// Waits until all agree, and longer, and gives what is wrong.
pub async fn settle(stage: &Stage, healed: Instant) -> Result<(), String> {
    let presence = &stage.presence;
    presence.calm.send_replace(true);
    let stalls = Stalls::begin();
    agree(stage).await?;
    // What others take from a machine delays how soon a lease is found to be over.
    sleep_until(healed + RETURN).await;
    sleep_until(Instant::now() + stalls.lost().min(PATIENCE)).await;
    agree(stage).await?;
    let before = presence.figures().changes;
    sleep_until((healed + QUIET).max(Instant::now() + (QUIET - RETURN))).await;
    agree(stage).await?;
    let told = presence.figures().changes - before;
    presence.calm.send_replace(false);
    presence.with(|state| state.figures.settled += 1);
    match told {
        0 => Ok(()),
        _ => Err(format!("{told} enters and leaves were told after all had agreed who is there")),
    }
}

async fn agree(stage: &Stage) -> Result<(), String> {
    let mut last = String::new();
    let agreed = timeout(PATIENCE, async {
        let mut ticks = interval(Duration::from_millis(250));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match differs(stage).await {
                Some(difference) => last = difference,
                None => return,
            }
        }
    });
    let agreed = agreed.await;
    agreed.map_err(|_| format!("{PATIENCE:?} after the last fault, who is present is not agreed on: {last}"))
}

/// The first difference between the members, the lists of the HTTP API and the observers' views.
async fn differs(stage: &Stage) -> Option<String> {
    for (at, name) in ROOMS.into_iter().enumerate() {
        let room = match stage.presence.members_of(at) {
            Ok(room) => room,
            Err(unsure) => return Some(unsure),
        };
        for (observer, view) in stage.presence.views_of(at).into_iter().enumerate() {
            if view.as_ref() != Some(&room) {
                return Some(format!("observer {observer} sees {view:?} in {name}, and there are {room:?}"));
            }
        }
        for api in &stage.apis {
            let listed = match stage.members(api, name).await {
                Ok(listed) => listed,
                Err(refused) => return Some(format!("{refused:?}")),
            };
            let items = listed.iter().flat_map(|listed| listed["items"].as_array().into_iter().flatten());
            let client = |item: &serde_json::Value| item["client"].as_str().unwrap_or_default().to_owned();
            let listed: Room = items.map(|item| (client(item), item["data"].clone())).collect();
            if listed != room {
                return Some(format!("{api} lists {listed:?} in {name}, and there are {room:?}"));
            }
        }
    }
    None
}

impl Presence {
    /// Who is in a room by their own account, if everybody knows that.
    fn members_of(&self, room: usize) -> Result<Room, String> {
        self.with(|state| {
            let mut there = Room::new();
            for (number, truths) in state.truths.iter().enumerate() {
                match &truths[room] {
                    Truth::In(data) => _ = there.insert(members::name(number), data.clone()),
                    Truth::Out => {}
                    Truth::Unknown => return Err(format!("{} waits for an answer", members::name(number))),
                }
            }
            Ok(there)
        })
    }

    fn views_of(&self, room: usize) -> Vec<Option<Room>> {
        self.with(|state| state.views.iter().map(|views| views[room].as_ref().map(|view| view.room())).collect())
    }
}
