//! A backlog in SQL, for a process that has no broker: what is put in is committed, and is handed out again after a restart.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use fanfare_domain::{
    StoreError,
    webhooks::{Backlog, BacklogAway, Receipt, Taken},
};
use tokio::{sync::Notify, time::timeout};
use tracing::warn;

use super::{
    SqlStore,
    db::{Conn, on_dialect},
    schema::webhook_backlog,
};

/// How many are handed out in one go.
const AT_ONCE: i64 = 256;
/// How often it is looked even if nobody told that there is something.
const LOOK: Duration = Duration::from_secs(1);

/// A backlog under a name of its own, of which one process takes. Clones are the same backlog.
#[derive(Clone)]
pub struct SqlBacklog {
    store: SqlStore,
    queue: &'static str,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    filled: Notify,
    /// The last one that was handed out.
    last: AtomicI64,
}

impl SqlBacklog {
    /// The backlog of that name.
    pub fn new(store: SqlStore, queue: &'static str) -> Self {
        Self { store, queue, shared: Arc::default() }
    }

    /// Puts things in as part of a transaction; [`SqlBacklog::filled`] is to be called after its commit.
    pub(super) async fn put_within(&self, conn: &mut Conn, bodies: Vec<Vec<u8>>) -> Result<(), StoreError> {
        for body in bodies {
            let body = String::from_utf8(body).map_err(|bad| StoreError::Rejected(bad.to_string()))?;
            let row = (webhook_backlog::queue.eq(self.queue), webhook_backlog::body.eq(body));
            on_dialect!(&mut *conn, |c| diesel::insert_into(webhook_backlog::table).values(row).execute(c).await)?;
        }
        Ok(())
    }

    /// Whoever waits is told that there is something.
    pub(super) fn filled(&self) {
        self.shared.filled.notify_one();
    }

    async fn next(&self) -> Result<Vec<(i64, String)>, StoreError> {
        let (queue, last) = (self.queue, AtomicI64::load(&self.shared.last, Ordering::SeqCst));
        self.store
            .db
            .work(move |db| async move {
                let mut conn = db.read().await?;
                on_dialect!(&mut conn, |c| webhook_backlog::table
                    .filter(webhook_backlog::queue.eq(queue))
                    .filter(webhook_backlog::id.gt(last))
                    .order(webhook_backlog::id)
                    .limit(AT_ONCE)
                    .select((webhook_backlog::id, webhook_backlog::body))
                    .load(c)
                    .await)
            })
            .await
    }
}

#[async_trait]
impl Backlog for SqlBacklog {
    async fn put(&self, bodies: Vec<Vec<u8>>) -> Result<(), BacklogAway> {
        let own = self.clone();
        let put = self.store.db.work(move |db| async move {
            let mut conn = db.write().await?;
            conn.begin().await?;
            let put = own.put_within(&mut conn, bodies).await;
            conn.finish(put).await
        });
        put.await.map_err(|failure| BacklogAway(failure.to_string()))?;
        self.filled();
        Ok(())
    }

    async fn take(&self) -> Vec<Taken> {
        loop {
            match self.next().await {
                Ok(rows) if !rows.is_empty() => {
                    // Nothing is awaited from here on, so that whoever gives up has lost nothing.
                    self.shared.last.store(rows[rows.len() - 1].0, Ordering::SeqCst);
                    let taken = |(id, body): (i64, String)| Taken {
                        receipt: Receipt { life: 0, number: u64::try_from(id).unwrap_or_default() },
                        body: body.into_bytes(),
                    };
                    return rows.into_iter().map(taken).collect();
                }
                Ok(_) => {}
                Err(failure) => warn!(error = %failure, queue = self.queue, "A backlog cannot be read; trying again"),
            }
            let _ = timeout(LOOK, self.shared.filled.notified()).await;
        }
    }

    async fn settle(&self, receipts: &[Receipt]) {
        let ids: Vec<i64> = receipts.iter().filter_map(|receipt| i64::try_from(receipt.number).ok()).collect();
        let removed = self.store.db.work(move |db| async move {
            let mut conn = db.write().await?;
            on_dialect!(&mut conn, |c| {
                let those = webhook_backlog::table.filter(webhook_backlog::id.eq_any(&ids));
                diesel::delete(those).execute(c).await
            })
        });
        if let Err(failure) = removed.await {
            warn!(error = %failure, queue = self.queue, "What was worked on stays in a backlog, and comes again after a restart");
        }
    }
}
