//! How much can be published durably, and what each message costs whom.

use std::{sync::Arc, time::Duration};

use clap::Args;

use crate::{
    clients::{Problem, Tenant},
    processes::Watched,
    quantiles::quantile,
};
use offering::Offered;
use requests::Offer;

mod offering;
mod requests;

/// Not measured: connections, caches and statements are made ready.
const WARM_UP: Duration = Duration::from_secs(2);

#[derive(Debug, Args)]
pub struct PublishArgs {
    #[command(flatten)]
    watched: Watched,
    /// Messages of a request to `/v1/messages`; 0 for requests of one message
    #[arg(long, default_value_t = 0)]
    batch: usize,
    /// Connections that are kept, each with one request after another
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Bytes of each message's data
    #[arg(long, default_value_t = 128)]
    bytes: usize,
    /// Seconds of each window
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Windows
    #[arg(long, default_value_t = 3)]
    windows: usize,
    /// Channels that requests go to in turn
    #[arg(long, default_value_t = 64)]
    channels: usize,
    /// Channels among which the messages of one request are spread
    #[arg(long, default_value_t = 1)]
    spread: usize,
}

/// Offers, and prints what was taken and what it cost.
///
/// # Errors
/// The server cannot be used, or has stored more or less than it accepted.
pub async fn run(url: &str, args: &PublishArgs) -> Result<(), Problem> {
    let offer = Arc::new(Offer {
        tenant: Tenant::sign_up(url, "publish").await?,
        batch: args.batch,
        spread: args.spread.clamp(1, args.channels.max(1)),
        channels: args.channels.max(1),
        bytes: args.bytes,
    });
    let windows =
        (0..=args.windows).map(|window| if window == 0 { WARM_UP } else { Duration::from_secs(args.seconds) });
    let mut stored = vec![0; offer.channels];
    let mut rows = Vec::new();
    for (round, time) in windows.enumerate() {
        let before = args.watched.look()?;
        let (offered, serials) = offering::offer(offer.clone(), args.connections, time, stored, round).await?;
        stored = serials;
        let used = args.watched.look()?.since(&before);
        if round > 0 {
            rows.push(row(&offered, &used)?);
        }
    }
    println!(
        "{} messages a request, {} channels, {} of them a request, {} connections, {} bytes\n",
        offer.messages(),
        offer.channels,
        offer.spread,
        args.connections,
        args.bytes
    );
    println!("| accepted/s | stored/s | p50 | p99 | refused | {} |", args.watched.columns().join(" | "));
    println!("|---:|---:|---:|---:|---:|{}", "---:|".repeat(args.watched.columns().len()));
    rows.iter().for_each(|row| println!("{row}"));
    println!("\np50 and p99 are of requests; the last columns are CPU µs a message.");
    Ok(())
}

fn row(offered: &Offered, used: &[Duration]) -> Result<String, Problem> {
    let accepted: u64 = offered.accepted.iter().sum();
    let messages = accepted.max(1) as f64;
    let mut took = offered.took.clone();
    took.sort_unstable();
    let at = |per_mille| quantile(&took, per_mille).ok_or_else(|| "nothing was published".to_owned());
    let (p50, p99) = (at(500)?, at(990)?);
    let costs: Vec<_> = used.iter().map(|used| format!("{:.1}", used.as_secs_f64() * 1e6 / messages)).collect();
    Ok(format!(
        "| {:.0} | {:.0} | {:.1} ms | {:.1} ms | {} | {} |",
        messages / offered.offering.as_secs_f64(),
        messages / offered.storing.as_secs_f64(),
        p50.as_secs_f64() * 1e3,
        p99.as_secs_f64() * 1e3,
        offered.refused,
        costs.join(" | ")
    ))
}
