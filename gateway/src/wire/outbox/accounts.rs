//! What waits for all connections of an app on this node, so that one app's slow clients cannot fill the memory.
//!
//! Half of an app's bound is open to whoever comes. Past that, a connection is closed as a slow consumer when more waits for it than its fair share,
//! which is half of the bound divided by the connections for which anything waits: so those that hold the most go first, and one that keeps up
//! is left alone. Past the whole bound any connection is closed for which something waits already. One for which nothing waits is not slow and is
//! never closed for its app's sake: the bound may be passed by one frame for each connection, no more.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use fanfare_domain::ids::AppId;

/// The accounts of all apps that have a connection.
#[derive(Debug, Default)]
pub(crate) struct Accounts(Arc<Registry>);

type Registry = Mutex<HashMap<AppId, Weak<Account>>>;

/// What waits for one app's connections, on all threads.
#[derive(Debug)]
pub(crate) struct Account {
    app: AppId,
    registry: Weak<Registry>,
    limit: AtomicUsize,
    bytes: AtomicUsize,
    /// Connections for which anything waits.
    waiting: AtomicUsize,
}

impl Accounts {
    /// The account of an app, under the bound that its plan has now.
    pub(crate) fn of(&self, app: &AppId, limit: usize) -> Arc<Account> {
        let mut registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let account = registry.get(app).and_then(Weak::upgrade).unwrap_or_else(|| {
            let account = Arc::new(Account {
                app: app.clone(),
                registry: Arc::downgrade(&self.0),
                limit: AtomicUsize::new(limit),
                bytes: AtomicUsize::new(0),
                waiting: AtomicUsize::new(0),
            });
            registry.insert(app.clone(), Arc::downgrade(&account));
            account
        });
        account.limit.store(limit, Ordering::Relaxed);
        account
    }
}

impl Account {
    /// Whether a connection for which `own` bytes wait already may be given `more`.
    pub(super) fn admits(&self, own: usize, more: usize) -> bool {
        let (limit, bytes) = (self.limit.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed) + more);
        if own == 0 || bytes <= limit / 2 {
            return true;
        }
        let share = limit / 2 / self.waiting.load(Ordering::Relaxed).max(1);
        bytes <= limit && own + more <= share
    }

    /// Whether so much waits that a backlog goes one frame at a time.
    pub(super) fn is_pressed(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) > self.limit.load(Ordering::Relaxed) / 4
    }

    /// Whether so much waits that no large answer is given any more.
    pub(crate) fn is_nearly_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) / 3 > self.limit.load(Ordering::Relaxed) / 4
    }

    /// Takes note that a connection holds `now` bytes that held `before`.
    pub(super) fn changed(&self, before: usize, now: usize) {
        match (before, now) {
            (0, 1..) => _ = self.waiting.fetch_add(1, Ordering::Relaxed),
            (1.., 0) => _ = self.waiting.fetch_sub(1, Ordering::Relaxed),
            _ => {}
        }
        if now >= before {
            self.bytes.fetch_add(now - before, Ordering::Relaxed);
        } else {
            self.bytes.fetch_sub(before - now, Ordering::Relaxed);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.upgrade() {
            let mut registry = registry.lock().unwrap_or_else(PoisonError::into_inner);
            // Another may have taken the place since.
            if registry.get(&self.app).is_some_and(|account| account.strong_count() == 0) {
                registry.remove(&self.app);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(limit: usize) -> (Accounts, Arc<Account>) {
        let accounts = Accounts::default();
        let account = accounts.of(&AppId::parse("app_a").unwrap(), limit);
        (accounts, account)
    }

    #[test]
    fn past_half_of_the_bound_a_connection_keeps_within_its_share() {
        let (_accounts, account) = account(1_000);
        account.changed(0, 400);
        account.changed(0, 50);
        assert!(account.admits(400, 50), "half of the bound is open to all");
        assert!(!account.admits(400, 60), "its share is 250");
        assert!(account.admits(50, 100));
        account.changed(50, 550);
        assert!(account.admits(50, 50) && !account.admits(50, 51), "the bound is 1,000");
    }

    #[test]
    fn a_connection_for_which_nothing_waits_is_never_refused() {
        let (_accounts, account) = account(1_000);
        account.changed(0, 1_000);
        assert!(account.admits(0, 100_000) && !account.admits(1, 1));
    }

    #[test]
    fn an_app_s_account_ends_with_its_last_connection() {
        let (accounts, account) = account(1_000);
        account.changed(0, 10);
        account.changed(10, 0);
        assert_eq!((account.bytes.load(Ordering::Relaxed), account.waiting.load(Ordering::Relaxed)), (0, 0));
        let again = accounts.of(&AppId::parse("app_a").unwrap(), 2_000);
        assert!(Arc::ptr_eq(&account, &again) && again.limit.load(Ordering::Relaxed) == 2_000);
        drop((account, again));
        assert!(accounts.0.lock().unwrap().is_empty());
    }
}
