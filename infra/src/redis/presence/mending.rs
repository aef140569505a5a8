//! Mending: what Redis has of this node's sessions is made what this node has.

use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
};

use fanfare_domain::presence::Place;

use super::{
    calls::{Word, read, word},
    local::Session,
    node::Node,
    tenures::Tenure,
};
use crate::redis::RedisFault;

/// Sessions that are named in one pipeline, and taken out by one call.
const SLICE: usize = 200;
/// Channels that are compared in one pipeline.
const CHANNELS: usize = 500;

impl Node {
    /// Notes where Redis has another number of sessions than this node, and forgets notes of channels that it has left.
    pub async fn verify(self: &Arc<Self>) {
        let Some(holder) = self.holder() else { return };
        let counts = self.lock().counts();
        for some in counts.chunks(CHANNELS) {
            let ask = |(place, _): &(Place, usize)| {
                let key = self.redis.names().sessions(&place.app, &place.channel, &holder);
                let mut command = redis::cmd("HLEN");
                command.arg(&key);
                (key, command)
            };
            let Ok(answers) = self.redis.run(some.iter().map(ask).collect()).await else { return };
            for ((place, count), answer) in some.iter().zip(answers) {
                if read::<usize>(answer).is_ok_and(|found| found != *count) {
                    self.lock().doubted.insert(place.clone());
                }
            }
        }
        let _turn = self.noting.lock().await;
        let idle = self.lock().idle();
        for some in idle.chunks(CHANNELS) {
            some.iter().for_each(|place| _ = self.lock().noted.remove(place));
            let call = self.on_registry("forget", &holder);
            let call = some.iter().fold(call, |call, place| call.arg(format!("{}/{}", place.app, place.channel)));
            // What stays noted is looked at once more when the lease ends, and found to be nothing.
            let _ = self.ask_registry::<u32>(call).await;
        }
    }

    /// Puts right every channel that is in doubt. What fails is tried again in the next round.
    pub async fn mend(self: &Arc<Self>) {
        let Some(holder) = self.holder() else {
            let has_something = {
                let local = self.lock();
                !local.is_empty() || !local.doubted.is_empty()
            };
            if has_something {
                self.is_wanted.store(true, Ordering::SeqCst);
                self.renewal.notify_one();
            }
            return;
        };
        let former = self.lock().former.clone();
        let doubted: Vec<_> = self.lock().doubted.drain().collect();
        for (at, place) in doubted.iter().enumerate() {
            if self.mend_channel(place, &holder, &former).await.is_err() {
                return self.lock().doubted.extend(doubted[at..].iter().cloned());
            }
        }
        self.lock().former.retain(|one| !former.contains(one));
    }

    async fn mend_channel(
        self: &Arc<Self>,
        place: &Place,
        holder: &str,
        former: &[Arc<str>],
    ) -> Result<(), RedisFault> {
        let publish = self.publish_word().await?;
        let mut wanted = self.lock().sessions(place);
        if !wanted.is_empty() {
            self.note(holder, place).await?;
        }
        let key = self.redis.names().sessions(&place.app, &place.channel, holder);
        let mut ask = redis::cmd("HKEYS");
        ask.arg(&key);
        let found = self.redis.run(vec![(key, ask)]).await?.pop().unwrap_or(redis::Value::Nil);
        let found: HashSet<String> = read(found)?;
        let named: HashSet<String> = wanted.iter().map(|one| one.entry.connection.as_str().to_owned()).collect();
        // One that is being entered has not said when; it is named by its own call.
        wanted.retain(|one| one.said > 0 && !found.contains(one.entry.connection.as_str()));
        self.name_all_again(publish, place, holder, wanted).await?;
        let surplus = found.iter().filter(|connection| !named.contains(*connection));
        for connection in surplus {
            let Ok(connection) = fanfare_domain::ids::ConnectionId::parse(connection) else { continue };
            if !self.lock().has(place, &connection) {
                self.let_go(place, &connection, self.times.grace);
            }
        }
        for holder in former {
            self.take_out(place, holder, self.times.grace).await?;
        }
        Ok(())
    }

    async fn name_all_again(
        self: &Arc<Self>,
        publish: &str,
        place: &Place,
        holder: &str,
        sessions: Vec<Session>,
    ) -> Result<(), RedisFault> {
        for some in sessions.chunks(SLICE) {
            let calls: Vec<_> = some.iter().map(|session| self.name_again(publish, place, holder, session)).collect();
            let answers = self.ask_channel_often(&calls).await?;
            for (session, answer) in some.iter().zip(answers) {
                match word(answer)? {
                    Word::Fenced => {
                        self.lose_tenure(holder);
                        return Err(RedisFault::Away("this node is taking a new lease".to_owned()));
                    }
                    _ if !self.lock().has(place, &session.entry.connection) => {
                        // It has ended meanwhile.
                        self.let_go(place, &session.entry.connection, self.times.grace);
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// The holder of this node's tenure.
    pub fn holder(&self) -> Option<Arc<str>> {
        self.tenure.borrow().as_ref().map(|Tenure { holder, .. }| Arc::clone(holder))
    }
}
