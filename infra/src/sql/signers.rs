//! Signers in SQL.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use fanfare_domain::{
    StoreError,
    ids::{AppId, SignerId},
    signers::{Signer, SignerKeys, Signers, VerifyingKey},
    stores::Page,
};

use super::{
    SqlStore, apps, corrupt,
    db::{Conn, on_dialect},
    revocations,
    schema::signers,
    stored, timestamp,
};

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = signers, check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
struct SignerRow {
    id: String,
    app_id: String,
    name: String,
    issuer: String,
    audience: String,
    pem: Option<String>,
    kid: Option<String>,
    jwks_url: Option<String>,
    cap: String,
    created_at: i64,
}

impl From<&Signer> for SignerRow {
    fn from(signer: &Signer) -> Self {
        let (pem, kid, jwks_url) = match &signer.keys {
            SignerKeys::Pem { pem, key } => (Some(pem.clone()), key.kid.clone(), None),
            SignerKeys::Jwks { url } => (None, None, Some(url.clone())),
        };
        Self {
            id: signer.id.as_str().to_owned(),
            app_id: signer.app.as_str().to_owned(),
            name: signer.name.clone(),
            issuer: signer.issuer.clone(),
            audience: signer.audience.clone(),
            pem,
            kid,
            jwks_url,
            cap: serde_json::to_string(&signer.capability).expect("a capability is an object of lists"),
            created_at: stored(signer.created_at),
        }
    }
}

impl TryFrom<SignerRow> for Signer {
    type Error = StoreError;

    fn try_from(row: SignerRow) -> Result<Self, StoreError> {
        let keys = match (row.pem, row.jwks_url) {
            (Some(pem), None) => {
                let key = VerifyingKey::from_pem(&pem, row.kid).map_err(|bad| corrupt("signers.pem", bad))?;
                SignerKeys::Pem { pem, key }
            }
            (None, Some(url)) => SignerKeys::Jwks { url },
            _ => return Err(corrupt("signers", "it has no key, or two")),
        };
        Ok(Self {
            id: SignerId::parse(&row.id).map_err(|bad| corrupt("signers.id", bad))?,
            app: AppId::parse(&row.app_id).map_err(|bad| corrupt("signers.app_id", bad))?,
            name: row.name,
            issuer: row.issuer,
            audience: row.audience,
            keys,
            capability: serde_json::from_str(&row.cap).map_err(|bad| corrupt("signers.cap", bad))?,
            created_at: timestamp(row.created_at),
        })
    }
}

#[async_trait]
impl Signers for SqlStore {
    async fn insert(&self, signer: &Signer, most: u32) -> Result<(), StoreError> {
        let row = SignerRow::from(signer);
        self.db
            .work(|db| async move {
                let mut conn = db.write().await?;
                conn.begin().await?;
                let inserted = insert(&mut conn, &row, most).await;
                conn.finish(inserted).await
            })
            .await
    }

    async fn find(&self, app: &AppId, signer: &SignerId) -> Result<Option<Signer>, StoreError> {
        let (app, signer) = (app.clone(), signer.clone());
        self.db
            .work(|db| async move {
                let mut conn = db.read().await?;
                on_dialect!(&mut conn, |c| signers::table
                    .find(signer.as_str())
                    .filter(signers::app_id.eq(app.as_str()))
                    .select(SignerRow::as_select())
                    .first(c)
                    .await
                    .optional())?
                .map(Signer::try_from)
                .transpose()
            })
            .await
    }

    async fn list(&self, app: &AppId, page: &Page) -> Result<Vec<Signer>, StoreError> {
        let (app, page) = (app.clone(), page.clone());
        self.db
            .work(|db| async move {
                let mut conn = db.read().await?;
                on_dialect!(&mut conn, |c| signers::table
                    .filter(signers::app_id.eq(app.as_str()))
                    .filter(signers::id.gt(page.after.unwrap_or_default()))
                    .order(signers::id)
                    .limit(i64::from(page.limit))
                    .select(SignerRow::as_select())
                    .load(c)
                    .await)?
                .into_iter()
                .map(Signer::try_from)
                .collect()
            })
            .await
    }

    async fn remove(&self, app: &AppId, signer: &SignerId) -> Result<bool, StoreError> {
        let (app, signer) = (app.clone(), signer.clone());
        self.db
            .work(|db| async move {
                let mut conn = db.write().await?;
                conn.begin().await?;
                let removed = revocations::remove_signer(&mut conn, &app, &signer).await;
                revocations::finish(&db, &mut conn, removed).await
            })
            .await
    }
}

async fn insert(conn: &mut Conn, row: &SignerRow, most: u32) -> Result<(), StoreError> {
    apps::lock(conn, &row.app_id).await?;
    let there = on_dialect!(&mut *conn, |c| signers::table
        .filter(signers::app_id.eq(&row.app_id))
        .count()
        .get_result::<i64>(c)
        .await)?;
    if there >= i64::from(most) {
        return Err(StoreError::Full(most));
    }
    on_dialect!(conn, |c| diesel::insert_into(signers::table).values(row).execute(c).await).map(drop)
}
