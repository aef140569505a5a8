//! A tenant that offers many times its rate, beside one that publishes steadily: how much later the steady one's messages arrive.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use clap::Args;
use reqwest::StatusCode;
use serde_json::json;
use tokio::{
    sync::{Mutex, mpsc, watch},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, sleep_until, timeout},
};

use crate::{
    clients::{Follower, Problem, Tenant},
    quantiles::{median, quantile},
};

/// The channel that each tenant publishes to.
const CHANNEL: &str = "bench:flood";
/// The golden section.
const GOLDEN: f64 = 0.618_033_988_749_895;
/// How long what was published last may take to arrive.
const ARRIVAL: Duration = Duration::from_secs(20);

#[derive(Debug, Args)]
pub struct FloodArgs {
    /// Pairs of a quiet and a flooded window, in turn
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Seconds of each window
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Messages a second of the steady tenant
    #[arg(long, default_value_t = 100)]
    steady: u32,
    /// Sockets that follow the steady tenant's channel
    #[arg(long, default_value_t = 5)]
    followers: usize,
    /// Messages a second that the flooding tenant offers: ten times the rate of the plan `default`
    #[arg(long, default_value_t = 10_000)]
    flood: u32,
    /// Messages of one request of the flooding tenant
    #[arg(long, default_value_t = 100)]
    flood_batch: u32,
}

/// What came of one window.
struct Window {
    /// When the steady tenant's publishes were answered.
    answered_p99: Duration,
    p50: Duration,
    p99: Duration,
    delivered: usize,
    admitted: u64,
    refused: u64,
}

/// Runs the pairs and prints them.
///
/// # Errors
/// The server cannot be used, or a message did not arrive.
pub async fn run(url: &str, args: &FloodArgs) -> Result<(), Problem> {
    let steady = Tenant::sign_up(url, "steady").await?;
    let flooding = Tenant::sign_up(url, "flooding").await?;
    let begun = Instant::now();
    let (arrived, mut arrivals) = mpsc::unbounded_channel();
    for _ in 0..args.followers {
        tokio::spawn(follow(steady.follow(CHANNEL).await?, begun, arrived.clone()));
    }
    // Not measured: connections, caches and statements are made ready.
    window(&steady, None, args, begun, &mut arrivals).await?;

    println!(
        "| pair | window | delivered | answered p99 | p50 | p99 | flood admitted | flood refused |\n|---|---|---|---|---|---|---|---|"
    );
    let (mut quiet, mut flooded) = (Vec::new(), Vec::new());
    for pair in 1..=args.pairs {
        for (name, flood, p99s) in [("quiet", None, &mut quiet), ("flooded", Some(&flooding), &mut flooded)] {
            let window = window(&steady, flood, args, begun, &mut arrivals).await?;
            p99s.push(window.p99);
            let Window { answered_p99, p50, p99, delivered, admitted, refused } = window;
            let [answered_p99, p50, p99] = [answered_p99, p50, p99].map(millis);
            println!("| {pair} | {name} | {delivered} | {answered_p99} | {p50} | {p99} | {admitted} | {refused} |");
        }
    }
    let (Some(quiet), Some(flooded)) = (median(quiet), median(flooded)) else {
        return Err("there were no pairs".to_owned());
    };
    println!(
        "\nMedian p99: quiet {}, flooded {}, ratio {:.2}",
        millis(quiet),
        millis(flooded),
        flooded.as_secs_f64() / quiet.as_secs_f64()
    );
    Ok(())
}

fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1_000.0)
}

/// Notes how long each message took, whose data is when it was sent, in µs since the run began.
async fn follow(mut follower: Follower, begun: Instant, arrived: mpsc::UnboundedSender<Result<Duration, Problem>>) {
    loop {
        let latency = follower.next().await.map(|data| {
            let sent = Duration::from_micros(data["sent"].as_u64().unwrap_or(0));
            begun.elapsed().saturating_sub(sent)
        });
        let ends = latency.is_err();
        if arrived.send(latency).is_err() || ends {
            return;
        }
    }
}

