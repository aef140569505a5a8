//! An append to Postgres: lock, then look, then insert, each one statement that sees what the last one left.

use std::{collections::BTreeSet, ops::Range, sync::Arc};

use diesel::{
    QueryableByName, sql_query,
    sql_types::{Array, BigInt, Binary, Integer, Nullable, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use fanfare_domain::{StoreError, history::Appended, ids::AppId, partitions::Fence};
use fanfare_protocol::{ChannelName, Epoch};
use futures::try_join;

use super::{
    lifetimes::{self, Leaf},
    plans::{self, ChannelHead, Known, MessageRow, Pending, Plan, Taken},
};
use crate::sql::{
    corrupt,
    db::{Conn, Db},
    failures::{append_failure, failure, lacks_partition},
    prepared::Prepared,
};

/// How often an append is begun anew because its channels or tables were made or dropped by others just now.
const ATTEMPTS: usize = 3;

/// The fences, the apps and the heads of the channels. Rows are made for channels that have none, so that there is something to lock; one
/// that another append makes at the same time is not seen yet. The order keeps two appends from waiting for each other.
const LOCK: &str = "
    with wanted as materialized (
        select app_id, channel from unnest($1, $2) as wanted (app_id, channel)
    ), fence as materialized (
        select partitions.id from partitions join unnest($3, $4) as held (id, generation)
        on held.id = partitions.id and held.generation = partitions.generation
        order by partitions.id for share of partitions
    ), app as materialized (
        select id, epoch from apps where id in (select app_id from wanted) order by id for key share
    ), locked as materialized (
        select app_id, channel, epoch, serial, time from channels
        where (app_id, channel) in (select app_id, channel from wanted) and app_id in (select id from app)
        order by app_id, channel for update
    ), made as (
        insert into channels (app_id, channel, epoch, serial, time)
        select wanted.app_id, wanted.channel, app.epoch, 0, 0 from wanted join app on app.id = wanted.app_id
        where not exists (select from locked where locked.app_id = wanted.app_id and locked.channel = wanted.channel)
        order by wanted.app_id, wanted.channel
        on conflict do nothing returning app_id, channel, epoch, serial, time
    )
    select wanted.app_id, wanted.channel, app.epoch as app_epoch, head.epoch, head.serial, head.time,
        (select count(*) from fence) as held
    from wanted left join app on app.id = wanted.app_id
    left join (select * from locked union all select * from made) as head
        on head.app_id = wanted.app_id and head.channel = wanted.channel";

/// The latest place of each id. App and channel are hidden from the indexes: with both in view, an index that Postgres knows nothing of yet looked as good as that of
/// ids, and the whole channel was read for each.
const LOOK: &str = "
    select wanted.at, found.serial, found.time, found.fingerprint
    from unnest($1, $2, $3) with ordinality as wanted (app_id, channel, id, at)
    cross join lateral (
        select serial, time, fingerprint from messages
        where messages.id = wanted.id and messages.app_id || '' = wanted.app_id and messages.channel || '' = wanted.channel
        order by serial desc limit 1
    ) as found";

/// The messages, and with them the heads.
const INSERT: &str = "
    with moved as (
        update channels set serial = head.serial, time = head.time
        from unnest($1, $2, $3, $4) as head (app_id, channel, serial, time)
        where channels.app_id = head.app_id and channels.channel = head.channel
    )
    insert into messages (app_id, channel, serial, id, time, name, client, headers, fingerprint, expires_at, data)
    select * from unnest($5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)";

#[derive(QueryableByName)]
struct LockedRow {
    #[diesel(sql_type = Text)]
    app_id: String,
    #[diesel(sql_type = Text)]
    channel: String,
    #[diesel(sql_type = Nullable<Text>)]
    app_epoch: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    epoch: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    serial: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    time: Option<i64>,
    /// So many fences hold.
    #[diesel(sql_type = BigInt)]
    held: i64,
}

#[derive(QueryableByName)]
struct TakenRow {
    #[diesel(sql_type = BigInt)]
    at: i64,
    #[diesel(sql_type = BigInt)]
    serial: i64,
    #[diesel(sql_type = BigInt)]
    time: i64,
    #[diesel(sql_type = Nullable<Binary>)]
    fingerprint: Option<Vec<u8>>,
}

/// Why a transaction was undone.
enum Undone {
    /// Tables are missing that its messages need.
    Lacks(BTreeSet<Leaf>),
    /// Another append makes one of its channels just now.
    Raced,
    Failed(StoreError),
}

impl From<StoreError> for Undone {
    fn from(failed: StoreError) -> Self {
        Self::Failed(failed)
    }
}

/// Appends a part of these messages under all of these fences. Returns when the commit is on disk.
pub(super) async fn append(
    db: &Db,
    fences: &[Fence],
    pending: Arc<[Pending]>,
    part: Range<usize>,
) -> Result<Vec<Appended>, StoreError> {
    for _ in 0..ATTEMPTS {
        let (fences, pending, part) = (fences.to_vec(), pending.clone(), part.clone());
        let attempt = db.work(|db| async move {
            let mut conn = db.write().await?;
            match append_once(&mut conn, &fences, &pending[part]).await {
                Err(Undone::Failed(failed)) => Err(failed),
                attempt => Ok(attempt),
            }
        });
        match attempt.await? {
            Ok(appended) => return Ok(appended),
            Err(Undone::Lacks(leaves)) => lifetimes::make(db, leaves).await?,
            Err(_) => {}
        }
    }
    Err(StoreError::unavailable("others make or drop what an append needs"))
}

async fn append_once(conn: &mut Conn, fences: &[Fence], pending: &[Pending]) -> Result<Vec<Appended>, Undone> {
    let Conn::Postgres(conn) = conn else { unreachable!("this is Postgres") };
    let appended = append_all(conn, fences, pending).await;
    if appended.is_err() && (&**conn).batch_execute("rollback").await.is_err() {
        // Nobody is to find it half-way through a transaction.
        conn.give_up();
    }
    appended
}

/// It begins the transaction and locks in one trip to the server. The commit waits for the insert, which takes a trip of its own where its connection does not
/// know it yet: a commit that was sent along would overtake it, and it would run after the locks were let go.
async fn append_all(
    mut conn: &AsyncPgConnection,
    fences: &[Fence],
    pending: &[Pending],
) -> Result<Vec<Appended>, Undone> {
    let mut known = Known::default();
    let mut other = conn;
    let begun = async { other.batch_execute("begin").await.map_err(|error| Undone::from(failure(error))) };
    try_join!(begun, lock(conn, fences, pending, &mut known))?;
    look(conn, pending, &mut known).await?;
    let plan = plans::plan(pending, known);
    if !plan.rows.is_empty() {
        insert(conn, &plan).await?;
    }
    conn.batch_execute("commit").await.map_err(failure)?;
    Ok(plan.outcomes)
}

/// An app that is locked here cannot be removed before the commit, and no partition change hands.
async fn lock(
    mut conn: &AsyncPgConnection,
    fences: &[Fence],
    pending: &[Pending],
    known: &mut Known,
) -> Result<(), Undone> {
    let (apps, channels): (Vec<_>, Vec<_>) =
        plans::channels(pending).into_iter().map(|(app, channel)| (app.as_str(), channel.as_str())).unzip();
    let partitions: Vec<_> = column(fences, |fence| i32::from(fence.partition));
    let query = sql_query(LOCK)
        .bind::<Array<Text>, _>(apps)
        .bind::<Array<Text>, _>(channels)
        .bind::<Array<Integer>, _>(partitions)
        .bind::<Array<BigInt>, _>(column(fences, |fence| fence.generation));
    let rows: Vec<LockedRow> = Prepared(query).load(&mut conn).await.map_err(append_failure)?;
    for row in rows {
        if usize::try_from(row.held) != Ok(fences.len()) {
            return Err(StoreError::Fenced.into());
        }
        let Some(app_epoch) = row.app_epoch else { continue };
        let (Some(epoch), Some(serial), Some(time)) = (row.epoch, row.serial, row.time) else {
            return Err(Undone::Raced);
        };
        let app = AppId::parse(&row.app_id).map_err(|bad| corrupt("apps.id", bad))?;
        let channel = ChannelName::restore(&row.channel).map_err(|bad| corrupt("channels.channel", bad))?;
        known.apps.insert(app.clone(), Epoch::new(&app_epoch));
        known.heads.insert((app, channel), ChannelHead { epoch: Epoch::new(&epoch), serial, time, moved: false });
    }
    Ok(())
}

async fn look(mut conn: &AsyncPgConnection, pending: &[Pending], known: &mut Known) -> Result<(), StoreError> {
    let wanted: Vec<&Pending> = pending.iter().filter(|message| message.may_be_stored()).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let query = sql_query(LOOK)
        .bind::<Array<Text>, _>(column(&wanted, |message| message.app.as_str()))
        .bind::<Array<Text>, _>(column(&wanted, |message| message.channel.as_str()))
        .bind::<Array<Text>, _>(column(&wanted, |message| message.id.as_str()));
    let rows: Vec<TakenRow> = Prepared(query).load(&mut conn).await.map_err(failure)?;
    for row in rows {
        let message = usize::try_from(row.at - 1).ok().and_then(|at| wanted.get(at));
        let message = message.ok_or_else(|| corrupt("unnest", "an ordinality that was not asked for"))?;
        let place = ((message.app.clone(), message.channel.clone()), message.id.clone());
        known.taken.insert(place, Taken { serial: row.serial, time: row.time, fingerprint: row.fingerprint });
    }
    Ok(())
}

async fn insert(mut conn: &AsyncPgConnection, Plan { rows, heads, .. }: &Plan<'_>) -> Result<(), Undone> {
    let moved: Vec<_> = heads.iter().filter(|(_, head)| head.moved).collect();
    let query = sql_query(INSERT)
        .bind::<Array<Text>, _>(column(&moved, |((app, _), _)| app.as_str()))
        .bind::<Array<Text>, _>(column(&moved, |((_, channel), _)| channel.as_str()))
        .bind::<Array<BigInt>, _>(column(&moved, |(_, head)| head.serial))
        .bind::<Array<BigInt>, _>(column(&moved, |(_, head)| head.time))
        .bind::<Array<Text>, _>(column(rows, |row| row.app_id))
        .bind::<Array<Text>, _>(column(rows, |row| row.channel))
        .bind::<Array<BigInt>, _>(column(rows, |row| row.serial))
        .bind::<Array<Text>, _>(column(rows, |row| row.id))
        .bind::<Array<BigInt>, _>(column(rows, |row| row.time))
        .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.name))
        .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.client))
        .bind::<Array<Nullable<Text>>, _>(column(rows, |row| row.headers))
        .bind::<Array<Nullable<Binary>>, _>(column(rows, |row| row.fingerprint))
        .bind::<Array<BigInt>, _>(column(rows, |row| row.expires_at))
        .bind::<Array<Text>, _>(column(rows, |row| row.data));
    match Prepared(query).execute(&mut conn).await {
        Ok(_) => Ok(()),
        Err(error) if lacks_partition(&error) => {
            let leaf = |row: &MessageRow<'_>| Leaf::of(row.time, row.expires_at);
            Err(Undone::Lacks(rows.iter().map(leaf).collect()))
        }
        Err(error) => Err(append_failure(error).into()),
    }
}

fn column<'a, R, V>(rows: &'a [R], value: impl Fn(&'a R) -> V) -> Vec<V> {
    rows.iter().map(value).collect()
}
