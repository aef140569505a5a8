//! The password pool: argon2 is slow on purpose, so only so much of it runs or waits at once.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use std::time::Duration;

use fanfare_domain::{Refusal, accounts::passwords, secrets};
use fanfare_protocol::ErrorCode;
use secrecy::SecretString;
use tokio::{sync::Semaphore, task};

/// Hashes that are computed at once.
const RUNNING: usize = 2;
/// Hashes that are computed or wait; past this, callers are refused.
const ADMITTED: usize = 64;

/// Hashes and verifies passwords on threads that may be slow.
pub(crate) struct PasswordPool {
    running: Arc<Semaphore>,
    admitted: Arc<AtomicUsize>,
    /// What a password of an unknown account is compared with, so that it takes as long as any other.
    nobody: SecretString,
}

/// A place in the queue, given back when it is dropped.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl PasswordPool {
    pub fn new() -> Self {
        Self {
            running: Arc::new(Semaphore::new(RUNNING)),
            admitted: Arc::new(AtomicUsize::new(0)),
            nobody: passwords::hash(&secrets::generate("")),
        }
    }

    /// Hashes a new password.
    pub async fn hash(&self, password: SecretString) -> Result<SecretString, Refusal> {
        self.run(move || passwords::hash(&password)).await
    }

    /// Whether a password matches; without a hash it does not, after the same work.
    pub async fn verify(&self, password: SecretString, hash: Option<SecretString>) -> Result<bool, Refusal> {
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.nobody.clone());
        Ok(self.run(move || passwords::verify(&password, &hash)).await? && known)
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Refusal> {
        let place = self.admit().ok_or_else(|| {
            Refusal::new(ErrorCode::Unavailable, "too many passwords are being checked now")
                .retry_after(Duration::from_secs(1))
        })?;
        let turn = Arc::clone(&self.running).acquire_owned().await.expect("the semaphore is never closed");
        // The turn goes along, so that a caller who goes away does not make room for more work than is meant to run.
        let done = task::spawn_blocking(move || {
            let _held = (place, turn);
            work()
        });
        done.await.map_err(|_| Refusal::plain(ErrorCode::Internal))
    }

    fn admit(&self) -> Option<Place> {
        self.admitted
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < ADMITTED).then_some(count + 1))
            .is_ok()
            .then(|| Place(Arc::clone(&self.admitted)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix_web::test]
    async fn an_unknown_account_matches_no_password() {
        let pool = PasswordPool::new();
        let right = SecretString::from("correct horse".to_owned());
        let hash = pool.hash(right.clone()).await.unwrap();
        assert!(pool.verify(right.clone(), Some(hash)).await.unwrap());
        assert!(!pool.verify(right, None).await.unwrap());
    }

    #[actix_web::test]
    async fn a_full_pool_refuses_and_says_when_to_come_back() {
        let pool = PasswordPool::new();
        let places: Vec<_> = (0..ADMITTED).map(|_| pool.admit().unwrap()).collect();
        let refusal = pool.hash(SecretString::from("correct horse".to_owned())).await.unwrap_err();
        assert_eq!((refusal.code, refusal.retry_after), (ErrorCode::Unavailable, Some(Duration::from_secs(1))));
        drop(places);
        assert!(pool.admit().is_some());
    }
}
