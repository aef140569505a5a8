//! An append to Postgres: lock, then look, then insert, each one statement that sees what the last one left.

use diesel::{
    QueryableByName, sql_query,
    sql_types::{Array, BigInt, Binary, Nullable, Text},
};
use diesel_async::{AnsiTransactionManager, AsyncPgConnection, RunQueryDsl, TransactionManager};
use fanfare_domain::{StoreError, history::Appended, ids::AppId};
use fanfare_protocol::{ChannelName, Epoch};

use super::plans::{self, ChannelHead, Known, MessageRow, Pending, Plan, Taken};
use crate::sql::{corrupt, db::failure};

#[derive(QueryableByName)]
struct AppRow {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = Text)]
    epoch: String,
}

#[derive(QueryableByName)]
struct HeadRow {
    #[diesel(sql_type = Text)]
    app_id: String,
    #[diesel(sql_type = Text)]
    channel: String,
    #[diesel(sql_type = Text)]
    epoch: String,
    #[diesel(sql_type = BigInt)]
    serial: i64,
    #[diesel(sql_type = BigInt)]
    time: i64,
}

#[derive(QueryableByName)]
struct TakenRow {
    #[diesel(sql_type = BigInt)]
    at: i64,
    #[diesel(sql_type = BigInt)]
    serial: i64,
    #[diesel(sql_type = BigInt)]
    time: i64,
    #[diesel(sql_type = Binary)]
    fingerprint: Vec<u8>,
}

/// Returns when the commit is on disk.
pub(super) async fn append(conn: &mut AsyncPgConnection, pending: Vec<Pending>) -> Result<Vec<Appended>, StoreError> {
    AnsiTransactionManager::begin_transaction_sql(conn, "begin").await.map_err(failure)?;
    match append_all(conn, pending).await {
        Ok(appended) => {
            AnsiTransactionManager::commit_transaction(conn).await.map_err(failure)?;
            Ok(appended)
        }
        Err(failed) => {
            AnsiTransactionManager::rollback_transaction(conn).await.map_err(failure)?;
            Err(failed)
        }
    }
}

async fn append_all(conn: &mut AsyncPgConnection, pending: Vec<Pending>) -> Result<Vec<Appended>, StoreError> {
    let mut known = Known::default();
    lock_apps(conn, &pending, &mut known).await?;
    lock_heads(conn, &pending, &mut known).await?;
    look_up_keys(conn, &pending, &mut known).await?;
    let plan = plans::plan(pending, known);
    insert_messages(conn, &plan.rows).await?;
    move_heads(conn, &plan).await?;
    Ok(plan.outcomes)
}

/// An app that is locked here cannot be removed before the commit.
async fn lock_apps(conn: &mut AsyncPgConnection, pending: &[Pending], known: &mut Known) -> Result<(), StoreError> {
    let ids: Vec<&str> = plans::apps(pending).into_iter().map(AppId::as_str).collect();
    let rows: Vec<AppRow> = sql_query("select id, epoch from apps where id = any($1) order by id for key share")
        .bind::<Array<Text>, _>(ids)
        .load(conn)
        .await
        .map_err(failure)?;
    for row in rows {
        known.apps.insert(app_id(&row.id)?, Epoch::new(&row.epoch));
    }
    Ok(())
}

/// Rows are made for channels that have none, so that there is something to lock. The order keeps two appends from waiting for each other.
async fn lock_heads(conn: &mut AsyncPgConnection, pending: &[Pending], known: &mut Known) -> Result<(), StoreError> {
    let (mut apps, mut channels, mut epochs) = (Vec::new(), Vec::new(), Vec::new());
    for (app, channel) in plans::channels(pending) {
        let Some(epoch) = known.apps.get(app) else { continue };
        apps.push(app.as_str().to_owned());
        channels.push(channel.as_str());
        epochs.push(epoch.as_str().to_owned());
    }
    sql_query(
        "insert into channels (app_id, channel, epoch, serial, time, swept)
         select app_id, channel, epoch, 0, 0, 0 from unnest($1, $2, $3) as wanted (app_id, channel, epoch)
         on conflict do nothing",
    )
    .bind::<Array<Text>, _>(&apps)
    .bind::<Array<Text>, _>(&channels)
    .bind::<Array<Text>, _>(&epochs)
    .execute(conn)
    .await
    .map_err(failure)?;
    let rows: Vec<HeadRow> = sql_query(
        "select app_id, channel, epoch, serial, time from channels
         where (app_id, channel) in (select * from unnest($1, $2)) order by app_id, channel for update",
    )
    .bind::<Array<Text>, _>(&apps)
    .bind::<Array<Text>, _>(&channels)
    .load(conn)
    .await
    .map_err(failure)?;
    for row in rows {
        let channel = ChannelName::parse(&row.channel).map_err(|bad| corrupt("channels.channel", bad))?;
        let head = ChannelHead { epoch: Epoch::new(&row.epoch), serial: row.serial, time: row.time, moved: false };
        known.heads.insert((app_id(&row.app_id)?, channel), head);
    }
    Ok(())
}

