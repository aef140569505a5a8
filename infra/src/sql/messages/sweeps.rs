//! Removal, in small slices, of what nobody can need any more.

use diesel::{
    prelude::*,
    sql_query,
    sql_types::{BigInt, Bool, Text},
};
use diesel_async::RunQueryDsl;
use fanfare_domain::{StoreError, Timestamp};

use crate::sql::{
    db::{Conn, on_dialect},
    failures::failure,
    schema::removed_apps,
    stored,
};

/// The number of the advisory lock under which one process at a time removes rows from Postgres.
const SWEEP_LOCK: i64 = 0x66_616e_6661_7267;

#[derive(QueryableByName)]
struct Locked {
    #[diesel(sql_type = Bool)]
    locked: bool,
}

/// Inside a transaction: what removed apps left. Of several processes one does it, and the others find nothing to do.
pub(super) async fn sweep_removed(conn: &mut Conn, limit: u32) -> Result<usize, StoreError> {
    if let Conn::Postgres(conn) = conn {
        let lock = sql_query("select pg_try_advisory_xact_lock($1) as locked").bind::<BigInt, _>(SWEEP_LOCK);
        if !lock.get_result::<Locked>(conn).await.map_err(failure)?.locked {
            return Ok(0);
        }
    }
    let limit = limit as usize;
    let mut count = 0;
    while count < limit {
        match sweep_removed_app(conn, limit - count).await? {
            0 => break,
            more => count += more,
        }
    }
    Ok(count)
}

/// Messages of an app that is gone; when there are none left, its channels; then the note that it is gone.
async fn sweep_removed_app(conn: &mut Conn, limit: usize) -> Result<usize, StoreError> {
    let app = on_dialect!(&mut *conn, |c| removed_apps::table
        .order(removed_apps::id)
        .select(removed_apps::id)
        .first::<String>(c)
        .await
        .optional())?;
    let Some(app) = app else { return Ok(0) };
    for slice in [
        "delete from messages where (app_id, channel, serial) in
             (select app_id, channel, serial from messages where app_id = $1 limit $2)",
        "delete from channels where (app_id, channel) in
             (select app_id, channel from channels where app_id = $1 limit $2)",
    ] {
        let count = on_dialect!(&mut *conn, |c| sql_query(slice)
            .bind::<Text, _>(&app)
            .bind::<BigInt, _>(stored_count(limit))
            .execute(c)
            .await)?;
        if count > 0 {
            return Ok(count);
        }
    }
    on_dialect!(&mut *conn, |c| diesel::delete(removed_apps::table.find(&app)).execute(c).await)
}

fn stored_count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Messages whose time is over, one by one: for SQLite, which has no partitions to drop.
pub(super) async fn sweep_expired(conn: &mut Conn, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
    on_dialect!(conn, |c| sql_query(
        "delete from messages where (app_id, channel, serial) in
             (select app_id, channel, serial from messages where expires_at <= $1 order by expires_at limit $2)",
    )
    .bind::<BigInt, _>(stored(now))
    .bind::<BigInt, _>(stored_count(limit))
    .execute(c)
    .await)
}
