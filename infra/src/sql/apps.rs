//! Apps in SQL.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use fanfare_domain::{
    StoreError,
    apps::{App, AppPatch, Apps},
    ids::{AppId, TenantId},
    origins::Origins,
    pusher::{PusherSwitches, SwitchesPatch},
    revocations::Subject,
    stores::Page,
};
use fanfare_protocol::Epoch;

use super::{
    SqlStore, corrupt,
    db::{Conn, on_dialect},
    revocations,
    schema::{apps, removed_apps, tenants},
    stored, timestamp,
};

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = apps, check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
struct AppRow {
    id: String,
    tenant_id: String,
    name: String,
    enabled: bool,
    epoch: String,
    created_at: i64,
    origins: String,
    traced_since: Option<i64>,
    pusher: Option<String>,
}

#[derive(AsChangeset, PartialEq, Default)]
#[diesel(table_name = apps)]
struct AppChanges {
    name: Option<String>,
    enabled: Option<bool>,
    origins: Option<String>,
    traced_since: Option<Option<i64>>,
    pusher: Option<String>,
}

impl From<&App> for AppRow {
    fn from(app: &App) -> Self {
        Self {
            id: app.id.as_str().to_owned(),
            tenant_id: app.tenant.as_str().to_owned(),
            name: app.name.clone(),
            enabled: app.enabled,
            epoch: app.epoch.as_str().to_owned(),
            created_at: stored(app.created_at),
            origins: written(&app.origins),
            traced_since: app.traced_since.map(stored),
            pusher: Some(switches_text(&app.pusher)),
        }
    }
}

impl TryFrom<AppRow> for App {
    type Error = StoreError;

    fn try_from(row: AppRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: AppId::parse(&row.id).map_err(|bad| corrupt("apps.id", bad))?,
            tenant: TenantId::parse(&row.tenant_id).map_err(|bad| corrupt("apps.tenant_id", bad))?,
            name: row.name,
            enabled: row.enabled,
            epoch: Epoch::new(&row.epoch),
            created_at: timestamp(row.created_at),
            origins: origins(&row.origins)?,
            traced_since: row.traced_since.map(timestamp),
            pusher: row.pusher.as_deref().map(switches).transpose()?.unwrap_or_default(),
        })
    }
}

/// Origins as they are stored: a list in JSON.
fn written(origins: &Origins) -> String {
    serde_json::to_string(&origins.to_list()).expect("a list of texts can be written")
}

fn origins(stored: &str) -> Result<Origins, StoreError> {
    let list: Vec<String> = serde_json::from_str(stored).map_err(|bad| corrupt("apps.origins", bad))?;
    Origins::parse(list).map_err(|bad| corrupt("apps.origins", bad))
}

/// Switches as they are stored: an object in JSON.
fn switches_text(switches: &PusherSwitches) -> String {
    serde_json::to_string(switches).expect("switches can be written")
}

fn switches(stored: &str) -> Result<PusherSwitches, StoreError> {
    serde_json::from_str(stored).map_err(|bad| corrupt("apps.pusher", bad))
}

#[async_trait]
impl Apps for SqlStore {
    async fn insert(&self, app: &App, most: u32) -> Result<(), StoreError> {
        let row = AppRow::from(app);
        self.db
            .work(|db| async move {
                let mut conn = db.write().await?;
                conn.begin().await?;
                let inserted = insert(&mut conn, &row, most).await;
                conn.finish(inserted).await
            })
            .await
    }

    async fn find(&self, app: &AppId) -> Result<Option<App>, StoreError> {
        let app = app.clone();
        self.db
            .work(|db| async move {
                let mut conn = db.read().await?;
                on_dialect!(&mut conn, |c| apps::table
                    .find(app.as_str())
                    .select(AppRow::as_select())
                    .first(c)
                    .await
                    .optional())?
                .map(App::try_from)
                .transpose()
            })
            .await
    }

    async fn list(&self, tenant: &TenantId, page: &Page) -> Result<Vec<App>, StoreError> {
        let (tenant, page) = (tenant.clone(), page.clone());
        self.db
            .work(|db| async move {
                let mut conn = db.read().await?;
                on_dialect!(&mut conn, |c| apps::table
                    .filter(apps::tenant_id.eq(tenant.as_str()))
                    .filter(apps::id.gt(page.after.unwrap_or_default()))
                    .order(apps::id)
                    .limit(i64::from(page.limit))
                    .select(AppRow::as_select())
                    .load(c)
                    .await)?
                .into_iter()
                .map(App::try_from)
                .collect()
            })
            .await
    }

