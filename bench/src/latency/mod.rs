//! How long a durable message takes from its publisher to its subscribers, beside what the engines alone take for their part of it.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use clap::Args;
use futures::future::try_join_all;
use serde_json::json;
use tokio::{
    sync::{Mutex, mpsc},
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

use crate::{
    clients::{Follower, Problem, Tenant},
    http::Kept,
    quantiles::{median, quantile},
    requests,
};
use engines::{EngineUrls, Engines};

mod engines;

const CHANNEL: &str = "bench:latency";
/// Connections that publish, in turn; as many as ever wait for an answer at a time.
const CONNECTIONS: usize = 16;
/// How long what was published last may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(20);

#[derive(Debug, Args)]
pub struct LatencyArgs {
    #[command(flatten)]
    urls: EngineUrls,
    /// Messages a second
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// Sockets that follow the channel
    #[arg(long, default_value_t = 100)]
    subscribers: usize,
    /// Bytes of each message's data
    #[arg(long, default_value_t = 128)]
    bytes: usize,
    /// Pairs of a window of the server and one of the engines alone, in turn
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Seconds of each window
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

/// The server, as its publishers and subscribers have it.
struct Measured {
    tenant: Tenant,
    /// Connections that nothing is under way on; made for each window, since the server closes those that are idle for long.
    idle: Mutex<VecDeque<Kept>>,
    begun: Instant,
    arrivals: Mutex<mpsc::UnboundedReceiver<Result<Duration, Problem>>>,
}

/// Runs the pairs and prints them.
///
/// # Errors
/// The server or an engine cannot be used, or a message did not arrive.
pub async fn run(url: &str, args: &LatencyArgs) -> Result<(), Problem> {
    let engines = Arc::new(Engines::connect(&args.urls).await?);
    let measured = Arc::new(Measured::prepare(url, args).await?);
    // Not measured: statements and caches are made ready.
    measured.window(args).await?;
    alone(&engines, args).await?;
    println!("| pair | publish to delivery p50 | p99 | engines alone p50 | p99 | ratio of the p99 |");
    println!("|---:|---:|---:|---:|---:|---:|");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for pair in 1..=args.pairs {
        let (measured, alone) = (p50_p99(measured.window(args).await?)?, p50_p99(alone(&engines, args).await?)?);
        let row = [measured.0, measured.1, alone.0, alone.1].map(millis).join(" | ");
        println!("| {pair} | {row} | {:.2} |", measured.1.as_secs_f64() / alone.1.as_secs_f64());
        ours.push(measured.1);
        theirs.push(alone.1);
    }
    let (Some(ours), Some(theirs)) = (median(ours), median(theirs)) else {
        return Err("there were no pairs".to_owned());
    };
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    println!("\nMedian p99: delivery {}, engines alone {}, ratio {ratio:.2}", millis(ours), millis(theirs));
    Ok(())
}

fn p50_p99(mut took: Vec<Duration>) -> Result<(Duration, Duration), Problem> {
    took.sort_unstable();
    let at = |per_mille| quantile(&took, per_mille).ok_or_else(|| "nothing was published".to_owned());
    Ok((at(500)?, at(990)?))
}

fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}

impl Measured {
    async fn prepare(url: &str, args: &LatencyArgs) -> Result<Self, Problem> {
        let tenant = Tenant::sign_up(url, "latency").await?;
        let begun = Instant::now();
        let (arrived, arrivals) = mpsc::unbounded_channel();
        let token = tenant.token().await?;
        for _ in 0..args.subscribers {
            let mut follower = tenant.connect(&token).await?;
            follower.subscribe(CHANNEL).await?;
            tokio::spawn(follow(follower, begun, arrived.clone()));
        }
        Ok(Self { tenant, idle: Mutex::default(), begun, arrivals: Mutex::new(arrivals) })
    }

    /// Publishes at an even pace, and hears every message at every subscriber; how long each took.
    async fn window(self: &Arc<Self>, args: &LatencyArgs) -> Result<Vec<Duration>, Problem> {
        let connecting = (0..CONNECTIONS).map(|_| Kept::connect(self.tenant.authority()));
        *self.idle.lock().await = try_join_all(connecting).await?.into();
        let count = at_an_even_pace(args, |_| {
            let (this, bytes) = (self.clone(), args.bytes);
            async move { this.publish(bytes).await.map(|()| Duration::ZERO) }
        });
        let count = count.await?.len();
        let expected = count * args.subscribers;
        let mut took = Vec::with_capacity(expected);
        let mut arrivals = self.arrivals.lock().await;
        while took.len() < expected {
            match timeout(ARRIVAL, arrivals.recv()).await {
                Ok(Some(latency)) => took.push(latency?),
                _ => return Err(format!("{} of {expected} messages arrived", took.len())),
            }
        }
        Ok(took)
    }

    async fn publish(&self, bytes: usize) -> Result<(), Problem> {
        let mut kept = self.idle.lock().await.pop_front().ok_or("all connections wait for an answer")?;
        let sent = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let data = json!({"sent": sent, "text": "x".repeat(bytes.saturating_sub(32))});
        let (path, body) = (format!("/v1/channels/{CHANNEL}/messages"), json!({"data": data}));
        let request = requests::post(&self.tenant, &path, "", &body);
        let status = kept.ask(&request).await?.status;
        self.idle.lock().await.push_back(kept);
        if status == 202 { Ok(()) } else { Err(format!("a publish was answered {status}")) }
    }
}

/// Notes how long each message took, which says when it was sent, in µs since the run began.
async fn follow(mut follower: Follower, begun: Instant, arrived: mpsc::UnboundedSender<Result<Duration, Problem>>) {
    loop {
        let sent = follower.next_number("sent").await;
        let latency = sent.map(|sent| begun.elapsed().saturating_sub(Duration::from_micros(sent)));
        let ends = latency.is_err();
        if arrived.send(latency).is_err() || ends {
            return;
        }
    }
}

/// The engines' part of so many messages, at the same pace.
async fn alone(engines: &Arc<Engines>, args: &LatencyArgs) -> Result<Vec<Duration>, Problem> {
    let data: Arc<str> = "x".repeat(args.bytes).into();
    at_an_even_pace(args, |_| {
        let (engines, data) = (engines.clone(), data.clone());
        async move { engines.take_a_turn(&data).await }
    })
    .await
}

/// Does something at the rate asked for, whether or not what was begun before has ended; how long each took.
async fn at_an_even_pace<W>(args: &LatencyArgs, work: impl Fn(usize) -> W) -> Result<Vec<Duration>, Problem>
where
    W: Future<Output = Result<Duration, Problem>> + Send + 'static,
{
    let count = args.rate as usize * args.seconds as usize;
    let mut due = interval(Duration::from_secs(1) / args.rate.max(1));
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut working = JoinSet::new();
    for at in 0..count {
        due.tick().await;
        working.spawn(work(at));
    }
    working.join_all().await.into_iter().collect()
}
