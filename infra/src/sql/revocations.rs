//! Revocations in SQL: numbered rows.
//!
//! The number's row is locked first by whoever revokes, and until its transaction ends. So numbers are committed in their order and
//! without holes: who sees a number in a snapshot sees every row below it, and no row below it can appear later.

use std::{sync::atomic::Ordering, time::Duration};

use async_trait::async_trait;
use diesel::{QueryableByName, prelude::*, sql_query, sql_types::BigInt};
use diesel_async::RunQueryDsl;
use fanfare_domain::{
    Clock, StoreError, Timestamp,
    clock::SystemClock,
    ids::{AppId, KeyId, SignerId, TenantId},
    revocations::{Latest, MOST_PER_APP, Revision, Revocation, Revocations, Rows, Subject},
    tokens::MAX_LIFE,
};
use fanfare_protocol::ClientName;

use super::{
    SqlStore, corrupt,
    db::{Conn, Db, on_dialect},
    schema::{api_keys, revisions, revocations, signers, tenants},
    stored, timestamp,
};

const NAME: &str = "revocations";
/// What a token's clock may be ahead, and ours apart.
const MARGIN: Duration = Duration::from_secs(300);
/// How long it is known that a client was disconnected: a node that was stopped for longer has lost its connections.
const DISCONNECTED: Duration = Duration::from_secs(3_600);

/// Rows that are read at once.
const PAGE: usize = 10_000;

const LOCK: &str = "update revisions set number = number where name = 'revocations'
    returning number, (extract(epoch from clock_timestamp()) * 1000)::bigint as now";
/// The time is that at which the statement began, before it saw anything.
const LATEST: &str = "select number, (extract(epoch from statement_timestamp()) * 1000)::bigint as now
    from revisions where name = 'revocations'";

#[derive(QueryableByName)]
struct NumberRow {
    #[diesel(sql_type = BigInt)]
    number: i64,
    #[diesel(sql_type = BigInt)]
    now: i64,
}

impl NumberRow {
    fn latest(&self) -> Latest {
        Latest { revision: revision(self.number), now: timestamp(self.now) }
    }
}

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = revocations, check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
struct RevocationRow {
    revision: i64,
    kind: String,
    owner_id: String,
    subject: String,
    revoked_at: i64,
    expires_at: i64,
}

impl TryFrom<RevocationRow> for Revocation {
    type Error = StoreError;

    fn try_from(row: RevocationRow) -> Result<Self, StoreError> {
        let app = || AppId::parse(&row.owner_id).map_err(|bad| corrupt("revocations.owner_id", bad));
        let bad_subject = |bad: &dyn std::fmt::Display| corrupt("revocations.subject", bad);
        let client = || ClientName::parse(&row.subject).map_err(|bad| bad_subject(&bad));
        let subject = match row.kind.as_str() {
            "token" => Subject::Token(app()?, row.subject),
            "client" => Subject::Client(app()?, client()?),
            "connections" => Subject::Connections(app()?, client()?),
            "key" => Subject::Key(app()?, KeyId::parse(&row.subject).map_err(|bad| bad_subject(&bad))?),
            "signer" => Subject::Signer(app()?, SignerId::parse(&row.subject).map_err(|bad| bad_subject(&bad))?),
            "app" => Subject::App(app()?),
            "tenant" => {
                Subject::Tenant(TenantId::parse(&row.owner_id).map_err(|bad| corrupt("revocations.owner_id", bad))?)
            }
            other => return Err(corrupt("revocations.kind", other)),
        };
        Ok(Self {
            revision: revision(row.revision),
            subject,
            at: timestamp(row.revoked_at),
            until: timestamp(row.expires_at),
        })
    }
}

/// Kind, owner and subject, as they are stored.
fn parts(subject: &Subject) -> (&'static str, &str, &str) {
    match subject {
        Subject::Token(app, token) => ("token", app.as_str(), token),
        Subject::Client(app, client) => ("client", app.as_str(), client.as_str()),
        Subject::Connections(app, client) => ("connections", app.as_str(), client.as_str()),
        Subject::Key(app, key) => ("key", app.as_str(), key.as_str()),
        Subject::Signer(app, signer) => ("signer", app.as_str(), signer.as_str()),
        Subject::App(app) => ("app", app.as_str(), ""),
        Subject::Tenant(tenant) => ("tenant", tenant.as_str(), ""),
    }
}

