//! What webhooks were told, in SQL. Each change is a row that comes, goes or changes: of several workers that see it, the row lets one through.

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use fanfare_domain::{
    StoreError,
    ids::AppId,
    presence::Place,
    webhooks::{Backlog, Change, Changed, Known, Telling, Told, ToldPlace},
};
use fanfare_protocol::{ChannelName, ClientName};

use super::{
    SqlBacklog, SqlStore, corrupt,
    db::{Conn, on_dialect},
    schema::{told_channels, told_members},
};

/// What was told, and the backlog into which goes what is to be told.
#[derive(Clone)]
pub struct SqlTold {
    store: SqlStore,
    tellings: Tellings,
}

#[derive(Clone)]
enum Tellings {
    /// In the same database, and so in the same transaction.
    Beside(SqlBacklog),
    /// Elsewhere: it has them before the transaction is committed.
    Apart(Arc<dyn Backlog>),
}

impl SqlTold {
    /// With a backlog in the same database.
    pub fn beside(store: SqlStore, tellings: SqlBacklog) -> Self {
        Self { store, tellings: Tellings::Beside(tellings) }
    }

    /// With a backlog elsewhere.
    pub fn apart(store: SqlStore, tellings: Arc<dyn Backlog>) -> Self {
        Self { store, tellings: Tellings::Apart(tellings) }
    }
}

#[async_trait]
impl Told for SqlTold {
    async fn read(&self, place: &Place) -> Result<Known, StoreError> {
        let Place { app, channel } = place.clone();
        self.store
            .db
            .work(move |db| async move {
                let mut conn = db.read().await?;
                let subscribers: Option<i64> = on_dialect!(&mut conn, |c| told_channels::table
                    .find((app.as_str(), channel.as_str()))
                    .select(told_channels::subscribers)
                    .first(c)
                    .await
                    .optional())?;
                let members: Vec<String> = on_dialect!(&mut conn, |c| told_members::table
                    .filter(told_members::app_id.eq(app.as_str()))
                    .filter(told_members::channel.eq(channel.as_str()))
                    .select(told_members::client)
                    .load(c)
                    .await)?;
                let client = |name: &String| ClientName::parse(name).map_err(|bad| corrupt("told_members.client", bad));
                let subscribers = subscribers.map(|count| u64::try_from(count).unwrap_or_default());
                Ok(Known { subscribers, members: members.iter().map(client).collect::<Result<_, _>>()? })
            })
            .await
    }

    async fn change(&self, app: &AppId, mut changes: Vec<Changed>) -> Result<usize, StoreError> {
        // Whoever else changes the same waits, and nobody for each other; the order of one channel's changes stays.
        changes.sort_by(|one, other| one.channel.cmp(&other.channel));
        let (app, tellings) = (app.clone(), self.tellings.clone());
        let made = self.store.db.work(move |db| async move {
            let mut conn = db.write().await?;
            conn.begin().await?;
            let made = make(&mut conn, &app, changes, &tellings).await;
            conn.finish(made).await
        });
        let made = made.await?;
        if let Tellings::Beside(backlog) = &self.tellings {
            backlog.filled();
        }
        Ok(made)
    }

    async fn places(&self, after: Option<&Place>, limit: u32) -> Result<Vec<ToldPlace>, StoreError> {
        let after = after.map(|place| (place.app.as_str().to_owned(), place.channel.as_str().to_owned()));
        let after = after.unwrap_or_default();
        self.store
            .db
            .work(move |db| async move {
                let mut conn = db.read().await?;
                places(&mut conn, &after, i64::from(limit)).await
            })
            .await
    }

    async fn occupied(&self, app: &AppId, channels: &[ChannelName]) -> Result<BTreeSet<ChannelName>, StoreError> {
        let app = app.as_str().to_owned();
        let names: Vec<String> = channels.iter().map(|channel| channel.as_str().to_owned()).collect();
        self.store
            .db
            .work(move |db| async move {
                let mut conn = db.read().await?;
                let told: Vec<String> = on_dialect!(&mut conn, |c| told_channels::table
                    .filter(told_channels::app_id.eq(&app))
                    .filter(told_channels::channel.eq_any(&names))
                    .select(told_channels::channel)
                    .load(c)
                    .await)?;
                told.iter().map(|name| channel(name)).collect()
            })
            .await
    }

