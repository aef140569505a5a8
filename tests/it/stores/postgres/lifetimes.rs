//! Partitions of messages by how long they live.

use std::time::Duration;

use diesel_async::AsyncPgConnection;
use fanfare_domain::{
    Timestamp,
    apps::App,
    history::{Appended, HistoryPage, MessageLog, Visible},
    publishing::Accepted,
    rules::Retention,
};
use fanfare_infra::sql::SqlStore;
use fanfare_protocol::{Serial, requests::Range};

use super::{execute, session, store, values};
use crate::{
    harness::waiting::until,
    stores::{
        engines,
        samples::{DAY_S, NOW, at, channel, kept_for, message, new_app},
    },
};

const LEAVES: &str =
    "select relid::regclass::text as value from pg_partition_tree('messages') where isleaf and level = 2 order by 1";

fn in_days(days: u64) -> Timestamp {
    NOW.after(Duration::from_secs(days * DAY_S))
}

async fn all(store: &SqlStore, app: &App, now: Timestamp) -> HistoryPage {
    let visible = Visible { retention: Retention { retention_s: 99 * DAY_S, max_messages: None }, now };
    store.read(&app.id, &channel("a"), Range::After(Serial(0)), 1_000, visible).await.unwrap().unwrap()
}

/// The day since 1970 on which a message of the sample's time is over that is kept for so many days.
fn ends_on(days: u64) -> u64 {
    (NOW.0 / 1_000 + 3_600) / DAY_S + days
}

async fn has_leaf(session: &mut AsyncPgConnection, class: &str, day: u64) -> bool {
    let holds = |name: &String| {
        let mut bounds = name.rsplit('_').map(|part| part.parse::<u64>());
        let (Some(Ok(to)), Some(Ok(from))) = (bounds.next(), bounds.next()) else { return false };
        name.contains(class) && (from..to).contains(&day)
    };
    values(session, LEAVES).await.iter().any(holds)
}

async fn append(store: &SqlStore, accepted: Accepted) {
    assert!(matches!(store.append(None, &[accepted]).await.unwrap()[..], [Appended::Stored { .. }]));
}

#[tokio::test]
async fn what_is_over_goes_with_its_partition_and_reads_begin_above_it() {
    let (store, database) = store().await;
    let app = new_app(&store).await;
    let mut session = session(&database).await;
    execute(
        &mut session,
        "create function refuse() returns trigger language plpgsql as
             $$ begin raise exception 'a message was deleted by itself'; end $$;
         create trigger refuse before delete on messages for each row execute function refuse()",
    )
    .await;
    for day in 0..4 {
        append(&store, at(message(&app, "a", "0"), in_days(day))).await;
    }
    assert!(has_leaf(&mut session, "days", ends_on(1)).await && has_leaf(&mut session, "days", ends_on(2)).await);
    assert_eq!(store.sweep(in_days(1), 10).await.unwrap(), 0);
    assert_eq!(store.sweep(in_days(3), 10).await.unwrap(), 2);
    assert!(!has_leaf(&mut session, "days", ends_on(1)).await && !has_leaf(&mut session, "days", ends_on(2)).await);
    let page = all(&store, &app, in_days(3)).await;
    assert_eq!((page.floor, page.items.len(), page.head.serial), (Serial(2), 2, Serial(4)));
    assert_eq!(store.sweep(in_days(3), 10).await.unwrap(), 0);
}

#[tokio::test]
async fn partitions_are_made_ahead_of_every_class_that_is_in_use() {
    let (store, database) = store().await;
    let app = new_app(&store).await;
    let mut session = session(&database).await;
    append(&store, kept_for(message(&app, "a", "0"), 7 * DAY_S)).await;
    store.sweep(NOW, 10).await.unwrap();
    let made = values(&mut session, LEAVES).await;
    for day in 1..=2 {
        assert!(has_leaf(&mut session, "days", ends_on(day)).await, "{made:?}");
    }
    for day in 2..=9 {
        assert!(has_leaf(&mut session, "weeks", ends_on(day)).await, "{day}: {made:?}");
    }
    assert!(!made.iter().any(|name| name.contains("years")), "{made:?}");
    append(&store, at(message(&app, "a", "0"), in_days(1))).await;
    append(&store, at(kept_for(message(&app, "a", "0"), 7 * DAY_S), in_days(1))).await;
    assert_eq!(values(&mut session, LEAVES).await, made, "what was made ahead is enough");
}

#[tokio::test]
async fn an_append_makes_what_it_lacks_however_many_come_at_once() {
    let (store, _database) = store().await;
    let app = new_app(&store).await;
    let racers: Vec<_> = (0..12)
        .map(|number| {
            let (store, app) = (store.clone(), app.clone());
            let days = [1, 7, 30, 365, 10_000, u64::MAX / DAY_S][number % 6];
            tokio::spawn(async move { append(&store, kept_for(message(&app, "a", "0"), days * DAY_S)).await })
        })
        .collect();
    for racer in racers {
        racer.await.unwrap();
    }
    assert_eq!(all(&store, &app, NOW).await.items.len(), 12);
}