fn revision(number: i64) -> Revision {
    Revision(u64::try_from(number).unwrap_or(0))
}

#[async_trait]
impl Revocations for SqlStore {
    async fn revoke(&self, subject: &Subject, now: Timestamp) -> Result<Option<Revision>, StoreError> {
        let subject = subject.clone();
        self.db
            .work(move |db| async move {
                let mut conn = db.write().await?;
                conn.begin().await?;
                let revoked = revoke(&mut conn, &subject, now).await;
                finish(&db, &mut conn, revoked).await
            })
            .await
    }

    async fn latest(&self) -> Result<Latest, StoreError> {
        self.db.look(|mut conn| async move { latest(&mut conn).await }).await
    }

    fn made_here(&self) -> Option<Revision> {
        self.db.revoked().map(|number| Revision(number.load(Ordering::Acquire)))
    }

    async fn after(&self, known: Revision) -> Result<Rows, StoreError> {
        self.db
            .look(move |mut conn| async move {
                // Most often there is nothing new, which one statement tells.
                let latest = latest(&mut conn).await?;
                if latest.revision == known {
                    return Ok(Rows { latest, upto: known, revocations: Vec::new() });
                }
                conn.begin_snapshot().await?;
                let rows = after(&mut conn, known).await;
                conn.finish(rows).await
            })
            .await
    }

    async fn suspend(&self, tenant: &TenantId, suspended: bool, now: Timestamp) -> Result<bool, StoreError> {
        let tenant = tenant.clone();
        self.db
            .work(move |db| async move {
                let mut conn = db.write().await?;
                conn.begin().await?;
                let done = suspend(&mut conn, &tenant, suspended, now).await;
                finish(&db, &mut conn, done).await
            })
            .await
    }
}

async fn latest(conn: &mut Conn) -> Result<Latest, StoreError> {
    let now = stored(SystemClock.now());
    match conn {
        Conn::Sqlite(_) => {
            let number =
                on_dialect!(conn, |c| revisions::table.find(NAME).select(revisions::number).first::<i64>(c).await)?;
            Ok(NumberRow { number, now }.latest())
        }
        Conn::Postgres(c) => {
            let row: NumberRow = sql_query(LATEST).get_result(&mut **c).await.map_err(super::failure)?;
            Ok(row.latest())
        }
    }
}

async fn after(conn: &mut Conn, known: Revision) -> Result<Rows, StoreError> {
    let latest = latest(conn).await?;
    let known = i64::try_from(known.0).unwrap_or(i64::MAX);
    let rows = on_dialect!(conn, |c| revocations::table
        .filter(revocations::revision.gt(known))
        .filter(revocations::expires_at.gt(stored(latest.now)))
        .order(revocations::revision)
        .limit(PAGE as i64)
        .select(RevocationRow::as_select())
        .load(c)
        .await)?;
    let last = rows.last().filter(|_| rows.len() == PAGE);
    let upto = last.map_or(latest.revision, |last| revision(last.revision));
    let revocations = rows.into_iter().map(Revocation::try_from).collect::<Result<_, _>>()?;
    Ok(Rows { latest, upto, revocations })
}

/// Takes the number's lock, which everybody who revokes takes before any other; the number before, and the time.
pub(super) async fn lock(conn: &mut Conn) -> Result<Latest, StoreError> {
    match conn {
        // The transaction is the only one that writes.
        Conn::Sqlite(_) => latest(conn).await,
        Conn::Postgres(c) => {
            let row: NumberRow = sql_query(LOCK).get_result(&mut **c).await.map_err(super::failure)?;
            Ok(row.latest())
        }
    }
}

/// Ends a transaction that may have revoked something. A process that is alone with its database knows of it from then on.
pub(super) async fn finish<T>(db: &Db, conn: &mut Conn, result: Result<T, StoreError>) -> Result<T, StoreError> {
    let (result, number) = match (result, db.revoked()) {
        (Ok(done), Some(_)) => match latest(conn).await {
            Ok(latest) => (Ok(done), latest.revision.0),
            Err(failure) => (Err(failure), 0),
        },
        (result, _) => (result, 0),
    };
    let done = conn.finish(result).await?;
    if let Some(revoked) = db.revoked() {
        revoked.fetch_max(number, Ordering::AcqRel);
    }
    Ok(done)
}

