//! Certificate files that change: the new pair is taken up while connections go on, a bad one is refused.

use std::{fs::Metadata, os::unix::fs::MetadataExt, time::Duration};

use fanfare_domain::metrics::Metric;
use tokio::{
    fs,
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};
use tracing::{error, info, warn};

use super::{Files, Pair, Tls, load};
use crate::problem::Problem;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often the end of the certificate is thought of.
const TELL: Duration = Duration::from_secs(12 * 3_600);

/// What tells one state of a file from another.
type Stamp = (u64, u64, i64, i64, u64);

/// Follows the files until `stopped` says so. They count as changed once both have rested for a look, since the one is written after the
/// other; SIGHUP has them read at once.
pub async fn keep_fresh(tls: Tls, mut stopped: watch::Receiver<bool>) {
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => {
            error!(%error, "SIGHUP cannot be waited for, so changed certificates are not taken up");
            return;
        }
    };
    let mut used = stamps(&tls.files).await;
    let mut seen = used;
    let mut told = Instant::now();
    let mut due = interval(LOOK);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let asked = tokio::select! {
            _ = due.tick() => false,
            _ = hangup.recv() => true,
            _ = stopped.wait_for(|stop| *stop) => return,
        };
        let now = stamps(&tls.files).await;
        if asked || (now != used && now == seen) {
            used = now;
            renew(&tls).await;
        }
        seen = now;
        if told.elapsed() >= TELL {
            told = Instant::now();
            tls.current.pair().tell();
        }
    }
}

async fn renew(tls: &Tls) {
    match try_load(tls).await {
        Ok(pair) => {
            info!(fingerprint = pair.fingerprint, "New handshakes use the certificate {}", pair.fingerprint);
            pair.tell();
            tls.current.replace(pair);
            Metric::TlsCertificateReloads.add_labelled("used", 1);
        }
        Err(problem) => {
            warn!(
                "The changed certificate is not used, and the one before goes on: {}. {}",
                problem.what, problem.remedy
            );
            Metric::TlsCertificateReloads.add_labelled("refused", 1);
        }
    }
}

async fn try_load(tls: &Tls) -> Result<Pair, Problem> {
    let files = tls.files.clone();
    let loaded = tokio::task::spawn_blocking(move || load(&files)).await;
    let pair = loaded.map_err(|error| Problem::new(error.to_string(), "Change the files again."))??;
    if pair.left().is_zero() && !tls.current.pair().left().is_zero() {
        return Err(Problem::new("it has ended already", "Put one there that is still good."));
    }
    Ok(pair)
}

async fn stamps(files: &Files) -> [Option<Stamp>; 2] {
    let stamp = |file: Metadata| (file.dev(), file.ino(), file.mtime(), file.mtime_nsec(), file.len());
    [fs::metadata(&files.cert).await.ok().map(stamp), fs::metadata(&files.key).await.ok().map(stamp)]
}
