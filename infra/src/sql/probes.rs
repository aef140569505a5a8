//! Whether the database can be written now.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use fanfare_domain::StoreError;

use super::{SqlStore, db::on_dialect, schema::settings};

const NAME: &str = "write_probe";

impl SqlStore {
    /// Writes a value that nobody reads, another one each time: what is not changed would not be written.
    pub async fn probe_writing(&self) -> Result<(), StoreError> {
        let value = format!("{:016x}", rand::random::<u64>());
        self.db
            .work(|db| async move {
                let mut conn = db.write().await?;
                on_dialect!(&mut conn, |c| diesel::insert_into(settings::table)
                    .values((settings::name.eq(NAME), settings::value.eq(&value)))
                    .on_conflict(settings::name)
                    .do_update()
                    .set(settings::value.eq(&value))
                    .execute(c)
                    .await)?;
                Ok(())
            })
            .await
    }
}
