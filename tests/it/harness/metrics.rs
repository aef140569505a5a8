//! What a server says of itself on `/metrics`.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use super::{server::Server, tenants::Answer};

/// One look at the metrics.
#[derive(Debug)]
pub struct Metrics(pub String);

impl Metrics {
    /// Looks.
    pub async fn of(server: &Server) -> Self {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client can be built");
        let answer = Answer::of(client.get(format!("{}/metrics", server.ops_url()))).await;
        assert_eq!(answer.status, 200);
        assert!(
            answer.headers["content-type"].to_str().is_ok_and(|kind| kind.starts_with("text/plain; version=0.0.4"))
        );
        Self(answer.text)
    }

    /// A sample, as `name` or `name{label="value"}`.
    pub fn sample(&self, name: &str) -> f64 {
        let sample = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        sample.unwrap_or_else(|| panic!("no `{name}` in\n{}", self.0)).parse().expect("a sample is a number")
    }
}

/// The most bytes that a server's outboxes held, looked at until the work is done.
pub async fn most_held(server: &Server, work: impl Future<Output = ()>) -> f64 {
    let done = AtomicBool::new(false);
    let watching = async {
        let mut most = 0.0_f64;
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        while !done.load(Ordering::SeqCst) {
            ticks.tick().await;
            most = most.max(Metrics::of(server).await.sample("fanfare_outbox_bytes"));
        }
        most
    };
    let working = async {
        work.await;
        done.store(true, Ordering::SeqCst);
    };
    tokio::join!(watching, working).0
}
