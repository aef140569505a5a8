//! Waiting for what nobody announces, by looking again and again.

use std::time::Duration;

use super::sockets::PATIENCE;

/// Looks until something is there, and gives it; a test that waits too long fails, naming what it waited for.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    within(PATIENCE, what, &mut look).await
}

/// The same, with another patience.
pub async fn within<T>(patience: Duration, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let found = tokio::time::timeout(patience, async {
        loop {
            ticks.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    });
    found.await.unwrap_or_else(|_| panic!("{what}: waited for {patience:?}"))
}

/// Does what a drop leaves to be done, on a thread of its own, since a test's runtime ends with the test; nothing waits for it.
pub fn in_background(work: impl Future<Output = ()> + Send + 'static) {
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be made").block_on(work);
    });
}
