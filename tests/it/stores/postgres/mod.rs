//! What only Postgres promises: partitions with owners, partitions of messages by lifetime, and connections that recover.

use diesel::{QueryableByName, sql_query, sql_types::Text};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use fanfare_infra::{
    names::Names,
    sql::{Installation, SqlStore},
};

use super::engines;
use crate::harness::postgres::{self, Database};

mod appends;
mod connections;
mod lifetimes;
mod ownership;

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Text)]
    value: String,
}

/// A store in a database of its own, with its tables.
async fn store() -> (SqlStore, Database) {
    let database = postgres::database().await;
    let store = SqlStore::connect_postgres(&database.url, 16, engines::sealer()).await.unwrap();
    store.migrate().await.unwrap();
    (store, database)
}

/// Fixes the number of partitions.
async fn fix(store: &SqlStore, partitions: u16) {
    let wanted = Installation { partitions, names: Names::default() };
    assert_eq!(store.fix(wanted.clone()).await.unwrap(), wanted);
}

/// A session beside those of the store.
async fn session(database: &Database) -> AsyncPgConnection {
    AsyncPgConnection::establish(&database.url).await.unwrap()
}

async fn execute(session: &mut AsyncPgConnection, statements: &str) {
    session.batch_execute(statements).await.unwrap();
}

/// The column `value` of a query.
async fn values(session: &mut AsyncPgConnection, query: &str) -> Vec<String> {
    let rows: Vec<Row> = sql_query(query).load(session).await.unwrap();
    rows.into_iter().map(|row| row.value).collect()
}
