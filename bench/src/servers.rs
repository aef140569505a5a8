//! What the server under measure holds, seen from outside.

use std::{fs, time::Duration};

use clap::Args;

use crate::clients::Problem;

/// Which process is measured, and where its metrics are.
#[derive(Debug, Clone, Args)]
pub struct Server {
    /// The id of the server's process, whose memory is read from /proc
    #[arg(long)]
    pid: u32,
    /// Where the server's metrics are
    #[arg(long, default_value = "http://127.0.0.1:9090")]
    ops_url: String,
}

/// What it held at one time, or the most of each over some time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Held {
    /// Its memory (RSS), in bytes.
    pub memory: u64,
    /// What waited in outboxes, in bytes.
    pub outboxes: u64,
    /// Sockets closed as slow consumers.
    pub slow: u64,
    /// Pages read for those who come back.
    pub pages: u64,
}

impl Held {
    fn most(self, other: Self) -> Self {
        Self {
            memory: self.memory.max(other.memory),
            outboxes: self.outboxes.max(other.outboxes),
            slow: self.slow.max(other.slow),
            pages: self.pages.max(other.pages),
        }
    }
}

impl Server {
    /// Looks once.
    ///
    /// # Errors
    /// There is no such process, or no metrics there.
    pub async fn look(&self) -> Result<Held, Problem> {
        let http = reqwest::Client::builder().no_proxy().build().map_err(|error| error.to_string())?;
        let answer = http.get(format!("{}/metrics", self.ops_url)).send().await.map_err(|error| error.to_string())?;
        let metrics = answer.text().await.map_err(|error| error.to_string())?;
        let sample = |name: &str| {
            let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
            value.map_or(0, |value| value as u64)
        };
        Ok(Held {
            memory: self.memory()?,
            outboxes: sample("fanfare_outbox_bytes "),
            slow: sample("fanfare_connections_closed_total{reason=\"slow_consumer\"}"),
            pages: sample("fanfare_history_reads_total{purpose=\"resume\"}"),
        })
    }

    /// Looks again and again while something is done; the most of each, and what came of it.
    ///
    /// # Errors
    /// A look fails.
    pub async fn most_while<T>(&self, work: impl Future<Output = T>) -> Result<(Held, T), Problem> {
        let mut due = tokio::time::interval(Duration::from_millis(50));
        let (mut most, mut work) = (Held::default(), std::pin::pin!(work));
        loop {
            tokio::select! {
                done = &mut work => return Ok((most.most(self.look().await?), done)),
                _ = due.tick() => most = most.most(self.look().await?),
            }
        }
    }

    fn memory(&self) -> Result<u64, Problem> {
        let path = format!("/proc/{}/status", self.pid);
        let status = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.map(|kib| kib * 1024).ok_or_else(|| format!("{path} does not tell the memory"))
    }
}

/// Bytes for people.
pub fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1024.0 * 1024.0))
}
