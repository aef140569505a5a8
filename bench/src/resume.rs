//! A client that comes back to the beginning of a long backlog: what the server holds for it meanwhile.

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use crate::{
    clients::{Follower, Problem, Tenant},
    servers::{Server, mib},
    streams::Stream,
};

const CHANNEL: &str = "bench:resume";
/// Messages of one request.
const BATCH: usize = 1_000;

/// By what clients come back.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Transport {
    Socket,
    Sse,
    Poll,
}

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
    /// By what they come back
    #[arg(long, value_enum, default_value = "socket")]
    transport: Transport,
}

/// Publishes, comes back, and prints what was held.
///
/// # Errors
/// The server cannot be used, or a message is missing or out of order.
pub async fn run(url: &str, args: &ResumeArgs) -> Result<(), Problem> {
    let tenant = Tenant::sign_up(url, "resume").await?;
    let token = tenant.token().await?;
    // Of the head before there is anything.
    let cursor = tenant.cursor(&token, CHANNEL).await?;
    for first in (1..=args.messages).step_by(BATCH) {
        let numbers = first..(first + BATCH).min(args.messages + 1);
        let items: Vec<_> = numbers.map(|number| json!({"n": number, "text": "x".repeat(100)})).collect();
        tenant.publish_in_full(CHANNEL, &items).await?;
    }
    let mut clients = Vec::with_capacity(args.clients);
    for _ in 0..args.clients {
        clients.push(match args.transport {
            Transport::Socket => Client::Socket(Box::new(tenant.connect(&token).await?)),
            Transport::Sse => Client::Sse(tenant.clone(), token.clone(), cursor.clone()),
            Transport::Poll => Client::Poll(tenant.clone(), token.clone(), cursor.clone()),
        });
    }
    let before = args.server.look().await?;
    let messages = args.messages;
    let (most, resumed) = args
        .server
        .most_while(async {
            let mut coming = tokio::task::JoinSet::new();
            for client in clients {
                coming.spawn(client.resume(messages));
            }
            coming.join_all().await.into_iter().collect::<Result<Vec<_>, Problem>>()
        })
        .await?;
    let resumed = resumed?;
    let after = args.server.look().await?;
    println!("| | memory (RSS) | waits in outboxes | pages read |\n|---|---|---|---|");
    for (name, held) in [("before", before), ("most", most), ("after", after)] {
        println!("| {name} | {} | {} | {} |", mib(held.memory), mib(held.outboxes), held.pages - before.pages);
    }
    println!("{} client(s) resumed {messages} messages", resumed.len());
    Ok(())
}

/// Somebody who comes back.
enum Client {
    Socket(Box<Follower>),
    /// The tenant, the token and the cursor.
    Sse(Tenant, String, String),
    Poll(Tenant, String, String),
}

/// What stays of a client that has everything, so that nothing of it is gone when the server is looked at.
enum Resumed {
    Socket(#[expect(dead_code, reason = "it is held open")] Box<Follower>),
    Sse(#[expect(dead_code, reason = "it is held open")] Stream),
    Poll,
}

impl Client {
    /// Takes every message, each of which must be the next.
    async fn resume(self, messages: usize) -> Result<Resumed, Problem> {
        match self {
            Self::Socket(mut follower) => {
                follower.resume(CHANNEL, 1).await?;
                for number in 2..=messages {
                    is_next(&follower.next().await?, number)?;
                }
                Ok(Resumed::Socket(follower))
            }
            Self::Sse(tenant, token, cursor) => {
                let mut stream = tenant.stream(&token, CHANNEL, &cursor).await?;
                for number in 1..=messages {
                    is_next(&stream.next().await?, number)?;
                }
                Ok(Resumed::Sse(stream))
            }
            Self::Poll(tenant, token, mut cursor) => {
                let mut number = 0;
                while number < messages {
                    let (page, next) = tenant.poll(&token, CHANNEL, &cursor).await?;
                    for data in &page {
                        number += 1;
                        is_next(data, number)?;
                    }
                    cursor = next;
                }
                Ok(Resumed::Poll)
            }
        }
    }
}

fn is_next(data: &Value, number: usize) -> Result<(), Problem> {
    if data["n"] == number { Ok(()) } else { Err(format!("{number} was expected, not {data}")) }
}
