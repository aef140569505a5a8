//! Comparing: every few seconds, the heads of all followed channels with what was heard of them.

use std::{sync::Arc, time::Duration};

use fanfare_domain::ids::AppId;
use fanfare_protocol::ChannelName;
use futures::future::join_all;
use redis::Pipeline;

use super::hub::Hub;
use crate::redis::{heads, layouts::Layout};

const EVERY: Duration = Duration::from_secs(5);
/// So many heads are asked for in one pipeline.
const CHUNK: usize = 1_000;

type Asked = (Arc<str>, AppId, ChannelName);

/// Compares for ever. A shard that is away now is compared at the next turn.
pub(super) async fn compare(hub: Arc<Hub>) {
    let mut turns = tokio::time::interval(EVERY);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    turns.tick().await;
    loop {
        turns.tick().await;
        let Ok(layout) = hub.redis.layout().await else { continue };
        let mut asked: Vec<Vec<Asked>> = vec![Vec::new(); layout.topology.shards.len()];
        for (name, followed) in &hub.lock().channels {
            if let Ok(shard) = layout.topology.shard_of(name) {
                asked[shard].push((name.clone(), followed.app.clone(), followed.channel.clone()));
            }
        }
        join_all(asked.iter().enumerate().map(|(shard, asked)| compare_shard(&hub, &layout, shard, asked))).await;
    }
}

async fn compare_shard(hub: &Arc<Hub>, layout: &Layout, shard: usize, asked: &[Asked]) {
    for chunk in asked.chunks(CHUNK) {
        let mut commands = Pipeline::with_capacity(chunk.len());
        for (_, app, channel) in chunk {
            commands.add_command(heads::ask(hub.redis.names(), app, channel));
        }
        let Ok(answers) = layout.link(shard).run(&commands).await else { return };
        for ((name, ..), answer) in chunk.iter().zip(answers) {
            if let Some(head) = heads::read(&answer) {
                hub.moved(name, &head);
            }
        }
    }
}