async fn window(
    steady: &Tenant,
    flooding: Option<&Tenant>,
    args: &FloodArgs,
    begun: Instant,
    arrivals: &mut mpsc::UnboundedReceiver<Result<Duration, Problem>>,
) -> Result<Window, Problem> {
    let flood = flooding.map(|tenant| Flood::start(tenant, args));
    let mut answered = publish_steadily(steady, args, begun).await?;
    let expected = answered.len() * args.followers;
    let mut latencies = Vec::with_capacity(expected);
    while latencies.len() < expected {
        match timeout(ARRIVAL, arrivals.recv()).await {
            Ok(Some(latency)) => latencies.push(latency?),
            _ => return Err(format!("{} of {expected} messages arrived", latencies.len())),
        }
    }
    let (admitted, refused) = match flood {
        Some(flood) => flood.stop().await?,
        None => (0, 0),
    };
    latencies.sort_unstable();
    answered.sort_unstable();
    let at = |sorted, per_mille| quantile(sorted, per_mille).ok_or_else(|| "nothing was published".to_owned());
    let (answered_p99, p50, p99) = (at(&answered, 990)?, at(&latencies, 500)?, at(&latencies, 990)?);
    Ok(Window { answered_p99, p50, p99, delivered: latencies.len(), admitted, refused })
}

/// Publishes at an even rate, whether or not answers are late; gives how late each was.
///
/// Each is sent at another part of its turn, all parts as often as one another (a golden section on from the one before): else all that the flood does at
/// its own even rate would meet either none of them or as many as there are.
async fn publish_steadily(steady: &Tenant, args: &FloodArgs, begun: Instant) -> Result<Vec<Duration>, Problem> {
    let count = args.steady as usize * args.seconds as usize;
    let (turn, first) = (Duration::from_secs(1) / args.steady.max(1), tokio::time::Instant::now());
    let mut sending = Vec::with_capacity(count);
    for number in 0..count {
        let part = (number as f64 * GOLDEN).fract();
        sleep_until(first + turn.mul_f64(number as f64 + part)).await;
        let tenant = steady.clone();
        let data = json!({"sent": u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX)});
        sending.push(tokio::spawn(async move {
            let sent = Instant::now();
            tenant.publish(CHANNEL, &data).await.map(|status| (status, sent.elapsed()))
        }));
    }
    let mut answered = Vec::with_capacity(count);
    for sent in sending {
        let (status, after) = sent.await.map_err(|lost| lost.to_string())??;
        if status != StatusCode::ACCEPTED {
            return Err(format!("a steady publish was answered {status}"));
        }
        answered.push(after);
    }
    Ok(answered)
}

fn paced(per_s: u32) -> tokio::time::Interval {
    let mut due = interval(Duration::from_secs(1) / per_s.max(1));
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    due
}

/// Requests that may be under way at a time; past them the flood waits, as a client with so many connections would.
const FLOOD_CONNECTIONS: usize = 16;

struct Flood {
    stop: watch::Sender<bool>,
    running: Vec<JoinHandle<Result<(u64, u64), Problem>>>,
}

impl Flood {
    fn start(tenant: &Tenant, args: &FloodArgs) -> Self {
        let (stop, stopped) = watch::channel(false);
        let due = Arc::new(Mutex::new(paced((args.flood / args.flood_batch.max(1)).max(1))));
        let running = (0..FLOOD_CONNECTIONS)
            .map(|_| tokio::spawn(flood(tenant.clone(), args.flood_batch as usize, Arc::clone(&due), stopped.clone())))
            .collect();
        Self { stop, running }
    }

    /// How many messages were admitted and refused.
    async fn stop(self) -> Result<(u64, u64), Problem> {
        self.stop.send_replace(true);
        let mut sum = (0, 0);
        for one in self.running {
            let (admitted, refused) = one.await.map_err(|lost| lost.to_string())??;
            sum = (sum.0 + admitted, sum.1 + refused);
        }
        Ok(sum)
    }
}

async fn flood(
    tenant: Tenant,
    batch: usize,
    due: Arc<Mutex<tokio::time::Interval>>,
    stopped: watch::Receiver<bool>,
) -> Result<(u64, u64), Problem> {
    let items = vec![json!({"channel": CHANNEL, "data": "x".repeat(100)}); batch];
    let body = Bytes::from(json!({"messages": items}).to_string());
    let (mut admitted, mut refused) = (0, 0);
    while !*stopped.borrow() {
        due.lock().await.tick().await;
        match tenant.publish_batch(body.clone()).await? {
            StatusCode::TOO_MANY_REQUESTS => refused += batch as u64,
            status if status.is_success() => admitted += batch as u64,
            status => return Err(format!("the flood was answered {status}")),
        }
    }
    Ok((admitted, refused))
}
