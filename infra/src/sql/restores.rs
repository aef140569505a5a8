//! After a backup was restored: positions that clients hold may lie past what the backup knows, so that every app begins a new epoch.

use diesel::{prelude::*, sql_query, sql_types::Text};
use diesel_async::RunQueryDsl;
use fanfare_domain::{StoreError, secrets};

use super::{SqlStore, db::on_dialect, schema::apps};

/// Channels that one statement moves to their app's epoch, so that none takes long.
const SLICE: &str = "update channels set epoch = (select apps.epoch from apps where apps.id = channels.app_id)
    where (app_id, channel) in (
        select behind.app_id, behind.channel from channels as behind join apps on apps.id = behind.app_id
        where apps.id = $1 and behind.epoch <> apps.epoch limit 5000)";

/// Nodes may know revocations under numbers that the backup does not have: those that come are numbered past them.
const AHEAD: &str = "update revisions set number = number + 1000000";

impl SqlStore {
    /// Gives every app and all its channels a new epoch; how many apps there are. History stays readable, and serials go on after the
    /// last one restored. What is interrupted is done again from the start, which is as good. Nothing may be appended meanwhile.
    pub async fn begin_epochs(&self) -> Result<usize, StoreError> {
        let ids = self.db.work(|db| async move {
            let mut conn = db.read().await?;
            on_dialect!(&mut conn, |c| apps::table.select(apps::id).load::<String>(c).await)
        });
        let ids = ids.await?;
        let ahead = self.db.work(|db| async move {
            let mut conn = db.write().await?;
            on_dialect!(&mut conn, |c| sql_query(AHEAD).execute(c).await)
        });
        ahead.await?;
        for id in &ids {
            self.begin_epoch(id.clone()).await?;
        }
        Ok(ids.len())
    }

    async fn begin_epoch(&self, id: String) -> Result<(), StoreError> {
        let (app, epoch) = (id.clone(), secrets::short_random());
        let renewed = self.db.work(|db| async move {
            let mut conn = db.write().await?;
            on_dialect!(&mut conn, |c| diesel::update(apps::table.find(&app))
                .set(apps::epoch.eq(&epoch))
                .execute(c)
                .await)
        });
        renewed.await?;
        loop {
            let app = id.clone();
            let moved = self.db.work(|db| async move {
                let mut conn = db.write().await?;
                on_dialect!(&mut conn, |c| sql_query(SLICE).bind::<Text, _>(&app).execute(c).await)
            });
            if moved.await? == 0 {
                return Ok(());
            }
        }
    }
}
