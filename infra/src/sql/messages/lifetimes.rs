//! Where messages lie in Postgres: in tables by how long they live, cut by when that ends, so that what is over is dropped whole.
//!
//! A table below `messages` is named after its class and the days since 1970 from which and before which its messages end.

use std::collections::BTreeSet;

use diesel::{
    QueryableByName, sql_query,
    sql_types::{BigInt, Text},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use fanfare_domain::{StoreError, Timestamp};
use tracing::debug;

use crate::sql::{
    db::{Conn, Db},
    failures::failure,
    stored,
};

const DAY_MS: i64 = 86_400_000;

/// The number of the advisory lock under which tables are made.
const MAKING_LOCK: i64 = 0x66_616e_6661_7266;

/// A drop waits no longer than this for those who read or append, since all who come after it wait behind it. It is less than the time after
/// which Postgres looks for a deadlock, of which the drop would be part.
const DROP: &str = "set local lock_timeout = '500ms'; drop table if exists";

/// Messages that live less than so long, in tables of such a width. A few tables hold a class at any time.
struct Class {
    name: &'static str,
    less_than_days: i64,
    width_days: i64,
}

/// As the migrations make them. What lives for decades gets its tables only when it comes.
const CLASSES: [Class; 5] = [
    Class { name: "days", less_than_days: 2, width_days: 1 },
    Class { name: "weeks", less_than_days: 8, width_days: 2 },
    Class { name: "months", less_than_days: 32, width_days: 8 },
    Class { name: "years", less_than_days: 367, width_days: 92 },
    Class { name: "decades", less_than_days: i64::MAX, width_days: 3_653 },
];
/// The class that every installation uses: that of the built-in rule.
const DAYS: usize = 0;
const DECADES: usize = 4;

/// A table of messages: its class, and the days from which and before which they end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Leaf {
    class: usize,
    from_day: i64,
    to_day: i64,
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Text)]
    name: String,
}

impl Leaf {
    /// Where a message lies that was accepted then and is over then.
    pub fn of(time: i64, expires_at: i64) -> Self {
        let lives = expires_at.saturating_sub(time);
        let is_of = |class: &Class| lives < class.less_than_days.saturating_mul(DAY_MS);
        let class = CLASSES.iter().position(is_of).unwrap_or(DECADES);
        Self::on(class, expires_at.div_euclid(DAY_MS))
    }

    fn on(class: usize, day: i64) -> Self {
        let width = CLASSES[class].width_days;
        let from_day = day.div_euclid(width) * width;
        Self { class, from_day, to_day: from_day + width }
    }

    fn name(self) -> String {
        format!("messages_{}_{}_{}", CLASSES[self.class].name, self.from_day, self.to_day)
    }

    fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix("messages_")?.split('_');
        let (class, from, to) = (parts.next()?, parts.next()?, parts.next()?);
        let class = CLASSES.iter().position(|known| known.name == class)?;
        Some(Self { class, from_day: from.parse().ok()?, to_day: to.parse().ok()? })
    }

    fn is_over(self, now: i64) -> bool {
        self.to_day.saturating_mul(DAY_MS) <= now
    }

    /// Attaching, unlike making in place, lets appends and reads go on meanwhile.
    fn making(self) -> String {
        let (class, name) = (CLASSES[self.class].name, self.name());
        let (from, to) = (self.from_day * DAY_MS, self.to_day * DAY_MS);
        format!(
            "create table {name} (like messages including defaults including constraints, primary key (app_id, channel, serial));
             alter table messages_{class} attach partition {name} for values from ({from}) to ({to});"
        )
    }
}

/// What the messages of a class need that are accepted from now until the margin, one more width, is over.
fn ahead(class: usize, now: i64) -> impl Iterator<Item = Leaf> {
    let today = now.div_euclid(DAY_MS);
    let shortest = class.checked_sub(1).map_or(0, |shorter| CLASSES[shorter].less_than_days);
    let Class { less_than_days, width_days, .. } = CLASSES[class];
    let last = today + less_than_days + width_days;
    std::iter::successors(Some(Leaf::on(class, today + shortest)), move |leaf| Some(Leaf::on(class, leaf.to_day)))
        .take_while(move |leaf| leaf.from_day <= last)
}

/// Makes the tables that will be needed next, of every class that is in use.
pub(in crate::sql) async fn make_ahead(db: &Db, now: Timestamp) -> Result<(), StoreError> {
    let there = db.work(|db| async move { list(postgres(&mut db.write().await?)).await }).await?;
    let mut classes: BTreeSet<_> = there.iter().map(|leaf| leaf.class).filter(|class| *class != DECADES).collect();
    classes.insert(DAYS);
    let wanted: BTreeSet<_> = classes.into_iter().flat_map(|class| ahead(class, stored(now))).collect();
    if wanted.is_subset(&there) { Ok(()) } else { make(db, wanted).await }
}

