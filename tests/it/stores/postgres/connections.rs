//! Connections that end, are refused, or get no answer.

use std::time::{Duration, Instant};

use diesel_async::{AsyncConnection, AsyncPgConnection};
use fanfare_domain::{
    StoreError,
    apps::App,
    history::{Appended, MessageLog},
};
use fanfare_infra::sql::{Schema, SqlStore};
use futures::future::join_all;

use super::{execute, session, store, values};
use crate::{
    harness::{postgres, waiting::until},
    stores::{
        engines,
        samples::{channel, message, new_app},
    },
};

const SESSIONS: &str = "select pid::text as value from pg_stat_activity
    where datname = current_database() and application_name = 'fanfare'";

/// As many calls at once as there are connections.
async fn all_answer(store: &SqlStore, app: &App) {
    let asked = vec![(app.id.clone(), channel("a"))];
    let calls = join_all((0..16).map(|_| store.heads(&asked))).await;
    assert!(calls.iter().all(Result::is_ok), "{calls:?}");
}

#[tokio::test]
async fn connections_that_the_server_ended_are_replaced_before_they_are_used() {
    let (store, database) = store().await;
    let app = new_app(&store).await;
    all_answer(&store, &app).await;
    let mut admin = session(&database).await;
    let sessions = values(&mut admin, SESSIONS).await.len();
    assert!((2..=16).contains(&sessions), "{sessions}");
    values(&mut admin, &SESSIONS.replace("pid::text", "pg_terminate_backend(pid)::text")).await;
    until("the sessions to end", async || values(&mut admin, SESSIONS).await.is_empty().then_some(())).await;
    let stored = store.append(None, &[message(&app, "a", "1")]).await.unwrap();
    assert!(matches!(stored[..], [Appended::Stored { .. }]));
    all_answer(&store, &app).await;
}

#[tokio::test]
async fn a_server_that_was_killed_is_used_again_once_it_is_back() {
    let mut server = postgres::Private::start().await;
    let store = SqlStore::connect_postgres(&server.tcp_url(), 16, engines::sealer()).await.unwrap();
    store.migrate().await.unwrap();
    let app = new_app(&store).await;
    store.append(None, &[message(&app, "a", "1")]).await.unwrap();
    all_answer(&store, &app).await;
    server.engine().kill9().await;
    let away = store.append(None, &[message(&app, "a", "2")]).await;
    assert!(matches!(away, Err(StoreError::Unavailable(_))), "{away:?}");
    server.engine().restart().await;
    store.append(None, &[message(&app, "a", "2")]).await.unwrap();
    all_answer(&store, &app).await;
    assert_eq!(store.head(&app.id, &channel("a")).await.unwrap().unwrap().serial.0, 2);
}

#[tokio::test]
async fn a_server_that_stands_still_holds_nobody_up_for_ever() {
    let mut server = postgres::Private::start().await;
    let store = SqlStore::connect_postgres(&server.tcp_url(), 16, engines::sealer()).await.unwrap();
    store.migrate().await.unwrap();
    let app = new_app(&store).await;
    let mut other = AsyncPgConnection::establish(&server.tcp_url()).await.unwrap();
    execute(&mut other, "begin; lock table channels").await;
    let append = tokio::spawn({
        let (store, accepted) = (store.clone(), message(&app, "a", "1"));
        async move { store.append(None, &[accepted]).await }
    });
    let waiting = "select 'it waits' as value from pg_locks where not granted";
    until("the append to wait", async || (!values(&mut other, waiting).await.is_empty()).then_some(())).await;
    let begun = Instant::now();
    server.engine().stop();
    let name = channel("a");
    let (append, read) = tokio::join!(append, store.head(&app.id, &name));
    assert!(matches!(append.unwrap(), Err(StoreError::Unavailable(_))));
    assert!(matches!(read, Err(StoreError::Unavailable(_))));
    assert!(begun.elapsed() < Duration::from_secs(14), "{:?}", begun.elapsed());
    server.engine().cont();
    execute(&mut other, "rollback").await;
    let stored = store.append(None, &[message(&app, "a", "2")]).await.unwrap();
    assert!(matches!(stored[..], [Appended::Stored { .. }]));
    all_answer(&store, &app).await;
}

#[tokio::test]
async fn what_others_have_locked_is_waited_for_only_so_long() {
    let (store, database) = store().await;
    let app = new_app(&store).await;
    let mut other = session(&database).await;
    execute(&mut other, "begin; lock table channels").await;
    let begun = Instant::now();
    let away = store.append(None, &[message(&app, "a", "1")]).await;
    assert!(matches!(away, Err(StoreError::Unavailable(_))), "{away:?}");
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_url_that_demands_tls_is_never_served_in_the_clear() {
    let database = postgres::database().await;
    for mode in ["require", "verify-full", "verify-ca"] {
        let url = format!("{}?sslmode={mode}", database.tcp_url);
        assert!(SqlStore::connect_postgres(&url, 16, engines::sealer()).await.is_err(), "{mode}");
    }
    let url = format!("{}?sslmode=disable", database.tcp_url);
    assert!(SqlStore::connect_postgres(&url, 16, engines::sealer()).await.is_ok());
}

#[tokio::test]
async fn the_version_of_the_tables_is_known_before_and_after_they_are_made() {
    let database = postgres::database().await;
    let store = SqlStore::connect_postgres(&database.url, 16, engines::sealer()).await.unwrap();
    let Schema { found, wanted } = store.schema().await.unwrap();
    assert_eq!((found, store.installation().await.is_err()), (None, true));
    store.migrate().await.unwrap();
    assert_eq!(store.schema().await.unwrap(), Schema { found: Some(wanted.clone()), wanted });
}

#[tokio::test]
async fn a_statement_that_takes_too_long_is_ended_by_the_server() {
    let (store, database) = store().await;
    let app = new_app(&store).await;
    let mut admin = session(&database).await;
    let slow = "alter table channels rename to moved;
        create view channels as select moved.* from moved, (select pg_sleep(30)) as slept";
    store.append(None, &[message(&app, "a", "1")]).await.unwrap();
    execute(&mut admin, slow).await;
    let name = channel("a");
    let asked = tokio::spawn({
        let (store, app) = (store.clone(), app.id.clone());
        async move { store.head(&app, &name).await }
    });
    let sleeping = "select pid::text as value from pg_stat_activity
        where datname = current_database() and application_name = 'fanfare' and wait_event = 'PgSleep'";
    until("it is asked", async || (!values(&mut admin, sleeping).await.is_empty()).then_some(())).await;
    let begun = Instant::now();
    let answered = asked.await.unwrap();
    assert!(
        matches!(&answered, Err(StoreError::Unavailable(why)) if why.to_string().contains("statement timeout")),
        "{answered:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert!(values(&mut admin, sleeping).await.is_empty(), "nothing of it goes on at the server");
}