async fn look_up_keys(conn: &mut AsyncPgConnection, pending: &[Pending], known: &mut Known) -> Result<(), StoreError> {
    let keyed: Vec<&Pending> = pending.iter().filter(|message| message.fingerprint.is_some()).collect();
    if keyed.is_empty() {
        return Ok(());
    }
    let rows: Vec<TakenRow> = sql_query(
        "select wanted.at, found.serial, found.time, found.fingerprint
         from unnest($1, $2, $3) with ordinality as wanted (app_id, channel, id, at)
         cross join lateral (
             select serial, time, fingerprint from messages
             where messages.app_id = wanted.app_id and messages.channel = wanted.channel and messages.id = wanted.id
                 and fingerprint is not null
             order by serial desc limit 1
         ) as found",
    )
    .bind::<Array<Text>, _>(keyed.iter().map(|message| message.app.as_str()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(keyed.iter().map(|message| message.channel.as_str()).collect::<Vec<_>>())
    .bind::<Array<Text>, _>(keyed.iter().map(|message| message.id.as_str()).collect::<Vec<_>>())
    .load(conn)
    .await
    .map_err(failure)?;
    for row in rows {
        let message = usize::try_from(row.at - 1).ok().and_then(|at| keyed.get(at));
        let message = message.ok_or_else(|| corrupt("unnest", "an ordinality that was not asked for"))?;
        let place = ((message.app.clone(), message.channel.clone()), message.id.clone());
        known.taken.insert(place, Taken { serial: row.serial, time: row.time, fingerprint: row.fingerprint });
    }
    Ok(())
}

async fn insert_messages(conn: &mut AsyncPgConnection, rows: &[MessageRow]) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    sql_query(
        "insert into messages (app_id, channel, serial, id, time, name, client, headers, fingerprint, expires_at, data)
         select * from unnest($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
    )
    .bind::<Array<Text>, _>(column(rows, |row| row.app_id.as_str()))
    .bind::<Array<Text>, _>(column(rows, |row| row.channel.as_str()))
    .bind::<Array<BigInt>, _>(column(rows, |row| row.serial))
    .bind::<Array<Text>, _>(column(rows, |row| row.id.as_str()))
    .bind::<Array<BigInt>, _>(column(rows, |row| row.time))
    .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.name.as_deref()))
    .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.client.as_deref()))
    .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.headers.as_deref()))
    .bind::<Array<Nullable<Binary>>, _>(column(rows, |row| row.fingerprint.as_deref()))
    .bind::<Array<BigInt>, _>(column(rows, |row| row.expires_at))
    .bind::<Array<Text>, _>(column(rows, |row| row.data.as_str()))
    .execute(conn)
    .await
    .map(drop)
    .map_err(failure)
}

async fn move_heads(conn: &mut AsyncPgConnection, plan: &Plan) -> Result<(), StoreError> {
    let moved: Vec<_> = plan.heads.iter().filter(|(_, head)| head.moved).collect();
    sql_query(
        "update channels set serial = moved.serial, time = moved.time
         from unnest($1, $2, $3, $4) as moved (app_id, channel, serial, time)
         where channels.app_id = moved.app_id and channels.channel = moved.channel",
    )
    .bind::<Array<Text>, _>(column(&moved, |((app, _), _)| app.as_str()))
    .bind::<Array<Text>, _>(column(&moved, |((_, channel), _)| channel.as_str()))
    .bind::<Array<BigInt>, _>(column(&moved, |(_, head)| head.serial))
    .bind::<Array<BigInt>, _>(column(&moved, |(_, head)| head.time))
    .execute(conn)
    .await
    .map(drop)
    .map_err(failure)
}

fn column<'a, R, V>(rows: &'a [R], value: impl Fn(&'a R) -> V) -> Vec<V> {
    rows.iter().map(value).collect()
}

fn app_id(text: &str) -> Result<AppId, StoreError> {
    AppId::parse(text).map_err(|bad| corrupt("apps.id", bad))
}
