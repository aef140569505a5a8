//! Tenants, users, memberships and login sessions in SQL.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use fanfare_domain::{
    StoreError, Timestamp,
    accounts::{Accounts, Email, LISTED_SESSIONS, Membership, Role, Session, SignUpError, Tenant, User},
    ids::{SessionId, TenantId, UserId},
};
use secrecy::{ExposeSecret, SecretString};

use super::{
    SqlStore, corrupt,
    db::{Conn, on_dialect},
    schema::{login_sessions, memberships, tenants, users},
    stored,
};
use rows::{SessionRow, TenantRow, UserRow};

mod rows;

#[async_trait]
impl Accounts for SqlStore {
    async fn sign_up(&self, user: &User, tenant: &Tenant, session: &Session) -> Result<(), SignUpError> {
        let rows = (UserRow::from(user), TenantRow::from(tenant), SessionRow::from(session));
        let signed_up = self
            .db
            .work(|db| async move {
                let mut conn = db.write().await?;
                conn.begin().await?;
                let signed_up = sign_up(&mut conn, &rows.0, &rows.1, &rows.2).await;
                match conn.finish(signed_up).await {
                    Err(SignUpError::Store(failure)) => Err(failure),
                    other => Ok(other),
                }
            })
            .await;
        signed_up?
    }

    async fn user_by_email(&self, email: &Email) -> Result<Option<User>, StoreError> {
        let email = email.clone();
        self.db
            .work(|db| async move {
                let mut conn = db.read().await?;
                on_dialect!(&mut conn, |c| users::table
                    .filter(users::email.eq(email.as_str()))
                    .select(UserRow::as_select())
                    .first(c)
                    .await
                    .optional())?
                .map(User::try_from)
                .transpose()
            })
            .await
    }

    async fn set_password(&self, user: &UserId, hash: &SecretString, keep: &SessionId) -> Result<(), StoreError> {
        let (user, hash, keep) = (user.clone(), hash.clone(), keep.clone());
        self.db
            .work(|db| async move {
                let mut conn = db.write().await?;
                conn.begin().await?;
                let set = set_password(&mut conn, &user, &hash, &keep).await;
                conn.finish(set).await
            })
            .await
    }

    async fn tenant(&self, tenant: &TenantId) -> Result<Option<Tenant>, StoreError> {
        let tenant = tenant.clone();
        self.db
            .work(|db| async move {
                let mut conn = db.read().await?;
                on_dialect!(&mut conn, |c| tenants::table
                    .find(tenant.as_str())
                    .select(TenantRow::as_select())
                    .first(c)
                    .await
                    .optional())?
                .map(Tenant::try_from)
                .transpose()
            })
            .await
    }

    async fn is_suspended(&self, tenant: &TenantId) -> Result<bool, StoreError> {
        let tenant = tenant.clone();
        self.db
            .work(|db| async move {
                let mut conn = db.read().await?;
                let found = on_dialect!(&mut conn, |c| tenants::table
                    .find(tenant.as_str())
                    .select(tenants::suspended)
                    .first::<bool>(c)
                    .await
                    .optional())?;
                Ok(found.unwrap_or(false))
            })
            .await
    }

    async fn rename_tenant(&self, tenant: &TenantId, name: &str) -> Result<bool, StoreError> {
        let (tenant, name) = (tenant.clone(), name.to_owned());
        self.db
            .work(|db| async move {
                let mut conn = db.write().await?;
                let renamed = on_dialect!(&mut conn, |c| diesel::update(tenants::table.find(tenant.as_str()))
                    .set(tenants::name.eq(&name))
                    .execute(c)
                    .await)?;
                Ok(renamed > 0)
            })
            .await
    }

    async fn role(&self, user: &UserId, tenant: &TenantId) -> Result<Option<Role>, StoreError> {
        let (user, tenant) = (user.clone(), tenant.clone());
        self.db
            .work(|db| async move {
                let mut conn = db.read().await?;
                on_dialect!(&mut conn, |c| memberships::table
                    .find((tenant.as_str(), user.as_str()))
                    .select(memberships::role)
                    .first::<String>(c)
                    .await
                    .optional())?
                .map(|name| role(&name))
                .transpose()
            })
            .await
    }

    async fn memberships(&self, user: &UserId) -> Result<Vec<Membership>, StoreError> {
        let user = user.clone();
        self.db
            .work(|db| async move {
                let mut conn = db.read().await?;
                on_dialect!(&mut conn, |c| memberships::table
                    .inner_join(tenants::table.on(tenants::id.eq(memberships::tenant_id)))
                    .filter(memberships::user_id.eq(user.as_str()))
                    .order(memberships::tenant_id)
                    .select((TenantRow::as_select(), memberships::role))
                    .load::<(TenantRow, String)>(c)
                    .await)?
                .into_iter()
                .map(|(tenant, name)| Ok(Membership { tenant: tenant.try_into()?, role: role(&name)? }))
                .collect()
            })
            .await
    }