/// Adds a row under the next number, in the place of an older one of the same subject. The lock is held.
pub(super) async fn note(
    conn: &mut Conn,
    last: Latest,
    subject: &Subject,
    now: Timestamp,
) -> Result<Revision, StoreError> {
    let at = last.now.max(now);
    let (kind, owner, of) = parts(subject);
    let number = stored(Timestamp(last.revision.0)) + 1;
    let life = if matches!(subject, Subject::Connections(..)) { DISCONNECTED } else { MAX_LIFE + MARGIN };
    let row = RevocationRow {
        revision: number,
        kind: kind.to_owned(),
        owner_id: owner.to_owned(),
        subject: of.to_owned(),
        revoked_at: stored(at),
        expires_at: stored(at.after(life)),
    };
    on_dialect!(&mut *conn, |c| diesel::delete(revocations::table)
        .filter(revocations::owner_id.eq(owner))
        .filter(revocations::kind.eq(kind))
        .filter(revocations::subject.eq(of))
        .execute(c)
        .await)?;
    on_dialect!(&mut *conn, |c| diesel::insert_into(revocations::table).values(&row).execute(c).await)?;
    on_dialect!(conn, |c| diesel::update(revisions::table.find(NAME))
        .set(revisions::number.eq(number))
        .execute(c)
        .await)?;
    Ok(revision(number))
}

async fn revoke(conn: &mut Conn, subject: &Subject, now: Timestamp) -> Result<Option<Revision>, StoreError> {
    let last = lock(conn).await?;
    on_dialect!(&mut *conn, |c| diesel::delete(revocations::table)
        .filter(revocations::expires_at.le(stored(last.now)))
        .execute(c)
        .await)?;
    let (kind, owner, of) = parts(subject);
    let before = on_dialect!(&mut *conn, |c| revocations::table
        .filter(revocations::owner_id.eq(owner))
        .filter(revocations::kind.eq(kind))
        .filter(revocations::subject.eq(of))
        .select(revocations::revision)
        .first::<i64>(c)
        .await
        .optional())?;
    match subject {
        Subject::Key(app, key) if !remove_key(conn, app, key).await? => return Ok(before.map(revision)),
        Subject::Token(..) if before.is_some() => return Ok(before.map(revision)),
        _ => {}
    }
    let there = on_dialect!(&mut *conn, |c| revocations::table
        .filter(revocations::owner_id.eq(owner))
        .count()
        .get_result::<i64>(c)
        .await)?;
    if before.is_none() && there >= i64::from(MOST_PER_APP) && !matches!(subject, Subject::Key(..)) {
        return Err(StoreError::Full(MOST_PER_APP));
    }
    note(conn, last, subject, now).await.map(Some)
}

/// Removes a key of an app; whether it was there.
pub(super) async fn remove_key(conn: &mut Conn, app: &AppId, key: &KeyId) -> Result<bool, StoreError> {
    let removed = on_dialect!(conn, |c| diesel::delete(api_keys::table.find(key.as_str()))
        .filter(api_keys::app_id.eq(app.as_str()))
        .execute(c)
        .await)?;
    Ok(removed > 0)
}

/// Removes a signer of an app; whether it was there.
pub(super) async fn remove_signer(conn: &mut Conn, app: &AppId, signer: &SignerId) -> Result<bool, StoreError> {
    let last = lock(conn).await?;
    let removed = on_dialect!(&mut *conn, |c| diesel::delete(signers::table.find(signer.as_str()))
        .filter(signers::app_id.eq(app.as_str()))
        .execute(c)
        .await)?;
    if removed > 0 {
        note(conn, last, &Subject::Signer(app.clone(), signer.clone()), last.now).await?;
    }
    Ok(removed > 0)
}

async fn suspend(conn: &mut Conn, tenant: &TenantId, suspended: bool, now: Timestamp) -> Result<bool, StoreError> {
    let last = lock(conn).await?;
    let changed = on_dialect!(&mut *conn, |c| diesel::update(tenants::table.find(tenant.as_str()))
        .set(tenants::suspended.eq(suspended))
        .execute(c)
        .await)?;
    if changed == 0 {
        return Ok(false);
    }
    // Lifting it is told in the same way, so that nobody goes by what was cached.
    note(conn, last, &Subject::Tenant(tenant.clone()), now).await.map(|_| true)
}
