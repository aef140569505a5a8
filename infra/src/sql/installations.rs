//! What the first `fanfare migrate` fixes for good, since nodes that differed in it would pass each other by.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use fanfare_domain::{StoreError, partitions::Partition};

use super::{
    SqlStore, corrupt,
    db::{Conn, on_dialect},
    schema::{partitions, settings},
};
use crate::names::Names;

const PARTITIONS: &str = "partitions";
const PREFIX: &str = "prefix";

/// What all nodes of an installation have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// How many partitions there are.
    pub partitions: Partition,
    /// What is called how in Redis and RabbitMQ.
    pub names: Names,
}

impl SqlStore {
    /// What is fixed; `None` before it is.
    pub async fn installation(&self) -> Result<Option<Installation>, StoreError> {
        self.db.work(|db| async move { fixed(&mut db.read().await?).await }).await
    }

    /// Fixes it, for good; tells what holds, which may have been fixed before.
    pub async fn fix(&self, wanted: Installation) -> Result<Installation, StoreError> {
        self.db
            .work(|db| async move {
                let mut conn = db.write().await?;
                conn.begin().await?;
                let fixed = fix(&mut conn, &wanted).await;
                conn.finish(fixed).await
            })
            .await
    }
}

async fn fixed(conn: &mut Conn) -> Result<Option<Installation>, StoreError> {
    let Some(partitions) = value(conn, PARTITIONS).await? else { return Ok(None) };
    let partitions = partitions.parse().map_err(|bad| corrupt("settings.value", bad))?;
    // Who fixed the partitions alone was a version that had no other names.
    let names = match value(conn, PREFIX).await? {
        Some(prefix) => prefix.parse().map_err(|bad| corrupt("settings.value", bad))?,
        None => Names::default(),
    };
    Ok(Some(Installation { partitions, names }))
}

async fn fix(conn: &mut Conn, wanted: &Installation) -> Result<Installation, StoreError> {
    let is_first = insert(conn, PARTITIONS, &wanted.partitions.to_string()).await?;
    let names = if is_first { wanted.names.clone() } else { Names::default() };
    insert(conn, PREFIX, names.prefix()).await?;
    let fixed = fixed(conn).await?.unwrap_or_else(|| wanted.clone());
    for id in 0..i32::from(fixed.partitions) {
        on_dialect!(&mut *conn, |c| diesel::insert_into(partitions::table)
            .values((partitions::id.eq(id), partitions::generation.eq(0)))
            .on_conflict(partitions::id)
            .do_nothing()
            .execute(c)
            .await)?;
    }
    Ok(fixed)
}

async fn value(conn: &mut Conn, name: &str) -> Result<Option<String>, StoreError> {
    on_dialect!(conn, |c| settings::table.find(name).select(settings::value).first::<String>(c).await.optional())
}

/// Whether there was none before. Whoever does it at the same time waits, and finds that there is one.
async fn insert(conn: &mut Conn, name: &str, value: &str) -> Result<bool, StoreError> {
    let inserted = on_dialect!(conn, |c| diesel::insert_into(settings::table)
        .values((settings::name.eq(name), settings::value.eq(value)))
        .on_conflict(settings::name)
        .do_nothing()
        .execute(c)
        .await)?;
    Ok(inserted > 0)
}
