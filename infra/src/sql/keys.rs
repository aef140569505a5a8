//! API keys in SQL; their secrets are sealed.

use std::time::Duration;

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use fanfare_domain::{
    StoreError, Timestamp,
    ids::{AppId, KeyId},
    keys::{Key, Keys, PreviousSecret},
    revocations::Subject,
    stores::Page,
};

use super::{
    SqlStore, apps, corrupt,
    db::{Conn, on_dialect},
    revocations,
    schema::api_keys,
    stored, timestamp,
};
use crate::sealing::Sealer;

const SECRET: &str = "api_keys.secret";
const PREVIOUS_SECRET: &str = "api_keys.previous_secret";

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = api_keys, check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
struct KeyRow {
    id: String,
    app_id: String,
    name: String,
    cap: String,
    secret: Vec<u8>,
    previous_secret: Option<Vec<u8>>,
    previous_until: Option<i64>,
    expires_at: Option<i64>,
    created_at: i64,
}

impl KeyRow {
    fn seal(key: &Key, sealer: &Sealer) -> Self {
        let id = key.id.as_str();
        Self {
            id: id.to_owned(),
            app_id: key.app.as_str().to_owned(),
            name: key.name.clone(),
            cap: serde_json::to_string(&key.capability).expect("a capability is an object of lists"),
            secret: sealer.seal(SECRET, id, &key.secret),
            previous_secret: key.previous.as_ref().map(|previous| sealer.seal(PREVIOUS_SECRET, id, &previous.secret)),
            previous_until: key.previous.as_ref().map(|previous| stored(previous.until)),
            expires_at: key.expires_at.map(stored),
            created_at: stored(key.created_at),
        }
    }

    fn open(self, sealer: &Sealer) -> Result<Key, StoreError> {
        let open = |column, sealed: &[u8]| sealer.open(column, &self.id, sealed).map_err(|bad| corrupt(column, bad));
        let previous = match (&self.previous_secret, self.previous_until) {
            (Some(sealed), Some(until)) => {
                Some(PreviousSecret { secret: open(PREVIOUS_SECRET, sealed)?, until: timestamp(until) })
            }
            _ => None,
        };
        Ok(Key {
            id: KeyId::parse(&self.id).map_err(|bad| corrupt("api_keys.id", bad))?,
            app: AppId::parse(&self.app_id).map_err(|bad| corrupt("api_keys.app_id", bad))?,
            secret: open(SECRET, &self.secret)?,
            previous,
            capability: serde_json::from_str(&self.cap).map_err(|bad| corrupt("api_keys.cap", bad))?,
            name: self.name,
            expires_at: self.expires_at.map(timestamp),
            created_at: timestamp(self.created_at),
        })
    }
}

#[async_trait]
impl Keys for SqlStore {
    async fn insert(&self, key: &Key, most: u32) -> Result<(), StoreError> {
        let row = KeyRow::seal(key, &self.sealer);
        self.db
            .work(|db| async move {
                let mut conn = db.write().await?;
                conn.begin().await?;
                let inserted = insert(&mut conn, &row, most).await;
                conn.finish(inserted).await
            })
            .await
    }

    async fn find(&self, app: &AppId, key: &KeyId) -> Result<Option<Key>, StoreError> {
        Ok(Keys::find_by_id(self, key).await?.filter(|found| found.app == *app))
    }

    async fn find_by_id(&self, key: &KeyId) -> Result<Option<Key>, StoreError> {
        let (key, sealer) = (key.clone(), self.sealer.clone());
        self.db
            .work(|db| async move {
                let mut conn = db.read().await?;
                on_dialect!(&mut conn, |c| api_keys::table
                    .find(key.as_str())
                    .select(KeyRow::as_select())
                    .first(c)
                    .await
                    .optional())?
                .map(|row| row.open(&sealer))
                .transpose()
            })
            .await
    }

