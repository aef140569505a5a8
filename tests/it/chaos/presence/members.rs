//! Members: clients that are in the rooms, whatever happens to their connections.

use std::{ops::Range, sync::Arc, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Gateway, PAUSE, ROOMS, STEADY, Truth, now_ms};
use crate::chaos::{
    links::{Link, Lost},
    stage::{Phase, Stage, pass},
};

/// Between two changes of a member that is not steady, in milliseconds.
const CHANGES_MS: Range<u64> = 500..3_000;

/// The client of a member.
pub fn name(member: usize) -> String {
    format!("member-{member}")
}

/// A member.
pub struct Member {
    number: usize,
    stage: Arc<Stage>,
    random: StdRng,
    /// Where it wants to be, and what it says there.
    wants: [Option<Value>; ROOMS.len()],
    changes: u64,
}

impl Member {
    /// One that wants to be everywhere.
    pub fn new(stage: Arc<Stage>, number: usize, seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed.wrapping_mul(1_000) + number as u64);
        let wants = std::array::from_fn(|_| Some(json!(0)));
        Self { number, stage, random, wants, changes: 0 }
    }

    /// Is a member until the run is over. Says once that it has entered.
    pub async fn live(mut self, begun: mpsc::Sender<()>) {
        let (stage, mut begun) = (Arc::clone(&self.stage), Some(begun));
        let mut phase = stage.phase.subscribe();
        for gateway in self.number.. {
            let lived = tokio::select! {
                lived = self.once(gateway, &mut begun) => lived,
                _ = phase.wait_for(|phase| matches!(phase, Phase::Over(_))) => return,
            };
            self.lost();
            match lived {
                Lost::Away => pass(PAUSE).await,
                Lost::Refused(what) => return stage.complain(format!("{}: {what}", name(self.number))),
            }
        }
    }

    /// One connection's life; gives how it was lost.
    async fn once(&mut self, gateway: usize, begun: &mut Option<mpsc::Sender<()>>) -> Lost {
        match self.enter_and_stay(gateway, begun).await {
            Ok(()) => Lost::Away,
            Err(lost) => lost,
        }
    }

    async fn enter_and_stay(&mut self, gateway: usize, begun: &mut Option<mpsc::Sender<()>>) -> Result<(), Lost> {
        let gateway = gateway % self.stage.gateways.len();
        let token = self.stage.token_of(&name(self.number));
        let mut link = Link::connect(&self.stage.gateways[gateway], &token).await?;
        for room in 0..ROOMS.len() {
            if let Some(data) = self.wants[room].clone() {
                self.ask(&mut link, room, "enter", Some(data)).await?;
            }
        }
        drop(begun.take());
        self.stage.presence.with(|state| state.stays.came(self.number, Gateway(gateway), now_ms()));
        let mut calm = self.stage.presence.calm.subscribe();
        let mut change = Box::pin(pass(self.pause()));
        loop {
            let is_calm = *calm.borrow_and_update();
            tokio::select! {
                event = link.event() => match event?["op"].as_str() {
                    Some("error") => {}
                    Some("reconnect") => return Ok(()),
                    other => return Err(Lost::Refused(format!("a member was told `{other:?}`"))),
                },
                () = &mut change, if self.number >= STEADY && !is_calm => {
                    if self.random.random_ratio(1, 8) {
                        // It comes back at once.
                        return Ok(());
                    }
                    self.change(&mut link).await?;
                    change = Box::pin(pass(self.pause()));
                }
                _ = calm.changed() => {}
            }
        }
    }

    fn pause(&mut self) -> Duration {
        Duration::from_millis(self.random.random_range(CHANGES_MS))
    }

    /// Enters, leaves, or says something else.
    async fn change(&mut self, link: &mut Link) -> Result<(), Lost> {
        let room = self.random.random_range(0..ROOMS.len());
        self.changes += 1;
        let data = json!(self.changes);
        let (action, wants) = match self.wants[room] {
            None => ("enter", Some(data)),
            Some(_) if self.random.random_ratio(1, 2) => ("update", Some(data)),
            Some(_) => ("leave", None),
        };
        self.wants[room].clone_from(&wants);
        self.ask(link, room, action, wants).await
    }

    /// Asks until it is answered that it is so.
    async fn ask(&self, link: &mut Link, room: usize, action: &str, wants: Option<Value>) -> Result<(), Lost> {
        self.knows(room, Truth::Unknown);
        let mut request = json!({"op": "presence", "channel": ROOMS[room], "action": action});
        wants.iter().for_each(|data| request["data"] = data.clone());
        for attempt in 0.. {
            let answer = link.answer(request.clone()).await?;
            match answer["error"]["code"].as_str() {
                None => break,
                Some("unavailable") => pass(PAUSE).await,
                // An earlier try did more than could be said.
                Some("not_entered") if action == "leave" && attempt > 0 => break,
                Some(_) => return Err(Lost::Refused(format!("{request} was answered {answer}"))),
            }
        }
        self.knows(room, wants.map_or(Truth::Out, Truth::In));
        Ok(())
    }

    fn knows(&self, room: usize, truth: Truth) {
        self.stage.presence.with(|state| state.truths[self.number][room] = truth);
    }

    /// Its connection is lost: it is to be in again wherever it wants to be, and ends elsewhere by itself.
    fn lost(&self) {
        self.stage.presence.with(|state| {
            state.stays.went(self.number, now_ms());
            for (truth, wants) in state.truths[self.number].iter_mut().zip(&self.wants) {
                *truth = if wants.is_some() { Truth::Unknown } else { Truth::Out };
            }
        });
    }
}
