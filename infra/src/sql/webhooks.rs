//! Webhooks in SQL.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use fanfare_domain::{
    StoreError,
    ids::{AppId, WebhookId},
    stores::Page,
    webhooks::{EventKind, Webhook, WebhookFormat, WebhookPatch, Webhooks},
};

use super::{
    SqlStore, apps, corrupt,
    db::{Conn, on_dialect},
    schema::webhooks,
    stored, timestamp,
};

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = webhooks, check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
struct WebhookRow {
    id: String,
    app_id: String,
    url: String,
    format: String,
    events: String,
    enabled: bool,
    created_at: i64,
}

#[derive(AsChangeset, PartialEq, Default)]
#[diesel(table_name = webhooks)]
struct WebhookChanges {
    url: Option<String>,
    events: Option<String>,
    enabled: Option<bool>,
}

impl From<&Webhook> for WebhookRow {
    fn from(webhook: &Webhook) -> Self {
        Self {
            id: webhook.id.as_str().to_owned(),
            app_id: webhook.app.as_str().to_owned(),
            url: webhook.url.clone(),
            format: webhook.format.name().to_owned(),
            events: written(&webhook.events),
            enabled: webhook.enabled,
            created_at: stored(webhook.created_at),
        }
    }
}

impl TryFrom<WebhookRow> for Webhook {
    type Error = StoreError;

    fn try_from(row: WebhookRow) -> Result<Self, StoreError> {
        // Of kinds that a later version knows, nothing is told here.
        let names: Vec<String> = serde_json::from_str(&row.events).map_err(|bad| corrupt("webhooks.events", bad))?;
        Ok(Self {
            id: WebhookId::parse(&row.id).map_err(|bad| corrupt("webhooks.id", bad))?,
            app: AppId::parse(&row.app_id).map_err(|bad| corrupt("webhooks.app_id", bad))?,
            url: row.url,
            format: WebhookFormat::of_name(&row.format).ok_or_else(|| corrupt("webhooks.format", &row.format))?,
            events: names.iter().filter_map(|name| EventKind::of_name(name)).collect(),
            enabled: row.enabled,
            created_at: timestamp(row.created_at),
        })
    }
}

/// Events as they are stored: a list in JSON.
fn written(events: &[EventKind]) -> String {
    serde_json::to_string(events).expect("a list of names can be written")
}

#[async_trait]
impl Webhooks for SqlStore {
    async fn insert(&self, webhook: &Webhook, most: u32) -> Result<(), StoreError> {
        let row = WebhookRow::from(webhook);
        self.db
            .work(|db| async move {
                let mut conn = db.write().await?;
                conn.begin().await?;
                let inserted = insert(&mut conn, &row, most).await;
                conn.finish(inserted).await
            })
            .await
    }

    async fn find(&self, app: &AppId, webhook: &WebhookId) -> Result<Option<Webhook>, StoreError> {
        let (app, webhook) = (app.clone(), webhook.clone());
        self.db
            .work(|db| async move {
                let mut conn = db.read().await?;
                on_dialect!(&mut conn, |c| webhooks::table
                    .find(webhook.as_str())
                    .filter(webhooks::app_id.eq(app.as_str()))
                    .select(WebhookRow::as_select())
                    .first(c)
                    .await
                    .optional())?
                .map(Webhook::try_from)
                .transpose()
            })
            .await
    }

    async fn list(&self, app: &AppId, page: &Page) -> Result<Vec<Webhook>, StoreError> {
        let (app, page) = (app.clone(), page.clone());
        self.db
            .work(|db| async move {
                let mut conn = db.read().await?;
                on_dialect!(&mut conn, |c| webhooks::table
                    .filter(webhooks::app_id.eq(app.as_str()))
                    .filter(webhooks::id.gt(page.after.unwrap_or_default()))
                    .order(webhooks::id)
                    .limit(i64::from(page.limit))
                    .select(WebhookRow::as_select())
                    .load(c)
                    .await)?
                .into_iter()
                .map(Webhook::try_from)
                .collect()
            })
            .await
    }

    async fn update(
        &self,
        app: &AppId,
        webhook: &WebhookId,
        patch: &WebhookPatch,
    ) -> Result<Option<Webhook>, StoreError> {
        let changes = WebhookChanges {
            url: patch.url.clone(),
            events: patch.events.as_deref().map(written),
            enabled: patch.enabled,
        };
        if changes == WebhookChanges::default() {
            return Webhooks::find(self, app, webhook).await;
        }
        let (app, webhook) = (app.clone(), webhook.clone());
        self.db
            .work(|db| async move {
                let mut conn = db.write().await?;
                on_dialect!(&mut conn, |c| diesel::update(webhooks::table.find(webhook.as_str()))
                    .filter(webhooks::app_id.eq(app.as_str()))
                    .set(&changes)
                    .returning(WebhookRow::as_returning())
                    .get_result(c)
                    .await
                    .optional())?
                .map(Webhook::try_from)
                .transpose()
            })
            .await
    }

    async fn remove(&self, app: &AppId, webhook: &WebhookId) -> Result<bool, StoreError> {
        let (app, webhook) = (app.clone(), webhook.clone());
        self.db
            .work(|db| async move {
                let mut conn = db.write().await?;
                let removed = on_dialect!(&mut conn, |c| diesel::delete(webhooks::table.find(webhook.as_str()))
                    .filter(webhooks::app_id.eq(app.as_str()))
                    .execute(c)
                    .await)?;
                Ok(removed > 0)
            })
            .await
    }

    async fn apps(&self, after: Option<&AppId>, limit: u32) -> Result<Vec<AppId>, StoreError> {
        let after = after.map(|app| app.as_str().to_owned()).unwrap_or_default();
        self.db
            .work(move |db| async move {
                let mut conn = db.read().await?;
                let ids: Vec<String> = on_dialect!(&mut conn, |c| webhooks::table
                    .filter(webhooks::app_id.gt(&after))
                    .order(webhooks::app_id)
                    .limit(i64::from(limit))
                    .select(webhooks::app_id)
                    .distinct()
                    .load(c)
                    .await)?;
                ids.iter().map(|id| AppId::parse(id).map_err(|bad| corrupt("webhooks.app_id", bad))).collect()
            })
            .await
    }
}

async fn insert(conn: &mut Conn, row: &WebhookRow, most: u32) -> Result<(), StoreError> {
    apps::lock(conn, &row.app_id).await?;
    let there = on_dialect!(&mut *conn, |c| webhooks::table
        .filter(webhooks::app_id.eq(&row.app_id))
        .count()
        .get_result::<i64>(c)
        .await)?;
    if there >= i64::from(most) {
        return Err(StoreError::Full(most));
    }
    on_dialect!(conn, |c| diesel::insert_into(webhooks::table).values(row).execute(c).await).map(drop)
}
