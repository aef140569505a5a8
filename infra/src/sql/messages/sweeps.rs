//! Removal, in small slices, of what nobody can need any more.

use std::collections::BTreeMap;

use diesel::{
    QueryableByName,
    prelude::*,
    sql_query,
    sql_types::{BigInt, Text},
};
use diesel_async::RunQueryDsl;
use fanfare_domain::{StoreError, Timestamp};

use crate::sql::{
    db::{Conn, on_dialect},
    schema::{channels, removed_apps},
    stored,
};

#[derive(QueryableByName)]
struct Gone {
    #[diesel(sql_type = Text)]
    app_id: String,
    #[diesel(sql_type = Text)]
    channel: String,
    #[diesel(sql_type = BigInt)]
    serial: i64,
}

/// Inside a transaction. First what removed apps left, then messages whose time is over.
pub(super) async fn sweep(conn: &mut Conn, now: Timestamp, limit: u32) -> Result<usize, StoreError> {
    let limit = limit as usize;
    let mut count = 0;
    while count < limit {
        match sweep_removed_app(conn, limit - count).await? {
            0 => return Ok(count + sweep_expired(conn, now, limit - count).await?),
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

/// A channel remembers how far it was swept, since messages of one channel may have been given different lives.
async fn sweep_expired(conn: &mut Conn, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
    let gone = on_dialect!(&mut *conn, |c| sql_query(
        "delete from messages where (app_id, channel, serial) in
             (select app_id, channel, serial from messages where expires_at <= $1 order by expires_at limit $2)
         returning app_id, channel, serial",
    )
    .bind::<BigInt, _>(stored(now))
    .bind::<BigInt, _>(stored_count(limit))
    .load::<Gone>(c)
    .await)?;
    let count = gone.len();
    let mut swept = BTreeMap::new();
    for Gone { app_id, channel, serial } in gone {
        let highest = swept.entry((app_id, channel)).or_insert(serial);
        *highest = serial.max(*highest);
    }
    for ((app, channel), serial) in swept {
        on_dialect!(&mut *conn, |c| diesel::update(channels::table.find((&app, &channel)))
            .filter(channels::swept.lt(serial))
            .set(channels::swept.eq(serial))
            .execute(c)
            .await)?;
    }
    Ok(count)
}
