//! Appends under a fence, and those that can never be stored.

use fanfare_domain::{
    StoreError,
    history::{Appended, MessageLog},
    ids::WorkerId,
    partitions::{Fence, Partitions},
};
use fanfare_protocol::Serial;

use super::{execute, fix, session, store, values};
use crate::stores::samples::{channel, message, new_app};

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
