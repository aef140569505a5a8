//! Who owns which partition of the queue, in SQL.
//!
//! A worker has one row with its lease. Whoever finds a lease at its end removes that row, and with it the worker loses all that it owned; a
//! row that its worker renews at that moment is locked, and passed over. So renewing touches no partition, and waits for no append.

use async_trait::async_trait;
use diesel::{
    QueryableByName,
    prelude::*,
    sql_query,
    sql_types::{BigInt, Integer, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use fanfare_domain::{
    StoreError,
    ids::WorkerId,
    partitions::{Fence, Holdings, Partition, Partitions},
};

use super::{
    SqlStore, corrupt,
    db::{Conn, on_dialect},
    failures::failure,
    prepared::Prepared,
    schema::partitions,
};

/// Five seconds from now, by the database's clock.
const RENEW: &str = "
    update workers set lease_until = (extract(epoch from clock_timestamp()) * 1000)::bigint + 5000 where id = $1";
const ENTER: &str = "
    insert into workers (id, lease_until) values ($1, (extract(epoch from clock_timestamp()) * 1000)::bigint + 5000)";
const END_LEASES: &str = "
    delete from workers where id in (
        select id from workers where lease_until <= (extract(epoch from clock_timestamp()) * 1000)::bigint
        for update skip locked
    )";
/// The worker's place among all that are alive, how many these are, and how many partitions there are.
const COUNT: &str = "
    select count(*) filter (where id < $1) as place, count(*) as workers, (select count(*) from partitions) as partitions
    from workers";
/// A partition whose last owner still appends is locked, and passed over; so is one that another worker has taken since this statement began,
/// by its generation.
const TAKE: &str = "
    with free as materialized (
        select id, generation from partitions
        where owner is null or not exists (select from workers where workers.id = partitions.owner)
    )
    update partitions set owner = $1, generation = generation + 1
    where id in (
        select taken.id from partitions as taken
        join free on free.id = taken.id and free.generation = taken.generation
        order by taken.id limit $2 for update of taken skip locked
    )";
const OWNED: &str = "select id, generation from partitions where owner = $1 order by id";
/// In their order, as an append locks those that it needs.
const GIVE_ALL: &str = "
    update partitions set owner = null
    where id in (select id from partitions where owner = $1 order by id for update)";

#[derive(QueryableByName)]
struct Counts {
    #[diesel(sql_type = BigInt)]
    place: i64,
    #[diesel(sql_type = BigInt)]
    workers: i64,
    #[diesel(sql_type = BigInt)]
    partitions: i64,
}

impl Counts {
    /// The partitions spread evenly; what is left over goes to the first workers, one each.
    fn share(&self) -> i64 {
        let workers = self.workers.max(1);
        self.partitions / workers + i64::from(self.place < self.partitions % workers)
    }
}

#[derive(QueryableByName)]
struct Owned {
    #[diesel(sql_type = Integer)]
    id: i32,
    #[diesel(sql_type = BigInt)]
    generation: i64,
}

/// On Postgres. A SQLite file has one process, which owns the only partition.
#[async_trait]
impl Partitions for SqlStore {
    async fn hold(&self, worker: &WorkerId) -> Result<Holdings, StoreError> {
        let worker = worker.clone();
        self.db
            .work(|db| async move {
                let mut conn = db.lease().await?;
                if let Conn::Sqlite(_) = conn {
                    return Ok(Holdings { owned: vec![Fence { partition: 0, generation: 0 }], share: 1 });
                }
                conn.begin().await?;
                let held = hold(postgres(&mut conn), worker.as_str()).await;
                conn.finish(held).await
            })
            .await
    }

    async fn release(&self, worker: &WorkerId, fence: Fence) -> Result<(), StoreError> {
        let worker = worker.clone();
        self.db
            .work(|db| async move {
                let mut conn = db.lease().await?;
                on_dialect!(&mut conn, |c| diesel::update(partitions::table.find(i32::from(fence.partition)))
                    .filter(partitions::owner.eq(worker.as_str()))
                    .filter(partitions::generation.eq(fence.generation))
                    .set(partitions::owner.eq(None::<String>))
                    .execute(c)
                    .await)
                .map(drop)
            })
            .await
    }

    async fn leave(&self, worker: &WorkerId) -> Result<(), StoreError> {
        let worker = worker.clone();
        self.db
            .work(|db| async move {
                let mut conn = db.lease().await?;
                if let Conn::Sqlite(_) = conn {
                    return Ok(());
                }
                conn.begin().await?;
                let left = leave(postgres(&mut conn), worker.as_str()).await;
                conn.finish(left).await
            })
            .await
    }
}

async fn hold(conn: &mut AsyncPgConnection, worker: &str) -> Result<Holdings, StoreError> {
    if execute(conn, RENEW, worker).await? == 0 {
        // The lease had ended, so that others may have taken what was owned, and take it still.
        execute(conn, ENTER, worker).await?;
        execute(conn, GIVE_ALL, worker).await?;
    }
    Prepared(sql_query(END_LEASES)).execute(conn).await.map_err(failure)?;
    let counts: Counts = Prepared(sql_query(COUNT).bind::<Text, _>(worker)).get_result(conn).await.map_err(failure)?;
    let mut owned = owned(conn, worker).await?;
    let share = counts.share();
    let wanted = share - i64::try_from(owned.len()).unwrap_or(i64::MAX);
    if wanted > 0 {
        let take = sql_query(TAKE).bind::<Text, _>(worker).bind::<BigInt, _>(wanted);
        if Prepared(take).execute(conn).await.map_err(failure)? > 0 {
            owned = self::owned(conn, worker).await?;
        }
    }
    Ok(Holdings { owned, share: usize::try_from(share).unwrap_or(0) })
}

async fn leave(conn: &mut AsyncPgConnection, worker: &str) -> Result<(), StoreError> {
    execute(conn, "delete from workers where id = $1", worker).await?;
    execute(conn, GIVE_ALL, worker).await.map(drop)
}

async fn owned(conn: &mut AsyncPgConnection, worker: &str) -> Result<Vec<Fence>, StoreError> {
    let rows: Vec<Owned> = Prepared(sql_query(OWNED).bind::<Text, _>(worker)).load(conn).await.map_err(failure)?;
    let fence = |row: Owned| {
        let partition = Partition::try_from(row.id).map_err(|bad| corrupt("partitions.id", bad))?;
        Ok(Fence { partition, generation: row.generation })
    };
    rows.into_iter().map(fence).collect()
}

async fn execute(conn: &mut AsyncPgConnection, statement: &'static str, worker: &str) -> Result<usize, StoreError> {
    Prepared(sql_query(statement).bind::<Text, _>(worker)).execute(conn).await.map_err(failure)
}

fn postgres(conn: &mut Conn) -> &mut AsyncPgConnection {
    match conn {
        Conn::Postgres(conn) => conn,
        Conn::Sqlite(_) => unreachable!("a file has no workers"),
    }
}
