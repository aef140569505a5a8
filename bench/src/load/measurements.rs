//! One scenario against one server: connect, publish, and see what came and what it cost.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;

use super::{
    crowds::{Crowd, Signs},
    dialects::Dialect,
    latencies::Latencies,
    looks::Look,
    processes::{Role, Used},
    publishers::Publishers,
    requests::Publishing,
    scenarios::Scenario,
    sequences::Faults,
};
use crate::clients::Problem;

/// How long it may take until everybody is connected.
const CONNECTING: Duration = Duration::from_secs(180);
/// How long nothing must have come before it is taken that nothing more will.
const QUIET: Duration = Duration::from_millis(700);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// A server under measure, and how it is spoken to.
#[derive(Debug, Clone)]
pub struct Target {
    /// What it is called in a table.
    pub name: String,
    pub dialect: Dialect,
    pub publishing: Publishing,
    /// Where subscribers connect, in turn.
    pub subscribe: Vec<SocketAddr>,
    /// Where publishers connect.
    pub publish: SocketAddr,
    /// Its processes; without any, nothing is told of what it used.
    pub roles: Vec<Role>,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    pub scenario: String,
    pub target: String,
    /// What the subscribers spoke.
    pub clients: &'static str,
    pub connections: usize,
    /// Connections that the server ended.
    pub ended: usize,
    /// Why, of the first of them.
    pub problem: Option<Problem>,
    /// From the first connection to the last one that follows its channel.
    pub connect_seconds: f64,
    /// The servers' processor time for each of them.
    pub cpu_us_per_connect: Option<f64>,
    /// Memory of the servers' processes (RSS) before them.
    pub memory_before_bytes: u64,
    /// By how much that has grown for each of them.
    pub memory_bytes_per_connection: Option<f64>,
    /// By how much more it has grown for each further channel that a connection follows.
    pub memory_bytes_per_channel: Option<f64>,
    /// Processor time for each of those.
    pub cpu_us_per_channel: Option<f64>,
    /// The servers' processor time in the measured window, in hundredths of a core.
    pub cpu_percent: Option<f64>,
    /// That of everything else but this program, from the first connection to the end of the window: what disturbed it, if it is much.
    pub others_cpu_percent: f64,
    /// Absent where nothing is published.
    pub traffic: Option<Traffic>,
}

/// What was published and delivered in the measured window.
#[derive(Debug, Clone, Serialize)]
pub struct Traffic {
    pub seconds: f64,
    pub published: u64,
    pub delivered: u64,
    pub publishes_per_s: f64,
    pub deliveries_per_s: f64,
    /// From before a publish is sent until a subscriber has read the message.
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
    /// Until a publish was answered, warm-up included.
    pub answer_p50_us: Option<f64>,
    pub answer_p99_us: Option<f64>,
    /// The servers' processor time, all of it, divided by the deliveries.
    pub cpu_us_per_delivery: Option<f64>,
    /// The same, divided by the publishes.
    pub cpu_us_per_publish: Option<f64>,
    /// The processor time of each role, divided by the deliveries.
    pub cpu_us_per_delivery_of: BTreeMap<String, f64>,
    /// That of this program.
    pub client_cpu_us_per_delivery: f64,
    #[serde(flatten)]
    pub faults: Faults,
}

/// Runs a scenario against a target.
///
/// # Errors
/// Somebody cannot connect or publish, or a process is gone.
pub fn measure(scenario: &Scenario, target: &Target) -> Result<Measured, Problem> {
    let begun = Instant::now();
    let before = Look::at(&target.roles)?;
    let crowd = Crowd::start(scenario, &target.dialect, &target.subscribe, begun);
    let signs = Arc::clone(&crowd.signs);
    until_answered(&signs, scenario.connections)?;
    let connect_seconds = begun.elapsed().as_secs_f64();
    // Before what is done afterwards by itself; the look after the settling is for the memory.
    let connected = Look::at(&target.roles)?;
    thread::sleep(Duration::from_secs_f64(scenario.settle_seconds));
    let settled = Look::at(&target.roles)?;
    let connections = scenario.connections as u64;
    let mut measured = Measured {
        scenario: scenario.name.clone(),
        target: target.name.clone(),
        clients: target.dialect.name(),
        connections: scenario.connections,
        ended: 0,
        problem: None,
        connect_seconds,
        cpu_us_per_connect: connected.cpu_us(&before, connections),
        memory_before_bytes: before.memory(),
        memory_bytes_per_connection: settled.growth(&before, connections),
        memory_bytes_per_channel: None,
        cpu_us_per_channel: None,
        cpu_percent: None,
        others_cpu_percent: 0.0,
        traffic: None,
    };
    if scenario.channels_per_connection > 1 {
        signs.grows.store(true, Relaxed);
        until_answered(&signs, 2 * scenario.connections)?;
        let followed = Look::at(&target.roles)?;
        thread::sleep(Duration::from_secs_f64(scenario.settle_seconds));
        let more = connections * (scenario.channels_per_connection as u64 - 1);
        measured.cpu_us_per_channel = followed.cpu_us(&settled, more);
        measured.memory_bytes_per_channel = Look::at(&target.roles)?.growth(&settled, more);
    }
    let window = window(scenario, target, crowd, begun)?;
    measured.cpu_percent = window.cpu_percent;
    measured.others_cpu_percent = window.last.others_percent(&before);
    measured.traffic = window.traffic;
    measured.ended = signs.ended.load(Relaxed);
    measured.problem = signs.problem();
    Ok(measured)
}

