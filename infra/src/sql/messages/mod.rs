//! The log of messages in SQL: append, read, sweep.

use async_trait::async_trait;
use fanfare_domain::{
    StoreError, Timestamp,
    history::{Appended, Head, HistoryPage, MessageLog, Visible},
    ids::AppId,
    partitions::Fence,
    publishing::Accepted,
};
use fanfare_protocol::{ChannelName, requests::Range};

use super::{
    SqlStore,
    db::{Conn, failure},
};
use plans::Pending;

mod heads;
mod pages;
mod plans;
mod postgres;
mod sqlite;
mod sweeps;

#[async_trait]
impl MessageLog for SqlStore {
    async fn append(&self, _fence: Option<Fence>, messages: &[Accepted]) -> Result<Vec<Appended>, StoreError> {
        let pending: Vec<Pending> = messages.iter().map(Pending::from).collect();
        self.db
            .work(|db| async move {
                let mut conn = db.write().await?;
                match &mut conn {
                    Conn::Sqlite(conn) => {
                        conn.spawn_blocking(move |conn| sqlite::append(conn, pending)).await.map_err(failure)
                    }
                    Conn::Postgres(conn) => postgres::append(conn, pending).await,
                }
            })
            .await
    }

    async fn head(&self, app: &AppId, channel: &ChannelName) -> Result<Option<Head>, StoreError> {
        let (app, channel) = (app.clone(), channel.clone());
        self.db
            .work(|db| async move {
                let mut conn = db.read().await?;
                Ok(heads::find(&mut conn, &app, &channel).await?.map(|found| found.head))
            })
            .await
    }

    async fn heads(&self, channels: &[(AppId, ChannelName)]) -> Result<Vec<Option<Head>>, StoreError> {
        let channels = channels.to_vec();
        self.db
            .work(|db| async move {
                let mut conn = db.read().await?;
                let mut found = Vec::with_capacity(channels.len());
                for (app, channel) in &channels {
                    found.push(heads::find(&mut conn, app, channel).await?.map(|found| found.head));
                }
                Ok(found)
            })
            .await
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

    async fn sweep(&self, now: Timestamp, limit: u32) -> Result<usize, StoreError> {
        self.db
            .work(|db| async move {
                let mut conn = db.write().await?;
                conn.begin().await?;
                let swept = sweeps::sweep(&mut conn, now, limit).await;
                conn.finish(swept).await
            })
            .await
    }
}
