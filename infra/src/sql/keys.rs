//! API keys in SQL; their secrets are sealed.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use fanfare_domain::{
    StoreError,
    ids::{AppId, KeyId},
    keys::{Key, Keys, PreviousSecret},
    stores::Page,
};

use super::{SqlStore, corrupt, db::on_dialect, schema::api_keys, stored, timestamp};
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
    async fn insert(&self, key: &Key) -> Result<(), StoreError> {
        let row = KeyRow::seal(key, &self.sealer);
        self.db
            .work(|db| async move {
                let mut conn = db.write().await?;
                on_dialect!(&mut conn, |c| diesel::insert_into(api_keys::table).values(&row).execute(c).await).map(drop)
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

    async fn update_secrets(&self, key: &Key) -> Result<bool, StoreError> {
        let row = KeyRow::seal(key, &self.sealer);
        self.db
            .work(|db| async move {
                let mut conn = db.write().await?;
                let changed = on_dialect!(&mut conn, |c| diesel::update(api_keys::table.find(&row.id))
                    .filter(api_keys::app_id.eq(&row.app_id))
                    .set((
                        api_keys::secret.eq(&row.secret),
                        api_keys::previous_secret.eq(&row.previous_secret),
                        api_keys::previous_until.eq(row.previous_until),
                    ))
                    .execute(c)
                    .await)?;
                Ok(changed > 0)
            })
            .await
    }

    async fn remove(&self, app: &AppId, key: &KeyId) -> Result<bool, StoreError> {
        let (app, key) = (app.clone(), key.clone());
        self.db
            .work(|db| async move {
                let mut conn = db.write().await?;
                let removed = on_dialect!(&mut conn, |c| diesel::delete(api_keys::table.find(key.as_str()))
                    .filter(api_keys::app_id.eq(app.as_str()))
                    .execute(c)
                    .await)?;
                Ok(removed > 0)
            })
            .await
    }
}