    async fn list(&self, app: &AppId, page: &Page) -> Result<Vec<Key>, StoreError> {
        let (app, page, sealer) = (app.clone(), page.clone(), self.sealer.clone());
        self.db
            .work(|db| async move {
                let mut conn = db.read().await?;
                on_dialect!(&mut conn, |c| api_keys::table
                    .filter(api_keys::app_id.eq(app.as_str()))
                    .filter(api_keys::id.gt(page.after.unwrap_or_default()))
                    .order(api_keys::id)
                    .limit(i64::from(page.limit))
                    .select(KeyRow::as_select())
                    .load(c)
                    .await)?
                .into_iter()
                .map(|row| row.open(&sealer))
                .collect()
            })
            .await
    }

    async fn rotate(
        &self,
        app: &AppId,
        key: &KeyId,
        grace: Duration,
        now: Timestamp,
    ) -> Result<Option<Key>, StoreError> {
        let (app, key, sealer) = (app.clone(), key.clone(), self.sealer.clone());
        self.db
            .work(|db| async move {
                let mut conn = db.write().await?;
                conn.begin().await?;
                let rotated = match lock(&mut conn, &app, &key).await {
                    Ok(Some(row)) => rotate(&mut conn, row, &sealer, grace, now).await.map(Some),
                    other => other.map(|_| None),
                };
                conn.finish(rotated).await
            })
            .await
    }

    async fn remove(&self, app: &AppId, key: &KeyId) -> Result<bool, StoreError> {
        let (app, key) = (app.clone(), key.clone());
        self.db
            .work(|db| async move {
                let mut conn = db.write().await?;
                conn.begin().await?;
                let removed = remove(&mut conn, &app, &key).await;
                revocations::finish(&db, &mut conn, removed).await
            })
            .await
    }
}

/// Its revocation is noted along with it, so that no node misses it.
async fn remove(conn: &mut Conn, app: &AppId, key: &KeyId) -> Result<bool, StoreError> {
    let last = revocations::lock(conn).await?;
    let removed = revocations::remove_key(conn, app, key).await?;
    if removed {
        revocations::note(conn, last, &Subject::Key(app.clone(), key.clone()), last.now).await?;
    }
    Ok(removed)
}

async fn insert(conn: &mut Conn, row: &KeyRow, most: u32) -> Result<(), StoreError> {
    apps::lock(conn, &row.app_id).await?;
    let there = on_dialect!(&mut *conn, |c| api_keys::table
        .filter(api_keys::app_id.eq(&row.app_id))
        .count()
        .get_result::<i64>(c)
        .await)?;
    if there >= i64::from(most) {
        return Err(StoreError::Full(most));
    }
    on_dialect!(conn, |c| diesel::insert_into(api_keys::table).values(row).execute(c).await).map(drop)
}

/// The key as no other rotation will change it before the transaction ends: a write that changes nothing locks it.
async fn lock(conn: &mut Conn, app: &AppId, key: &KeyId) -> Result<Option<KeyRow>, StoreError> {
    on_dialect!(conn, |c| diesel::update(api_keys::table.find(key.as_str()))
        .filter(api_keys::app_id.eq(app.as_str()))
        .set(api_keys::name.eq(api_keys::name))
        .returning(KeyRow::as_returning())
        .get_result(c)
        .await
        .optional())
}

async fn rotate(
    conn: &mut Conn,
    row: KeyRow,
    sealer: &Sealer,
    grace: Duration,
    now: Timestamp,
) -> Result<Key, StoreError> {
    let mut key = row.open(sealer)?;
    key.rotate(grace, now);
    let row = KeyRow::seal(&key, sealer);
    on_dialect!(conn, |c| diesel::update(api_keys::table.find(&row.id))
        .set((
            api_keys::secret.eq(&row.secret),
            api_keys::previous_secret.eq(&row.previous_secret),
            api_keys::previous_until.eq(row.previous_until),
        ))
        .execute(c)
        .await)?;
    Ok(key)
}
