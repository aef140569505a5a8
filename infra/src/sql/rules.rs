//! Rules in SQL, as JSON.

use async_trait::async_trait;
use diesel::{prelude::*, upsert::excluded};
use diesel_async::RunQueryDsl;
use fanfare_domain::{
    StoreError,
    ids::AppId,
    rules::{Rule, Rules},
};
use fanfare_protocol::Namespace;

use super::{
    SqlStore, apps, corrupt,
    db::{Conn, on_dialect},
    schema::rules,
};

#[async_trait]
impl Rules for SqlStore {
    async fn list(&self, app: &AppId) -> Result<Vec<(Namespace, Rule)>, StoreError> {
        let app = app.clone();
        self.db
            .work(|db| async move {
                let mut conn = db.read().await?;
                on_dialect!(&mut conn, |c| rules::table
                    .filter(rules::app_id.eq(app.as_str()))
                    .order(rules::namespace)
                    .select((rules::namespace, rules::rule))
                    .load::<(String, String)>(c)
                    .await)?
                .into_iter()
                .map(|(namespace, rule)| {
                    let namespace = Namespace::parse(&namespace).map_err(|bad| corrupt("rules.namespace", bad))?;
                    Ok((namespace, serde_json::from_str(&rule).map_err(|bad| corrupt("rules.rule", bad))?))
                })
                .collect()
            })
            .await
    }

    async fn put(&self, app: &AppId, namespace: &Namespace, rule: &Rule, most: u32) -> Result<(), StoreError> {
        let (app, namespace) = (app.clone(), namespace.clone());
        let rule = serde_json::to_string(rule).expect("a rule is an object of plain values");
        self.db
            .work(|db| async move {
                let mut conn = db.write().await?;
                conn.begin().await?;
                let set = put(&mut conn, app.as_str(), namespace.as_str(), &rule, most).await;
                conn.finish(set).await
            })
            .await
    }

    async fn remove(&self, app: &AppId, namespace: &Namespace) -> Result<bool, StoreError> {
        let (app, namespace) = (app.clone(), namespace.clone());
        self.db
            .work(|db| async move {
                let mut conn = db.write().await?;
                let removed =
                    on_dialect!(&mut conn, |c| diesel::delete(rules::table.find((app.as_str(), namespace.as_str())))
                        .execute(c)
                        .await)?;
                Ok(removed > 0)
            })
            .await
    }
}

async fn put(conn: &mut Conn, app: &str, namespace: &str, rule: &str, most: u32) -> Result<(), StoreError> {
    apps::lock(conn, app).await?;
    let others = on_dialect!(&mut *conn, |c| rules::table
        .filter(rules::app_id.eq(app))
        .filter(rules::namespace.ne(namespace))
        .count()
        .get_result::<i64>(c)
        .await)?;
    if others >= i64::from(most) {
        return Err(StoreError::Full(most));
    }
    let row = (rules::app_id.eq(app), rules::namespace.eq(namespace), rules::rule.eq(rule));
    on_dialect!(conn, |c| diesel::insert_into(rules::table)
        .values(row)
        .on_conflict((rules::app_id, rules::namespace))
        .do_update()
        .set(rules::rule.eq(excluded(rules::rule)))
        .execute(c)
        .await)
    .map(drop)
}