struct Window {
    /// At its end.
    last: Look,
    cpu_percent: Option<f64>,
    traffic: Option<Traffic>,
}

fn window(scenario: &Scenario, target: &Target, crowd: Crowd, begun: Instant) -> Result<Window, Problem> {
    let signs = Arc::clone(&crowd.signs);
    let publishing =
        scenario.publishes().then(|| Publishers::start(scenario, &target.publishing, target.publish, begun, &signs));
    let counts = || {
        let published = publishing.as_ref().map_or(0, |publishers| publishers.flow.published.load(Relaxed));
        (published, signs.delivered.load(Relaxed))
    };
    let pass = |seconds: f64| {
        let until = Instant::now() + Duration::from_secs_f64(seconds);
        while Instant::now() < until && !publishing.as_ref().is_some_and(Publishers::failed) {
            thread::sleep(until.saturating_duration_since(Instant::now()).min(Duration::from_millis(100)));
        }
    };
    pass(scenario.warm_up_seconds);
    signs.recording.store(true, Relaxed);
    let (first, counted_first) = (Look::at(&target.roles)?, counts());
    pass(scenario.seconds);
    let (last, counted_last) = (Look::at(&target.roles)?, counts());
    signs.recording.store(false, Relaxed);
    let span = last.at.duration_since(first.at).as_micros() as u64;
    let cpu_percent = last.cpu_us(&first, span).map(|share| share * 100.0);
    let Some(publishing) = publishing else {
        crowd.stop()?;
        return Ok(Window { last, cpu_percent, traffic: None });
    };
    let published = publishing.stop()?;
    until_quiet(&signs);
    let seen = crowd.stop()?;
    let sums = Sums { published: counted_last.0 - counted_first.0, delivered: counted_last.1 - counted_first.1 };
    let faults = seen.faults(scenario, &published.streams);
    let traffic = Some(sums.traffic([&first, &last], &seen.latencies, &published.answers, faults));
    Ok(Window { last, cpu_percent, traffic })
}

struct Sums {
    published: u64,
    delivered: u64,
}

impl Sums {
    fn traffic(self, [first, last]: [&Look; 2], latencies: &Latencies, answers: &Latencies, faults: Faults) -> Traffic {
        let Self { published, delivered } = self;
        let seconds = last.at.duration_since(first.at).as_secs_f64();
        let at = |latencies: &Latencies, per_mille| latencies.quantile(per_mille).map(micros);
        let own = last.own.cpu.saturating_sub(first.own.cpu);
        let of = |(role, used): (&String, &Used)| {
            let before = first.roles.get(role)?;
            Some((role.clone(), micros(used.cpu.saturating_sub(before.cpu)) / delivered.max(1) as f64))
        };
        Traffic {
            seconds,
            published,
            delivered,
            publishes_per_s: published as f64 / seconds,
            deliveries_per_s: delivered as f64 / seconds,
            p50_us: at(latencies, 500).unwrap_or(0.0),
            p99_us: at(latencies, 990).unwrap_or(0.0),
            p999_us: at(latencies, 999).unwrap_or(0.0),
            max_us: micros(latencies.max()),
            answer_p50_us: at(answers, 500),
            answer_p99_us: at(answers, 990),
            cpu_us_per_delivery: last.cpu_us(first, delivered),
            cpu_us_per_publish: last.cpu_us(first, published),
            cpu_us_per_delivery_of: last.roles.iter().filter_map(of).collect(),
            client_cpu_us_per_delivery: micros(own) / delivered.max(1) as f64,
            faults,
        }
    }
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// Waits until so many answers have come, one for each connection and round.
fn until_answered(signs: &Signs, answers: usize) -> Result<(), Problem> {
    let begun = Instant::now();
    while signs.answered.load(Relaxed) < answers {
        if signs.ended.load(Relaxed) > 0 {
            return Err(format!("a subscriber was lost: {}", signs.problem().unwrap_or_default()));
        }
        if begun.elapsed() > CONNECTING {
            return Err(format!("{} of {answers} were answered in {CONNECTING:?}", signs.answered.load(Relaxed)));
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// Waits until nothing has come for a while.
fn until_quiet(signs: &Signs) {
    let (mut delivered, mut since) = (signs.delivered.load(Relaxed), Instant::now());
    while since.elapsed() < QUIET {
        thread::sleep(LOOK_EVERY);
        let now = signs.delivered.load(Relaxed);
        if now != delivered {
            (delivered, since) = (now, Instant::now());
        }
    }
}
