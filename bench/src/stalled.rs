//! Clients that stop reading while their channel is flooded: what the server holds for them.

use clap::Args;
use serde_json::{Value, json};

use crate::{
    clients::{Problem, Tenant},
    servers::{Server, mib},
};

const CHANNEL: &str = "bench:stalled";
/// Messages of one request.
const BATCH: usize = 100;

#[derive(Debug, Args)]
pub struct StalledArgs {
    #[command(flatten)]
    server: Server,
    /// Sockets that do not read
    #[arg(long, default_value_t = 1_000)]
    sockets: usize,
    /// Messages that are published
    #[arg(long, default_value_t = 5_000)]
    messages: usize,
    /// Bytes of each message's text
    #[arg(long, default_value_t = 1_000)]
    bytes: usize,
}

/// Stalls, floods, and prints what was held.
///
/// # Errors
/// The server cannot be used.
pub async fn run(url: &str, args: &StalledArgs) -> Result<(), Problem> {
    let tenant = Tenant::sign_up(url, "stalled").await?;
    let token = tenant.token().await?;
    let before = args.server.look().await?;
    let mut sockets = Vec::with_capacity(args.sockets);
    for _ in 0..args.sockets {
        sockets.push(tenant.follow_narrowly(&token, CHANNEL).await?);
    }
    let mut healthy = tenant.follow(CHANNEL).await?;
    let connected = args.server.look().await?;
    let text = Value::String("x".repeat(args.bytes));
    let flooding = async {
        for _ in 0..args.messages.div_ceil(BATCH) {
            tenant.publish_in_full(CHANNEL, &vec![text.clone(); BATCH]).await?;
        }
        Ok::<_, Problem>(())
    };
    let received = async {
        for _ in 0..args.messages.div_ceil(BATCH) * BATCH {
            healthy.next().await?;
        }
        Ok(())
    };
    // It is over when the one who reads has everything.
    let flooding = async { futures::future::try_join(flooding, received).await.map(|_| ()) };
    let (most, flooded) = args.server.most_while(flooding).await?;
    flooded?;
    let after = args.server.look().await?;
    println!("| | memory (RSS) | waits in outboxes | closed as slow |\n|---|---|---|---|");
    for (name, held) in [("before", before), ("connected", connected), ("most", most), ("flooded", after)] {
        println!("| {name} | {} | {} | {} |", mib(held.memory), mib(held.outboxes), held.slow - before.slow);
    }
    println!("{}", json!({"sockets": args.sockets, "messages": args.messages, "bytes": args.bytes}));
    Ok(())
}
