//! Many clients that come back at once to the same position: how often the log is read for them, and when the last of them has everything.

use std::{
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use clap::Args;
use futures::{StreamExt, stream};
use serde_json::json;
use tokio::{sync::watch, task::JoinSet, time::timeout};

use crate::{
    clients::{Follower, Problem, Tenant},
    quantiles::quantile,
    servers::{Held, Server, mib},
};

const CHANNEL: &str = "bench:comeback";
/// Messages of one request.
const BATCH: usize = 1_000;
/// Clients that connect at a time.
const CONNECTING: usize = 50;
/// Where all come back to. Those who came before began elsewhere, so that no page was read for them that these could share.
const POSITION: u64 = 2;
/// How long it may take until the last client has everything.
const PATIENCE: Duration = Duration::from_secs(900);

#[derive(Debug, Args)]
pub struct ComebackArgs {
    #[command(flatten)]
    server: Server,
    /// Clients that come back at once; each is an open file here and in the server, and a connection of the app's plan
    #[arg(long, default_value_t = 9_900)]
    clients: usize,
    /// Messages that were published while they were away
    #[arg(long, default_value_t = 2_500)]
    messages: usize,
    /// Bytes of each message's text
    #[arg(long, default_value_t = 100)]
    bytes: usize,
}

/// Publishes, has one client come back and then all of them, and prints what was read and held.
///
/// # Errors
/// The server cannot be used, or a message is missing or out of order.
pub async fn run(url: &str, args: &ComebackArgs) -> Result<(), Problem> {
    let tenant = Tenant::sign_up(url, "comeback").await?;
    let token = tenant.token().await?;
    let text = json!("x".repeat(args.bytes));
    for first in (0..args.messages).step_by(BATCH) {
        let items = vec![text.clone(); BATCH.min(args.messages - first)];
        tenant.publish_in_full(CHANNEL, &items).await?;
    }
    let messages = args.messages as u64;
    let mut alone = tenant.connect(&token).await?;
    let epoch = alone.epoch(CHANNEL).await?;
    // What was accepted is perhaps not in the log yet: the first one waits for that.
    alone.come_back(CHANNEL, &epoch, 0).await?;
    in_order(&mut alone, 1..=messages).await?;
    alone.unsubscribe(CHANNEL).await?;
    let before = args.server.look().await?;
    alone.come_back(CHANNEL, &epoch, POSITION - 1).await?;
    in_order(&mut alone, POSITION..=messages).await?;
    let pages = args.server.look().await?.pages - before.pages;

    let (go, may_go) = watch::channel(());
    let mut coming = JoinSet::new();
    let mut connecting = stream::iter(0..args.clients).map(|_| tenant.connect(&token)).buffer_unordered(CONNECTING);
    while let Some(client) = connecting.next().await {
        coming.spawn(come_back(client?, may_go.clone(), epoch.clone(), messages));
    }
    let connected = args.server.look().await?;
    go.send_replace(());
    let (most, came) = args.server.most_while(timeout(PATIENCE, coming.join_all())).await?;
    let came = came.map_err(|_| format!("not every client had everything after {PATIENCE:?}"))?;
    let came = came.into_iter().collect::<Result<Vec<_>, _>>()?;
    let after = args.server.look().await?;
    let mut took: Vec<_> = came.iter().map(|(_, took)| *took).collect();
    took.sort_unstable();
    print(args, pages, &took, [before, connected, most, after])
}

/// A client that waits for the sign and then comes back; it stays connected, and tells how long it took to have everything.
async fn come_back(
    mut client: Follower,
    mut may_go: watch::Receiver<()>,
    epoch: String,
    messages: u64,
) -> Result<(Follower, Duration), Problem> {
    loop {
        tokio::select! {
            _ = may_go.changed() => break,
            skipped = client.skip() => skipped?,
        }
    }
    let begun = Instant::now();
    client.come_back(CHANNEL, &epoch, POSITION).await?;
    in_order(&mut client, POSITION + 1..=messages).await?;
    Ok((client, begun.elapsed()))
}

async fn in_order(client: &mut Follower, serials: RangeInclusive<u64>) -> Result<(), Problem> {
    for expected in serials {
        let serial = client.next_serial().await?;
        if serial != expected {
            return Err(format!("serial {expected} was expected, not {serial}"));
        }
    }
    Ok(())
}

fn print(args: &ComebackArgs, pages: u64, took: &[Duration], held: [Held; 4]) -> Result<(), Problem> {
    let [before, connected, most, after] = held;
    let at = |per_mille| quantile(took, per_mille).ok_or_else(|| "there were no clients".to_owned());
    let (half, last) = (at(500)?.as_secs_f64(), at(1_000)?.as_secs_f64());
    let (clients, messages, reads) = (args.clients, args.messages, after.pages - connected.pages);
    println!(
        "| clients | messages each | pages | reads of the log | half have everything after | the last after | deliveries a second |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|");
    let rate = (clients * messages) as f64 / last;
    println!("| {clients} | {messages} | {pages} | {reads} | {half:.1} s | {last:.1} s | {rate:.0} |\n");
    println!("| | memory (RSS) | waits in outboxes | closed as slow |\n|---|---:|---:|---:|");
    for (name, held) in [("before", before), ("connected", connected), ("most", most), ("after", after)] {
        println!("| {name} | {} | {} | {} |", mib(held.memory), mib(held.outboxes), held.slow - before.slow);
    }
    Ok(())
}