#[tokio::test]
async fn a_partition_that_somebody_reads_is_dropped_the_next_time_and_appends_go_on() {
    let (store, database) = store().await;
    let app = new_app(&store).await;
    append(&store, message(&app, "a", "0")).await;
    let mut reader = session(&database).await;
    execute(&mut reader, "begin; select count(*) from messages").await;
    assert_eq!(store.sweep(in_days(3), 10).await.unwrap(), 0);
    append(&store, at(message(&app, "a", "0"), in_days(3))).await;
    execute(&mut reader, "commit").await;
    assert_eq!(store.sweep(in_days(3), 10).await.unwrap(), 1);
    assert_eq!(all(&store, &app, in_days(3)).await.floor, Serial(1));
}

#[tokio::test]
async fn history_is_read_by_an_index_in_every_partition() {
    let (store, database) = store().await;
    let app = new_app(&store).await;
    for days in [1, 7, 30] {
        for _ in 0..3 {
            let batch: Vec<_> = (0..1_000)
                .map(|number| kept_for(message(&app, &format!("c{}", number % 100), "0"), days * DAY_S))
                .collect();
            store.append(None, &batch).await.unwrap();
        }
    }
    let mut session = session(&database).await;
    // As the server does by itself with what has changed.
    for leaf in values(&mut session, LEAVES).await {
        if !values(&mut session, &format!("select id as value from {leaf} limit 1")).await.is_empty() {
            execute(&mut session, &format!("analyze {leaf}")).await;
        }
    }
    let explain = format!(
        "select serial, id, time, name, client, headers, data from messages
         where app_id = '{}' and channel = 'c7' and serial between 11 and 60 order by serial",
        app.id
    );
    let plan = explained(&mut session, &explain).await;
    let scans: Vec<_> = plan.iter().filter(|line| line.contains("Scan")).collect();
    assert_eq!(scans.len(), values(&mut session, LEAVES).await.len(), "{plan:#?}");
    assert!(scans.iter().all(|scan| scan.contains("Index Scan using") && scan.contains("_pkey")), "{plan:#?}");

    // What the store itself asks is counted by the server, from when nobody is left whose counts are still to come.
    drop((store, session));
    let mut session = super::session(&database).await;
    alone(&mut session).await;
    execute(&mut session, "select pg_stat_reset()").await;
    let store = SqlStore::connect_postgres(&database.url, 16, engines::sealer()).await.unwrap();
    let visible = Visible { retention: Retention { retention_s: 99 * DAY_S, max_messages: None }, now: NOW };
    for range in [Range::After(Serial(10)), Range::Before(Serial(60)), Range::Newest] {
        let page = store.read(&app.id, &channel("c7"), range, 50, visible).await.unwrap().unwrap();
        assert_eq!(page.items.len(), 50);
    }
    drop(store);
    alone(&mut session).await;
    let scans = "select relname || ': ' || seq_scan as value from pg_stat_user_tables where relname like 'messages_%' and seq_scan > 0";
    assert_eq!(values(&mut session, scans).await, [""; 0]);
    let used = "select sum(idx_scan)::text as value from pg_stat_user_tables where relname like 'messages_%'";
    assert_ne!(values(&mut session, used).await, ["0"]);
}

#[tokio::test]
async fn what_is_stored_is_found_by_its_id_also_where_postgres_knows_nothing_of_a_table_yet() {
    const MESSAGES: usize = 3_000;
    let (store, database) = store().await;
    let app = new_app(&store).await;
    let mut session = session(&database).await;
    for _ in 0..MESSAGES / 500 {
        // Each is looked for before it is stored.
        let batch: Vec<_> = (0..500).map(|_| Accepted { redelivered: true, ..message(&app, "a", "0") }).collect();
        store.append(None, &batch).await.unwrap();
    }
    drop(store);
    alone(&mut session).await;
    let read = "select sum(idx_tup_read)::text as value from pg_stat_user_indexes where relname like 'messages_%'";
    let read: usize = values(&mut session, read).await[0].parse().unwrap();
    assert!(read < 10 * MESSAGES, "{read} entries of indexes were read for {MESSAGES} messages");
}

/// Returns when no other session is left.
async fn alone(session: &mut AsyncPgConnection) {
    let others = "select pid::text as value from pg_stat_activity
        where datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()";
    until("all others to end", async || values(session, others).await.is_empty().then_some(())).await;
}

async fn explained(session: &mut AsyncPgConnection, query: &str) -> Vec<String> {
    let function = "create or replace function explained(query text) returns setof text language plpgsql as
        $$ begin return query execute 'explain ' || query; end $$";
    execute(session, function).await;
    values(session, &format!("select line as value from explained($query${query}$query$) as line")).await
}
