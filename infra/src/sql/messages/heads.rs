//! Where a channel stands.

use diesel::{
    QueryableByName,
    prelude::*,
    sql_query,
    sql_types::{Array, BigInt, Nullable, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use fanfare_domain::{StoreError, history::Head, ids::AppId};
use fanfare_protocol::{ChannelName, Epoch, Serial};

use crate::sql::{
    db::{Conn, on_dialect},
    failures::failure,
    prepared::Prepared,
    schema::{apps, channels},
};

#[derive(QueryableByName)]
struct HeadRow {
    #[diesel(sql_type = Nullable<Text>)]
    app_epoch: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    epoch: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    serial: Option<i64>,
}

/// A serial as it was stored.
pub(super) fn serial(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

/// A serial as it is stored.
pub(super) fn stored_serial(serial: u64) -> i64 {
    i64::try_from(serial).unwrap_or(i64::MAX)
}

/// A channel without a row has its app's epoch and serial 0.
fn head(app_epoch: &str, row: Option<(String, i64)>) -> Head {
    match row {
        Some((epoch, last)) => Head { epoch: Epoch::new(&epoch), serial: Serial(serial(last)) },
        None => Head { epoch: Epoch::new(app_epoch), serial: Serial(0) },
    }
}

/// `None` if the app is gone.
pub(super) async fn find(conn: &mut Conn, app: &AppId, channel: &ChannelName) -> Result<Option<Head>, StoreError> {
    let row = on_dialect!(conn, |c| apps::table
        .left_join(channels::table.on(channels::app_id.eq(apps::id).and(channels::channel.eq(channel.as_str()))))
        .filter(apps::id.eq(app.as_str()))
        .select((apps::epoch, (channels::epoch, channels::serial).nullable()))
        .first::<(String, Option<(String, i64)>)>(c)
        .await
        .optional())?;
    Ok(row.map(|(app_epoch, row)| head(&app_epoch, row)))
}

/// In the order asked for; `None` for those whose app is gone.
pub(super) async fn find_all(
    conn: &mut Conn,
    wanted: &[(AppId, ChannelName)],
) -> Result<Vec<Option<Head>>, StoreError> {
    if let Conn::Postgres(conn) = conn {
        return find_at_once(conn, wanted).await;
    }
    let mut found = Vec::with_capacity(wanted.len());
    for (app, channel) in wanted {
        found.push(find(conn, app, channel).await?);
    }
    Ok(found)
}

async fn find_at_once(
    conn: &mut AsyncPgConnection,
    wanted: &[(AppId, ChannelName)],
) -> Result<Vec<Option<Head>>, StoreError> {
    let apps: Vec<_> = wanted.iter().map(|(app, _)| app.as_str()).collect();
    let channels: Vec<_> = wanted.iter().map(|(_, channel)| channel.as_str()).collect();
    let query = sql_query(
        "select apps.epoch as app_epoch, channels.epoch, channels.serial
         from unnest($1, $2) with ordinality as wanted (app_id, channel, at)
         left join apps on apps.id = wanted.app_id
         left join channels on channels.app_id = wanted.app_id and channels.channel = wanted.channel
         order by wanted.at",
    );
    let rows: Vec<HeadRow> = Prepared(query.bind::<Array<Text>, _>(apps).bind::<Array<Text>, _>(channels))
        .load(conn)
        .await
        .map_err(failure)?;
    Ok(rows.into_iter().map(|row| row.app_epoch.map(|epoch| head(&epoch, row.epoch.zip(row.serial)))).collect())
}
