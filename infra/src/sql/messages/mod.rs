//! The log of messages in SQL: append, read, sweep.

use async_trait::async_trait;
use fanfare_domain::{
    StoreError, Timestamp,
    history::{Appended, Found, Head, HistoryPage, MessageLog, Visible},
    ids::{AppId, MessageId},
    partitions::Fence,
    publishing::Accepted,
};
use fanfare_protocol::{ChannelName, requests::Range};

use super::{SqlStore, db::Conn, failures::append_failure};
pub(super) use gathering::Gathering;
use plans::Pending;

mod gathering;
mod heads;
pub(super) mod lifetimes;
mod pages;
mod plans;
mod postgres;
mod sqlite;
mod sweeps;

#[async_trait]
impl MessageLog for SqlStore {
    async fn append(&self, fence: Option<Fence>, messages: &[Accepted]) -> Result<Vec<Appended>, StoreError> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        if self.db.target().is_some() {
            return self.appends.append(&self.db, fence, messages.iter().map(Pending::from).collect()).await;
        }
        let pending: Vec<Pending> = messages.iter().map(Pending::from).collect();
        // A file has one process, so its fence holds.
        self.db
            .work(|db| async move {
                let Conn::Sqlite(mut conn) = db.write().await? else { unreachable!("this is SQLite") };
                conn.spawn_blocking(move |conn| sqlite::append(conn, &pending)).await.map_err(append_failure)
            })
            .await
    }

    async fn head(&self, app: &AppId, channel: &ChannelName) -> Result<Option<Head>, StoreError> {
        let (app, channel) = (app.clone(), channel.clone());
        self.db.work(|db| async move { heads::find(&mut db.read().await?, &app, &channel).await }).await
    }

    async fn heads(&self, channels: &[(AppId, ChannelName)]) -> Result<Vec<Option<Head>>, StoreError> {
        let channels = channels.to_vec();
        self.db.work(|db| async move { heads::find_all(&mut db.read().await?, &channels).await }).await
    }

    async fn read(
        &self,
        app: &AppId,
        channel: &ChannelName,
        range: Range,
        limit: u32,
        visible: Visible,
    ) -> Result<Option<HistoryPage>, StoreError> {
        let (app, channel) = (app.clone(), channel.clone());
        self.db
            .work(|db| async move {
                let mut conn = db.read().await?;
                conn.begin_snapshot().await?;
                let page = pages::read(&mut conn, &app, &channel, range, limit, visible).await;
                conn.finish(page).await
            })
            .await
    }

    async fn find(
        &self,
        app: &AppId,
        channel: &ChannelName,
        message: &MessageId,
        visible: Visible,
    ) -> Result<Option<Found>, StoreError> {
        let (app, channel, message) = (app.clone(), channel.clone(), message.clone());
        self.db
            .work(|db| async move { pages::find(&mut db.read().await?, &app, &channel, &message, visible).await })
            .await
    }

    async fn sweep(&self, now: Timestamp, limit: u32) -> Result<usize, StoreError> {
        let swept = self
            .db
            .work(|db| async move {
                let mut conn = db.write().await?;
                conn.begin().await?;
                let swept = sweep_rows(&mut conn, now, limit).await;
                conn.finish(swept).await
            })
            .await?;
        if self.db.target().is_none() || swept >= limit as usize {
            return Ok(swept);
        }
        let dropped = lifetimes::drop_what_is_over(&self.db, now).await?;
        lifetimes::make_ahead(&self.db, now).await?;
        Ok(swept + dropped)
    }
}

/// First what removed apps left, then messages whose time is over, where they do not go with their partition.
async fn sweep_rows(conn: &mut Conn, now: Timestamp, limit: u32) -> Result<usize, StoreError> {
    let swept = sweeps::sweep_removed(conn, limit).await?;
    match conn {
        Conn::Sqlite(_) => Ok(swept + sweeps::sweep_expired(conn, now, limit as usize - swept).await?),
        Conn::Postgres(_) => Ok(swept),
    }
}