/// Makes those of the tables that are not there.
pub(super) async fn make(db: &Db, wanted: BTreeSet<Leaf>) -> Result<(), StoreError> {
    db.work(|db| async move {
        let mut conn = db.write().await?;
        conn.begin().await?;
        let made = make_missing(postgres(&mut conn), &wanted).await;
        conn.finish(made).await
    })
    .await
}

async fn make_missing(conn: &mut AsyncPgConnection, wanted: &BTreeSet<Leaf>) -> Result<(), StoreError> {
    let lock = sql_query("select pg_advisory_xact_lock($1)").bind::<BigInt, _>(MAKING_LOCK);
    lock.execute(conn).await.map_err(failure)?;
    let there = list(conn).await?;
    for leaf in wanted.difference(&there) {
        conn.batch_execute(&leaf.making()).await.map_err(failure)?;
    }
    Ok(())
}

/// Drops the tables in which all is over, and tells how many. One that somebody uses just now is left for the next time.
pub(super) async fn drop_what_is_over(db: &Db, now: Timestamp) -> Result<usize, StoreError> {
    let there = db.work(|db| async move { list(postgres(&mut db.write().await?)).await }).await?;
    let mut dropped = 0;
    for leaf in there.into_iter().filter(|leaf| leaf.is_over(stored(now))) {
        let table = leaf.name();
        match db.work(|db| async move { drop_table(&mut db.write().await?, &leaf.name()).await }).await {
            Ok(()) => dropped += 1,
            Err(StoreError::Unavailable(busy)) => debug!(table, error = %busy, "A table is left for the next sweep"),
            Err(failed) => return Err(failed),
        }
    }
    Ok(dropped)
}

async fn drop_table(conn: &mut Conn, name: &str) -> Result<(), StoreError> {
    conn.begin().await?;
    let dropped = postgres(conn).batch_execute(&format!("{DROP} {name}")).await.map_err(failure);
    conn.finish(dropped).await
}

/// The tables that are there.
async fn list(conn: &mut AsyncPgConnection) -> Result<BTreeSet<Leaf>, StoreError> {
    let found: Vec<Found> = sql_query(
        "select relname::text as name from pg_partition_tree('messages') as tree
         join pg_class on pg_class.oid = tree.relid where tree.isleaf",
    )
    .load(conn)
    .await
    .map_err(failure)?;
    Ok(found.iter().filter_map(|found| Leaf::parse(&found.name)).collect())
}

fn postgres(conn: &mut Conn) -> &mut AsyncPgConnection {
    match conn {
        Conn::Postgres(conn) => conn,
        Conn::Sqlite(_) => unreachable!("only Postgres keeps messages in several tables"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: i64 = 20_000 * DAY_MS + DAY_MS / 2;
    const HOUR_MS: i64 = 3_600_000;

    #[test]
    fn a_message_lies_by_how_long_it_lives_and_when_it_ends() {
        for (hours, name) in [
            (25, "messages_days_20001_20002"),
            (47, "messages_days_20002_20003"),
            (49, "messages_weeks_20002_20004"),
            (7 * 24 + 1, "messages_weeks_20006_20008"),
            (30 * 24 + 1, "messages_months_20024_20032"),
            (365 * 24 + 1, "messages_years_20332_20424"),
            (10 * 365 * 24, "messages_decades_21918_25571"),
        ] {
            let leaf = Leaf::of(NOON, NOON + hours * HOUR_MS);
            assert_eq!(leaf.name(), name, "{hours} hours");
            assert_eq!(Leaf::parse(name), Some(leaf));
        }
        assert_eq!(Leaf::parse("messages_days"), None);
        assert_eq!(Leaf::parse("messages_archive_1_2"), None);
    }

    #[test]
    fn what_is_made_ahead_takes_every_message_of_a_class_until_another_width_has_passed() {
        for (class, Class { name, less_than_days, width_days }) in CLASSES[..DECADES].iter().enumerate() {
            let made: Vec<_> = ahead(class, NOON).collect();
            assert!(made.len() <= 7, "{name}: {}", made.len());
            let shortest =
                class.checked_sub(1).map_or(25 * HOUR_MS, |shorter| CLASSES[shorter].less_than_days * DAY_MS);
            for accepted in [NOON, NOON + width_days * DAY_MS] {
                for lives in [shortest, less_than_days * DAY_MS - 1] {
                    assert!(made.contains(&Leaf::of(accepted, accepted + lives)), "{name}: {lives} ms");
                }
            }
        }
    }

    #[test]
    fn a_table_is_over_with_its_last_message() {
        let leaf = Leaf::of(NOON, NOON + 25 * HOUR_MS);
        assert!(!leaf.is_over(20_002 * DAY_MS - 1) && leaf.is_over(20_002 * DAY_MS));
    }
}
