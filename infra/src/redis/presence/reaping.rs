//! Reaping: members of nodes that are gone, and members that do not come back, leave; each once, for a script that removes one tells of it.

use std::{sync::Arc, time::Duration};

use fanfare_domain::{ids::AppId, presence::Place};
use fanfare_protocol::ChannelName;
use tracing::info;

use super::{calls::read, node::Node};
use crate::redis::RedisFault;

/// Sessions that one call takes out, and channels that are looked at in a turn.
const SLICE: u64 = 200;
/// Between tries to take out who does not come back.
const PAUSE: Duration = Duration::from_secs(1);

impl Node {
    /// Takes out the sessions of holders whose leases are over. What fails is tried again in the next round, by whoever is first.
    pub async fn reap(self: &Arc<Self>) {
        let Ok(ended) = self.ask_registry::<Vec<String>>(self.on_registry("ended", "")).await else { return };
        for holder in ended {
            // Its own tenure is not ended by this node, which finds out when it renews it.
            if self.holder().as_deref() != Some(holder.as_str()) && self.reap_holder(&holder).await.is_err() {
                return;
            }
        }
    }

    async fn reap_holder(self: &Arc<Self>, holder: &str) -> Result<(), RedisFault> {
        loop {
            let call = self.on_registry("channels", holder).number(SLICE);
            let channels = self.ask_registry::<Vec<String>>(call).await?;
            if channels.is_empty() {
                info!(presence.holder = holder, "The members of a node that is gone have left");
                return Ok(());
            }
            for name in &channels {
                if let Some(place) = place(name) {
                    self.take_out(&place, holder, Duration::ZERO).await?;
                }
            }
            let call = self.on_registry("forget", holder);
            let call = channels.iter().fold(call, |call, name| call.arg(name.as_str()));
            self.ask_registry::<u32>(call).await?;
        }
    }

    /// Takes all of a holder's sessions out of a channel, where it is fenced off from now on.
    pub async fn take_out(self: &Arc<Self>, place: &Place, holder: &str, grace: Duration) -> Result<(), RedisFault> {
        let publish = self.publish_word().await?;
        loop {
            let call = self.on_channel("reap", publish, place, holder).number(SLICE).number(grace.as_millis() as u64);
            let (left, next) = counts(self.ask_channel(call).await?)?;
            if left == 0 {
                if let Ok(next) = u64::try_from(next) {
                    self.sweep_after(place, Duration::from_millis(next));
                }
                return Ok(());
            }
        }
    }

    /// Has those taken out of a channel who do not come back, the first of them after a while.
    pub fn sweep_after(self: &Arc<Self>, place: &Place, wait: Duration) {
        if !self.lock().swept.insert(place.clone()) {
            return;
        }
        let (node, place) = (Arc::clone(self), place.clone());
        self.redis.runtime().spawn(async move {
            let mut wait = wait;
            loop {
                tokio::time::sleep(wait + Duration::from_millis(5)).await;
                wait = match node.sweep(&place).await {
                    Ok(next) => match u64::try_from(next) {
                        Ok(next) => Duration::from_millis(next),
                        Err(_) => break,
                    },
                    Err(_) => PAUSE,
                };
            }
            node.lock().swept.remove(&place);
        });
    }

    async fn sweep(&self, place: &Place) -> Result<i64, RedisFault> {
        let publish = self.publish_word().await?;
        let call = self.on_channel("sweep", publish, place, "").number(SLICE);
        Ok(counts(self.ask_channel(call).await?)?.1)
    }
}

/// How many sessions are left, and in how many milliseconds the next one leaves; −1 if none does.
fn counts(answer: redis::Value) -> Result<(u64, i64), RedisFault> {
    let (_, left, next): (String, u64, i64) = read(answer)?;
    Ok((left, next))
}

fn place(name: &str) -> Option<Place> {
    let (app, channel) = name.split_once('/')?;
    Some(Place { app: AppId::parse(app).ok()?, channel: ChannelName::restore(channel).ok()? })
}
