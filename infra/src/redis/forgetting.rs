//! Forgetting what Redis keeps of channels, after the database was put back to an older state.

use redis::{Pipeline, Value};

use super::{Redis, RedisFault, links::Link, refused};

/// Keys that are looked at in one step.
const STEP: u32 = 1_000;

impl Redis {
    /// Removes every head and window, on every master; how many there were. Messages on their way are not touched.
    pub async fn forget_channels(&self) -> Result<u64, RedisFault> {
        let layout = self.layout().await?;
        let mut forgotten = 0;
        for shard in 0..layout.topology.shards.len() {
            for pattern in self.names().heads_and_windows() {
                forgotten += forget(layout.link(shard), &pattern).await?;
            }
        }
        Ok(forgotten)
    }
}

async fn forget(link: &Link, pattern: &str) -> Result<u64, RedisFault> {
    let (mut cursor, mut forgotten) = ("0".to_owned(), 0);
    loop {
        let mut scan = Pipeline::new();
        scan.cmd("SCAN").arg(&cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(STEP);
        let answer = refused(link.run(&scan).await?.pop().unwrap_or(Value::Nil))?;
        let unreadable = |_| RedisFault::Refused("SCAN answered something else".to_owned());
        let (next, keys): (String, Vec<String>) = redis::from_redis_value(answer).map_err(unreadable)?;
        if !keys.is_empty() {
            // Each by itself: in a cluster they are of many slots.
            let mut removal = Pipeline::new();
            keys.iter().for_each(|key| _ = removal.cmd("UNLINK").arg(key));
            link.run(&removal).await?.into_iter().try_for_each(|answer| refused(answer).map(drop))?;
            forgotten += keys.len() as u64;
        }
        if next == "0" {
            return Ok(forgotten);
        }
        cursor = next;
    }
}
