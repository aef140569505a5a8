//! Appends under a fence, and those that can never be stored.

use diesel_async::{AsyncConnection, AsyncPgConnection};
use fanfare_domain::{
    StoreError,
    history::{Appended, MessageLog},
    ids::WorkerId,
    partitions::{Fence, Partitions},
};
use fanfare_infra::sql::SqlStore;
use fanfare_protocol::Serial;

use super::{execute, fix, session, store, values};
use crate::{
    harness::postgres,
    stores::{
        engines,
        samples::{channel, message, new_app},
    },
};

#[tokio::test]
async fn an_append_is_stored_only_while_its_fence_holds() {
    let (store, database) = store().await;
    fix(&store, 2).await;
    let app = new_app(&store).await;
    let (first, second) = (WorkerId::parse("wrk_a").unwrap(), WorkerId::parse("wrk_b").unwrap());
    let old = store.hold(&first).await.unwrap().owned[1];
    let stored = store.append(Some(old), &[message(&app, "a", "1")]).await.unwrap();
    assert!(matches!(stored[0], Appended::Stored { serial: Serial(1), .. }));

    let mut session = session(&database).await;
    execute(&mut session, "update workers set lease_until = 1").await;
    let new = store.hold(&second).await.unwrap().owned[1];
    let unknown = Fence { partition: 9, generation: 0 };
    for fence in [old, unknown] {
        let fenced = store.append(Some(fence), &[message(&app, "a", "2"), message(&app, "new", "1")]).await;
        assert!(matches!(fenced, Err(StoreError::Fenced)), "{fenced:?}");
    }
    assert_eq!(store.head(&app.id, &channel("a")).await.unwrap().unwrap().serial, Serial(1));
    assert_eq!(values(&mut session, "select channel as value from channels").await, ["a"]);
    assert_eq!(values(&mut session, "select data as value from messages").await, ["1"]);

    let stored = store.append(Some(new), &[message(&app, "a", "2")]).await.unwrap();
    assert!(matches!(stored[0], Appended::Stored { serial: Serial(2), .. }));
}

#[tokio::test]
async fn a_message_that_no_table_may_hold_is_rejected_and_the_others_are_stored_without_it() {
    let (store, database) = store().await;
    let app = new_app(&store).await;
    let small = "alter table messages add constraint small check (octet_length(data) < 10)";
    execute(&mut session(&database).await, small).await;
    let batch = [message(&app, "a", "1"), message(&app, "a", "1234567890"), message(&app, "a", "2")];
    let rejected = store.append(None, &batch).await;
    assert!(matches!(&rejected, Err(StoreError::Rejected(why)) if why.contains("small")), "{rejected:?}");
    assert_eq!(store.head(&app.id, &channel("a")).await.unwrap().unwrap().serial, Serial(0));
    for (at, is_stored) in [(0, true), (1, false), (2, true)] {
        let alone = store.append(None, &batch[at..=at]).await;
        assert_eq!(alone.is_ok(), is_stored, "{alone:?}");
    }
    assert_eq!(store.head(&app.id, &channel("a")).await.unwrap().unwrap().serial, Serial(2));
}

#[tokio::test]
async fn a_database_that_takes_no_writes_rejects_nothing_for_good() {
    let (store, database) = store().await;
    let app = new_app(&store).await;
    let mut session = session(&database).await;
    execute(&mut session, "alter table channels add constraint none check (false) not valid").await;
    assert!(matches!(store.append(None, &[message(&app, "a", "1")]).await, Err(StoreError::Rejected(_))));
    execute(&mut session, "alter table channels drop constraint none; alter table messages rename to moved").await;
    let away = store.append(None, &[message(&app, "a", "1")]).await;
    assert!(matches!(away, Err(StoreError::Unavailable(_))), "{away:?}");
    execute(&mut session, "alter table moved rename to messages").await;
    assert!(store.append(None, &[message(&app, "a", "1")]).await.is_ok());
}

#[tokio::test]
async fn a_connection_s_first_insert_too_is_within_the_transaction_that_holds_the_locks() {
    let (store, database) = store().await;
    let app = new_app(&store).await;
    store.append(None, &[message(&app, "a", "0")]).await.unwrap();
    // A new channel gets its row where the locks are taken.
    execute(
        &mut session(&database).await,
        "create function remember() returns trigger language plpgsql as
             $$ begin perform set_config('test.locked', pg_current_xact_id()::text, false); return new; end $$;
         create trigger remember before insert on channels for each row execute function remember();
         create function refuse() returns trigger language plpgsql as
             $$ begin
                 if current_setting('test.locked', true) is distinct from pg_current_xact_id()::text then
                     raise exception 'an insert by itself';
                 end if;
                 return null;
             end $$;
         create trigger refuse before insert on messages for each statement execute function refuse()",
    )
    .await;
    // Its connections are new, so they do not know the statement yet.
    let store = SqlStore::connect_postgres(&database.url, 16, engines::sealer()).await.unwrap();
    for name in ["b", "c"] {
        let stored = store.append(None, &[message(&app, name, "1")]).await.unwrap();
        assert!(matches!(stored[0], Appended::Stored { serial: Serial(1), .. }));
    }
}

#[tokio::test]
async fn a_batch_is_one_transaction_that_locks_and_inserts_and_looks_only_where_it_must() {
    let server = postgres::Private::counting().await;
    let store = SqlStore::connect_postgres(&server.tcp_url(), 16, engines::sealer()).await.unwrap();
    store.migrate().await.unwrap();
    let app = new_app(&store).await;
    let mut session = AsyncPgConnection::establish(&server.tcp_url()).await.unwrap();
    execute(&mut session, "create extension pg_stat_statements").await;
    // Tables for the day are made with the first message that needs them.
    store.append(None, &[message(&app, "a", "0")]).await.unwrap();
    for (redelivered, expected) in [
        (false, ["begin", "lock", "insert", "commit"].as_slice()),
        (true, &["begin", "lock", "look", "insert", "commit"]),
    ] {
        let batch: Vec<_> = (0..100)
            .map(|number: u32| {
                let mut message = message(&app, if number.is_multiple_of(2) { "a" } else { "b" }, &number.to_string());
                message.redelivered = redelivered;
                message
            })
            .collect();
        execute(&mut session, "select pg_stat_statements_reset()").await;
        let stored = store.append(None, &batch).await.unwrap();
        assert!(stored.iter().all(|stored| matches!(stored, Appended::Stored { .. })));
        let statements = "select calls || ' ' || query as value from pg_stat_statements
            where query not like '%pg_stat_statements%'";
        let mut done: Vec<_> = values(&mut session, statements).await.iter().filter_map(|line| step(line)).collect();
        done.sort_unstable();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(done, expected, "redelivered: {redelivered}");
    }
}

/// What one line of statements does, as `1 begin`; each once. `None` for the sign of life that a connection gives before it is used.
fn step(line: &str) -> Option<&'static str> {
    let (calls, statement) = line.split_once(' ').unwrap();
    assert_eq!(calls, "1", "{line}");
    match statement.trim().to_lowercase().as_str() {
        "begin" => Some("begin"),
        "commit" => Some("commit"),
        statement if statement.contains("for update") => Some("lock"),
        statement if statement.contains("insert into messages") => Some("insert"),
        statement if statement.contains("cross join lateral") => Some("look"),
        "select $1" => None,
        statement => panic!("{statement}"),
    }
}
