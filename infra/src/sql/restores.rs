//! After a backup was restored: positions that clients hold may lie past what the backup knows, so that every app begins a new epoch.

use diesel::{prelude::*, sql_query};
use diesel_async::RunQueryDsl;
use fanfare_domain::{StoreError, secrets};

use super::{
    SqlStore,
    db::{Conn, on_dialect},
    schema::apps,
};

impl SqlStore {
    /// Gives every app and all its channels a new epoch, in one transaction; how many apps there are. History stays readable, and
    /// serials go on after the last one restored.
    pub async fn begin_epochs(&self) -> Result<usize, StoreError> {
        self.db
            .work(|db| async move {
                let mut conn = db.write().await?;
                conn.begin().await?;
                let begun = begin_epochs(&mut conn).await;
                conn.finish(begun).await
            })
            .await
    }
}

async fn begin_epochs(conn: &mut Conn) -> Result<usize, StoreError> {
    let ids = on_dialect!(&mut *conn, |c| apps::table.select(apps::id).load::<String>(c).await)?;
    for id in &ids {
        let epoch = secrets::short_random();
        on_dialect!(&mut *conn, |c| diesel::update(apps::table.find(id))
            .set(apps::epoch.eq(&epoch))
            .execute(c)
            .await)?;
    }
    let channels = "update channels set epoch = (select apps.epoch from apps where apps.id = channels.app_id)
        where app_id in (select id from apps)";
    on_dialect!(&mut *conn, |c| sql_query(channels).execute(c).await)?;
    Ok(ids.len())
}
