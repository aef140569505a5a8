//! A channel with many subscribers beside a small one: how much later the small one's message arrives when it comes during a large fan-out.

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use tokio::time::timeout;

use crate::{
    clients::{Problem, Tenant},
    quantiles::quantile,
};

const LARGE: &str = "bench:large";
const SMALL: &str = "bench:small";
/// How long a message may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(20);
/// Between two rounds, so that one has no part in the next.
const REST: Duration = Duration::from_millis(300);

#[derive(Debug, Args)]
pub struct FairnessArgs {
    /// Subscribers of the large channel
    #[arg(long, default_value_t = 10_000)]
    followers: usize,
    /// Rounds of each kind, in turn
    #[arg(long, default_value_t = 100)]
    rounds: usize,
}

/// Runs the rounds and prints how long the small channel's messages took.
///
/// # Errors
/// The server cannot be used, or a message did not arrive.
pub async fn run(url: &str, args: &FairnessArgs) -> Result<(), Problem> {
    let tenant = Tenant::sign_up(url, "fairness").await?;
    let token = tenant.token().await?;
    let mut large = Vec::with_capacity(args.followers);
    for _ in 0..args.followers {
        large.push(tenant.connect(&token).await?);
    }
    for follower in &mut large {
        follower.subscribe(LARGE).await?;
    }
    let mut small = tenant.connect(&token).await?;
    small.subscribe(SMALL).await?;
    let data = json!("x".repeat(100));
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for round in 0..args.rounds * 2 {
        tokio::time::sleep(REST).await;
        let latencies = if round % 2 == 0 { &mut alone } else { &mut beside };
        if round % 2 == 1 {
            tenant.publish_ephemeral(LARGE, &data).await?;
        }
        let begun = Instant::now();
        tenant.publish_ephemeral(SMALL, &data).await?;
        timeout(ARRIVAL, small.next()).await.map_err(|_| "a message of the small channel did not arrive")??;
        latencies.push(begun.elapsed());
        // The many are read only now, so that what is measured is the server's work, and not this program's on the same cores.
        if round % 2 == 1 {
            for follower in &mut large {
                timeout(ARRIVAL, follower.next())
                    .await
                    .map_err(|_| "a message of the large channel did not arrive")??;
            }
        }
    }
    println!("| the small channel's message | p50 | p99 |\n|---|---|---|");
    for (name, mut latencies) in [("alone", alone), ("during the large fan-out", beside)] {
        latencies.sort_unstable();
        let at = |per_mille| quantile(&latencies, per_mille).ok_or_else(|| "there were no rounds".to_owned());
        println!("| {name} | {} | {} |", millis(at(500)?), millis(at(990)?));
    }
    Ok(())
}

fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1_000.0)
}
