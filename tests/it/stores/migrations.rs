//! Both sets of migrations make the same tables.

use std::collections::BTreeMap;

use diesel::{Connection, QueryableByName, SqliteConnection, sql_query, sql_types::Text};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use fanfare_infra::sql::SqlStore;

use super::engines;
use crate::harness::postgres;

#[derive(QueryableByName)]
struct Column {
    #[diesel(sql_type = Text)]
    of_table: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    data_type: String,
    #[diesel(sql_type = Text)]
    nullable: String,
}

/// By table, in order: name, class of type, whether it may be null.
type Tables = BTreeMap<String, Vec<(String, &'static str, bool)>>;

fn tables(columns: Vec<Column>) -> Tables {
    let mut tables = Tables::new();
    for column in columns {
        let class = match column.data_type.to_lowercase().as_str() {
            "text" => "text",
            "integer" | "bigint" | "boolean" => "number",
            "blob" | "bytea" => "bytes",
            other => panic!("`{}.{}` is `{other}`, which one engine lacks", column.of_table, column.name),
        };
        tables.entry(column.of_table).or_default().push((column.name, class, column.nullable == "yes"));
    }
    tables
}

async fn sqlite_tables() -> Tables {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("fanfare.db");
    SqlStore::open_sqlite(&file, engines::sealer()).await.unwrap().migrate().await.unwrap();
    let mut conn = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
    let columns = diesel::RunQueryDsl::load(
        sql_query(
            "select t.name as of_table, c.name, c.type as data_type, case c.\"notnull\" when 0 then 'yes' else 'no' end as nullable
             from sqlite_schema as t join pragma_table_info(t.name) as c
             where t.type = 'table' and t.name not like '\\_\\_%' escape '\\' and t.name not like 'sqlite%'
             order by t.name, c.cid",
        ),
        &mut conn,
    );
    tables(columns.unwrap())
}

async fn postgres_tables() -> Tables {
    let database = postgres::database().await;
    SqlStore::connect_postgres(&database.url, 16, engines::sealer()).await.unwrap().migrate().await.unwrap();
    let mut conn = AsyncPgConnection::establish(&database.url).await.unwrap();
    let columns = diesel_async::RunQueryDsl::load(
        sql_query(
            "select table_name::text as of_table, column_name::text as name, data_type::text, lower(is_nullable::text) as nullable
             from information_schema.columns
             where table_schema = 'public' and table_name not like '\\_\\_%'
                 and not (select relispartition from pg_class where oid = to_regclass(table_name)) order by table_name, ordinal_position",
        ),
        &mut conn,
    );
    tables(columns.await.unwrap())
}

#[tokio::test]
async fn both_engines_have_the_same_columns() {
    let (sqlite, postgres) = (sqlite_tables().await, postgres_tables().await);
    assert!(sqlite.contains_key("messages") && sqlite.len() > 8, "{:?}", sqlite.keys());
    assert_eq!(sqlite, postgres);
}

#[test]
fn both_sets_of_migrations_have_the_same_names() {
    let names = |engine: &str| {
        let folder = format!("{}/../migrations/{engine}", env!("CARGO_MANIFEST_DIR"));
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names("sqlite"), names("postgres"));
}

#[tokio::test]
async fn migrating_twice_or_at_the_same_time_does_no_harm() {
    let database = postgres::database().await;
    let store = SqlStore::connect_postgres(&database.url, 16, engines::sealer()).await.unwrap();
    let (first, second) = tokio::join!(store.migrate(), store.migrate());
    first.unwrap();
    second.unwrap();
    store.check_master_key().await.unwrap();
    store.check_master_key().await.unwrap();
}
