//! A client that comes back to the beginning of a long backlog: what the server holds for it meanwhile.

use clap::Args;
use serde_json::json;

use crate::{
    clients::{Problem, Tenant},
    servers::{Server, mib},
};

const CHANNEL: &str = "bench:resume";
/// Messages of one request.
const BATCH: usize = 1_000;

#[derive(Debug, Args)]
pub struct ResumeArgs {
    #[command(flatten)]
    server: Server,
    /// Messages that are published while the client is away
    #[arg(long, default_value_t = 50_000)]
    messages: usize,
    /// Clients that come back at once
    #[arg(long, default_value_t = 1)]
    clients: usize,
}

/// Publishes, comes back, and prints what was held.
///
/// # Errors
/// The server cannot be used, or a message is missing or out of order.
pub async fn run(url: &str, args: &ResumeArgs) -> Result<(), Problem> {
    let tenant = Tenant::sign_up(url, "resume").await?;
    let token = tenant.token().await?;
    for first in (1..=args.messages).step_by(BATCH) {
        let numbers = first..(first + BATCH).min(args.messages + 1);
        let items: Vec<_> = numbers.map(|number| json!({"n": number, "text": "x".repeat(100)})).collect();
        tenant.publish_in_full(CHANNEL, &items).await?;
    }
    let mut followers = Vec::with_capacity(args.clients);
    for _ in 0..args.clients {
        followers.push(tenant.connect(&token).await?);
    }
    let before = args.server.look().await?;
    let messages = args.messages;
    let (most, resumed) = args
        .server
        .most_while(async {
            let mut coming = tokio::task::JoinSet::new();
            for mut follower in followers {
                coming.spawn(async move {
                    follower.resume(CHANNEL, 1).await?;
                    for number in 2..=messages {
                        let data = follower.next().await?;
                        if data["n"] != number {
                            return Err(format!("{number} was expected, not {data}"));
                        }
                    }
                    Ok(follower)
                });
            }
            coming.join_all().await.into_iter().collect::<Result<Vec<_>, Problem>>()
        })
        .await?;
    let followers = resumed?;
    let after = args.server.look().await?;
    println!("| | memory (RSS) | waits in outboxes | pages read |\n|---|---|---|---|");
    for (name, held) in [("before", before), ("most", most), ("after", after)] {
        println!("| {name} | {} | {} | {} |", mib(held.memory), mib(held.outboxes), held.pages - before.pages);
    }
    println!("{} client(s) resumed {messages} messages", followers.len());
    Ok(())
}