    async fn forget(&self, app: &AppId) -> Result<(), StoreError> {
        let app = app.as_str().to_owned();
        self.store
            .db
            .work(move |db| async move {
                let mut conn = db.write().await?;
                on_dialect!(&mut conn, |c| {
                    diesel::delete(told_channels::table.filter(told_channels::app_id.eq(&app))).execute(c).await
                })?;
                on_dialect!(&mut conn, |c| {
                    diesel::delete(told_members::table.filter(told_members::app_id.eq(&app))).execute(c).await
                })?;
                Ok(())
            })
            .await
    }
}

fn channel(name: &str) -> Result<ChannelName, StoreError> {
    ChannelName::parse(name).map_err(|bad| corrupt("told_channels.channel", bad))
}

async fn make(conn: &mut Conn, app: &AppId, changes: Vec<Changed>, backlog: &Tellings) -> Result<usize, StoreError> {
    let (mut made, mut tellings) = (0, Vec::new());
    for changed in changes {
        if make_one(conn, app.as_str(), changed.channel.as_str(), &changed.change).await? {
            made += 1;
            tellings.extend(changed.tellings.iter().map(Telling::to_bytes));
        }
    }
    if !tellings.is_empty() {
        match backlog {
            Tellings::Beside(backlog) => backlog.put_within(conn, tellings).await?,
            Tellings::Apart(backlog) => backlog.put(tellings).await.map_err(StoreError::unavailable)?,
        }
    }
    Ok(made)
}

/// Whether it was this that made it.
async fn make_one(conn: &mut Conn, app: &str, channel: &str, change: &Change) -> Result<bool, StoreError> {
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let rows = match change {
        Change::Occupied => {
            let row = (
                told_channels::app_id.eq(app),
                told_channels::channel.eq(channel),
                told_channels::subscribers.eq(0_i64),
            );
            on_dialect!(conn, |c| diesel::insert_into(told_channels::table)
                .values(row)
                .on_conflict_do_nothing()
                .execute(c)
                .await)?
        }
        Change::Vacated => {
            on_dialect!(conn, |c| diesel::delete(told_channels::table.find((app, channel))).execute(c).await)?
        }
        Change::Counted { from, to } => {
            on_dialect!(conn, |c| diesel::update(told_channels::table.find((app, channel)))
                .filter(told_channels::subscribers.eq(count(*from)))
                .set(told_channels::subscribers.eq(count(*to)))
                .execute(c)
                .await)?
        }
        Change::Added(client) => {
            let row = (
                told_members::app_id.eq(app),
                told_members::channel.eq(channel),
                told_members::client.eq(client.as_str()),
            );
            on_dialect!(conn, |c| diesel::insert_into(told_members::table)
                .values(row)
                .on_conflict_do_nothing()
                .execute(c)
                .await)?
        }
        Change::Removed(client) => {
            let row = told_members::table.find((app, channel, client.as_str()));
            on_dialect!(conn, |c| diesel::delete(row).execute(c).await)?
        }
    };
    Ok(rows > 0)
}

/// From both tables, in the order of both keys.
async fn places(conn: &mut Conn, after: &(String, String), limit: i64) -> Result<Vec<ToldPlace>, StoreError> {
    let (app, name) = after;
    let channels: Vec<(String, String)> = on_dialect!(&mut *conn, |c| told_channels::table
        .filter(told_channels::app_id.gt(app).or(told_channels::app_id.eq(app).and(told_channels::channel.gt(name))))
        .order((told_channels::app_id, told_channels::channel))
        .limit(limit)
        .select((told_channels::app_id, told_channels::channel))
        .load(c)
        .await)?;
    let members: Vec<(String, String, i64)> = on_dialect!(&mut *conn, |c| told_members::table
        .group_by((told_members::app_id, told_members::channel))
        .filter(told_members::app_id.gt(app).or(told_members::app_id.eq(app).and(told_members::channel.gt(name))))
        .order((told_members::app_id, told_members::channel))
        .limit(limit)
        .select((told_members::app_id, told_members::channel, diesel::dsl::count_star()))
        .load(c)
        .await)?;
    let mut all: std::collections::BTreeMap<(String, String), (bool, i64)> = std::collections::BTreeMap::new();
    for (app, channel) in channels {
        all.entry((app, channel)).or_default().0 = true;
    }
    for (app, channel, count) in members {
        all.entry((app, channel)).or_default().1 = count;
    }
    // What is past the limit of one may lie before what is past that of the other.
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    all.into_iter()
        .take(most)
        .map(|((app, name), (is_occupied, members))| {
            let app = AppId::parse(&app).map_err(|bad| corrupt("told_channels.app_id", bad))?;
            let place = Place { app, channel: channel(&name)? };
            Ok(ToldPlace { place, is_occupied, members: u64::try_from(members).unwrap_or_default() })
        })
        .collect()
}
