//! Postgres: databases apart from each other, and a server that may be killed.

use std::time::Duration;

use diesel::{QueryableByName, sql_types::BigInt};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};

use crate::harness::postgres;

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

async fn connect(url: &str) -> AsyncPgConnection {
    AsyncPgConnection::establish(url).await.unwrap()
}

async fn rows(url: &str) -> i64 {
    let mut connection = connect(url).await;
    let counted: Count =
        diesel::sql_query("select count(*) as count from kept").get_result(&mut connection).await.unwrap();
    counted.count
}

#[tokio::test]
async fn a_database_is_reached_by_socket_and_by_tcp_and_is_the_callers_own() {
    let (one, other) = (postgres::database().await, postgres::database().await);
    connect(&one.url).await.batch_execute("create table kept (n int); insert into kept values (1)").await.unwrap();
    assert_eq!(rows(&one.tcp_url).await, 1);
    connect(&other.tcp_url).await.batch_execute("create table kept (n int)").await.unwrap();
    assert_eq!(rows(&other.url).await, 0);
}

#[tokio::test]
async fn a_private_server_keeps_what_was_committed_when_it_is_killed_and_waits_while_it_is_stopped() {
    let mut server = postgres::Private::start().await;
    let url = server.tcp_url();
    connect(&url).await.batch_execute("create table kept (n int); insert into kept values (1)").await.unwrap();
    server.engine().kill9().await;
    assert!(AsyncPgConnection::establish(&url).await.is_err());
    server.engine().restart().await;
    assert_eq!(rows(&url).await, 1);
    server.engine().stop();
    assert!(tokio::time::timeout(Duration::from_millis(300), rows(&url)).await.is_err());
    server.engine().cont();
    assert_eq!(rows(&url).await, 1);
    server.engine().terminate().await;
    server.engine().restart().await;
    assert_eq!(rows(&url).await, 1);
}