    async fn update(&self, tenant: &TenantId, app: &AppId, patch: &AppPatch) -> Result<Option<App>, StoreError> {
        let mut changes = AppChanges {
            name: patch.name.clone(),
            enabled: patch.enabled,
            origins: patch.origins.as_ref().map(written),
            traced_since: patch.traced_since.map(|since| since.map(stored)),
            pusher: None,
        };
        let turned = patch.pusher;
        if changes == AppChanges::default() && turned == SwitchesPatch::default() {
            return Ok(Apps::find(self, app).await?.filter(|found| found.tenant == *tenant));
        }
        let (tenant, app) = (tenant.clone(), app.clone());
        self.db
            .work(|db| async move {
                let mut conn = db.write().await?;
                conn.begin().await?;
                let changed = update(&mut conn, &tenant, &app, &mut changes, turned).await;
                revocations::finish(&db, &mut conn, changed).await
            })
            .await
    }

    async fn remove(&self, tenant: &TenantId, app: &AppId) -> Result<bool, StoreError> {
        let (tenant, app) = (tenant.clone(), app.clone());
        self.db
            .work(|db| async move {
                let mut conn = db.write().await?;
                conn.begin().await?;
                let removed = remove(&mut conn, &tenant, &app).await;
                revocations::finish(&db, &mut conn, removed).await
            })
            .await
    }
}

/// A write that changes nothing locks the tenant, so that whoever else adds an app to it counts this one too.
async fn insert(conn: &mut Conn, row: &AppRow, most: u32) -> Result<(), StoreError> {
    on_dialect!(&mut *conn, |c| diesel::update(tenants::table.find(&row.tenant_id))
        .set(tenants::name.eq(tenants::name))
        .execute(c)
        .await)?;
    let there = on_dialect!(&mut *conn, |c| apps::table
        .filter(apps::tenant_id.eq(&row.tenant_id))
        .count()
        .get_result::<i64>(c)
        .await)?;
    if there >= i64::from(most) {
        return Err(StoreError::Full(most));
    }
    on_dialect!(conn, |c| diesel::insert_into(apps::table).values(row).execute(c).await).map(drop)
}

/// A write that changes nothing locks the app until the transaction ends.
pub(super) async fn lock(conn: &mut Conn, app: &str) -> Result<(), StoreError> {
    on_dialect!(conn, |c| diesel::update(apps::table.find(app)).set(apps::name.eq(apps::name)).execute(c).await)
        .map(drop)
}

/// That an app is disabled is noted among the revocations, so that no node misses it. Switches are one column: they are read under the lock of the
/// app, so that whoever turns another one at the same time does not undo this.
async fn update(
    conn: &mut Conn,
    tenant: &TenantId,
    app: &AppId,
    changes: &mut AppChanges,
    turned: SwitchesPatch,
) -> Result<Option<App>, StoreError> {
    let last = match changes.enabled {
        Some(false) => Some(revocations::lock(conn).await?),
        _ => None,
    };
    if turned != SwitchesPatch::default() {
        lock(conn, app.as_str()).await?;
        let stored = on_dialect!(&mut *conn, |c| apps::table
            .find(app.as_str())
            .select(apps::pusher)
            .first::<Option<String>>(c)
            .await
            .optional())?;
        let stored = stored.flatten().as_deref().map(switches).transpose()?.unwrap_or_default();
        changes.pusher = Some(switches_text(&turned.turn(stored)));
    }
    let changed = on_dialect!(&mut *conn, |c| diesel::update(apps::table.find(app.as_str()))
        .filter(apps::tenant_id.eq(tenant.as_str()))
        .set(&*changes)
        .returning(AppRow::as_returning())
        .get_result(c)
        .await
        .optional())?
    .map(App::try_from)
    .transpose()?;
    if let (Some(last), Some(_)) = (last, &changed) {
        revocations::note(conn, last, &Subject::App(app.clone()), last.now).await?;
    }
    Ok(changed)
}

/// Keys and rules go with the row; messages cannot be read without it, and are noted down for the sweep.
async fn remove(conn: &mut Conn, tenant: &TenantId, app: &AppId) -> Result<bool, StoreError> {
    let last = revocations::lock(conn).await?;
    let removed = on_dialect!(&mut *conn, |c| diesel::delete(apps::table.find(app.as_str()))
        .filter(apps::tenant_id.eq(tenant.as_str()))
        .execute(c)
        .await)?;
    if removed > 0 {
        let note = removed_apps::id.eq(app.as_str());
        on_dialect!(&mut *conn, |c| diesel::insert_into(removed_apps::table).values(note).execute(c).await)?;
        revocations::note(conn, last, &Subject::App(app.clone()), last.now).await?;
    }
    Ok(removed > 0)
}