    async fn begin_session(&self, session: &Session, now: Timestamp) -> Result<(), StoreError> {
        let row = SessionRow::from(session);
        self.db
            .work(|db| async move {
                let mut conn = db.write().await?;
                conn.begin().await?;
                let begun = begin_session(&mut conn, &row, now).await;
                conn.finish(begun).await
            })
            .await
    }

    async fn session(&self, token_hash: &str, now: Timestamp) -> Result<Option<(Session, User)>, StoreError> {
        let token_hash = token_hash.to_owned();
        self.db
            .work(|db| async move {
                let mut conn = db.read().await?;
                on_dialect!(&mut conn, |c| login_sessions::table
                    .inner_join(users::table.on(users::id.eq(login_sessions::user_id)))
                    .filter(login_sessions::token_hash.eq(&token_hash))
                    .filter(login_sessions::expires_at.gt(stored(now)))
                    .select((SessionRow::as_select(), UserRow::as_select()))
                    .first::<(SessionRow, UserRow)>(c)
                    .await
                    .optional())?
                .map(|(session, user)| Ok((session.try_into()?, user.try_into()?)))
                .transpose()
            })
            .await
    }

    async fn sessions(&self, user: &UserId, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        let user = user.clone();
        self.db
            .work(|db| async move {
                let mut conn = db.read().await?;
                on_dialect!(&mut conn, |c| login_sessions::table
                    .filter(login_sessions::user_id.eq(user.as_str()))
                    .filter(login_sessions::expires_at.gt(stored(now)))
                    .order((login_sessions::created_at.desc(), login_sessions::id.desc()))
                    .limit(i64::from(LISTED_SESSIONS))
                    .select(SessionRow::as_select())
                    .load(c)
                    .await)?
                .into_iter()
                .map(Session::try_from)
                .collect()
            })
            .await
    }

    async fn end_session(&self, user: &UserId, session: &SessionId) -> Result<bool, StoreError> {
        let (user, session) = (user.clone(), session.clone());
        self.db
            .work(|db| async move {
                let mut conn = db.write().await?;
                let ended = on_dialect!(&mut conn, |c| diesel::delete(login_sessions::table.find(session.as_str()))
                    .filter(login_sessions::user_id.eq(user.as_str()))
                    .execute(c)
                    .await)?;
                Ok(ended > 0)
            })
            .await
    }
}

/// The address is the only thing here that somebody else can have taken.
async fn sign_up(conn: &mut Conn, user: &UserRow, tenant: &TenantRow, session: &SessionRow) -> Result<(), SignUpError> {
    match on_dialect!(&mut *conn, |c| diesel::insert_into(users::table).values(user).execute(c).await) {
        Err(StoreError::Conflict) => return Err(SignUpError::EmailTaken),
        inserted => inserted?,
    };
    on_dialect!(&mut *conn, |c| diesel::insert_into(tenants::table).values(tenant).execute(c).await)?;
    let membership = (
        memberships::tenant_id.eq(&tenant.id),
        memberships::user_id.eq(&user.id),
        memberships::role.eq(Role::Owner.name()),
    );
    on_dialect!(&mut *conn, |c| diesel::insert_into(memberships::table).values(membership).execute(c).await)?;
    on_dialect!(&mut *conn, |c| diesel::insert_into(login_sessions::table).values(session).execute(c).await)?;
    Ok(())
}

async fn set_password(conn: &mut Conn, user: &UserId, hash: &SecretString, keep: &SessionId) -> Result<(), StoreError> {
    on_dialect!(&mut *conn, |c| diesel::update(users::table.find(user.as_str()))
        .set(users::password_hash.eq(hash.expose_secret()))
        .execute(c)
        .await)?;
    on_dialect!(&mut *conn, |c| diesel::delete(login_sessions::table)
        .filter(login_sessions::user_id.eq(user.as_str()))
        .filter(login_sessions::id.ne(keep.as_str()))
        .execute(c)
        .await)?;
    Ok(())
}

async fn begin_session(conn: &mut Conn, session: &SessionRow, now: Timestamp) -> Result<(), StoreError> {
    on_dialect!(&mut *conn, |c| diesel::delete(login_sessions::table)
        .filter(login_sessions::user_id.eq(&session.user_id))
        .filter(login_sessions::expires_at.le(stored(now)))
        .execute(c)
        .await)?;
    on_dialect!(&mut *conn, |c| diesel::insert_into(login_sessions::table).values(session).execute(c).await)?;
    Ok(())
}

fn role(name: &str) -> Result<Role, StoreError> {
    Role::from_name(name).ok_or_else(|| corrupt("memberships.role", name))
}
