//! A run: its parameters, its faults one round after the other, and the proof in the end.

use std::{
    collections::{BTreeMap, HashMap},
    env,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use rand::{SeedableRng, rngs::StdRng};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{self, timeout, timeout_at},
};

use super::{
    checker::{self, Caller, Delivered, Evidence},
    faults::Deck,
    figures::Figures,
    links::PING,
    presence::{MEMBERS, Member, OBSERVERS, Observer, settle},
    publishers,
    stage::{Phase, Stage},
    subscribers::{Followed, Subscriber},
    targets::Targets,
};
use crate::harness::{
    nodes::{Fleet, Node, Production},
    tenants::Tenant,
};

const PARTITIONS: u16 = 8;
const PUBLISHERS: usize = 6;
/// Four by each transport.
const SUBSCRIBERS: usize = 12;
const CHANNELS: usize = 6;
/// How long what is stopped or cut off stays so.
const AWAY: Duration = Duration::from_secs(10);
/// Everything must be delivered everywhere again this long after a fault is over.
const RECOVERY: Duration = Duration::from_secs(60);
/// Rounds of a long run after which everybody must agree on who is present; every run does so in the end.
const SETTLING: usize = 12;
/// Faults of a run that no length is given for: the whole deck.
const FAULTS: usize = 24;
/// The seed of a run that none is given for.
const SEED: u64 = 20;

/// How long a run is, and what chance is made from.
struct Plan {
    seed: u64,
    faults: usize,
    until: Option<Instant>,
}

impl Plan {
    /// `CHAOS_MINUTES` and `CHAOS_SEED`; without minutes, as many faults as fit into a few minutes.
    fn from_env() -> Self {
        let number =
            |name| env::var(name).ok().map(|text| text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is a number")));
        let minutes = number("CHAOS_MINUTES");
        let until = minutes.map(|minutes| Instant::now() + Duration::from_secs(60 * minutes));
        Self { seed: number("CHAOS_SEED").unwrap_or(SEED), faults: FAULTS, until }
    }

    fn is_over(&self, faults: usize) -> bool {
        self.until.map_or(faults >= self.faults, |until| Instant::now() >= until)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_ends_dies_stops_or_is_cut_everything_accepted_arrives_once_and_in_order() {
    let plan = Plan::from_env();
    println!("chaos with CHAOS_SEED={}", plan.seed);
    let fleet = Fleet::start(Production::private(PARTITIONS).await, |options| {
        options.env("FANFARE_GATEWAY_CONNECTION_PING_INTERVAL", &format!("{}s", PING.as_secs()))
    })
    .await;
    let stage = stage(&fleet).await;
    let targets = Targets::new(fleet, AWAY);
    let subscribers = begin(&stage, SUBSCRIBERS, |n, begun| Subscriber::new(Arc::clone(&stage), n).follow(begun)).await;
    begin(&stage, MEMBERS, |n, begun| Member::new(Arc::clone(&stage), n, plan.seed).live(begun)).await;
    begin(&stage, OBSERVERS, |n, begun| Observer::new(Arc::clone(&stage), n, plan.seed).observe(begun)).await;
    let publishers: Vec<_> =
        (0..PUBLISHERS).map(|n| tokio::spawn(publishers::publish(Arc::clone(&stage), n))).collect();
    let outcome = tokio::select! {
        outcome = go(&plan, &stage, &targets, publishers, subscribers) => outcome,
        complaint = stage.complained() => Err(complaint),
        () = stage.presence.watch_the_clock() => Err("the clock ended".to_owned()),
    };
    match outcome {
        Ok(table) => println!("{table}"),
        Err(violation) => {
            let folder = env::temp_dir().join(format!("fanfare-chaos-{}", plan.seed));
            targets.keep_logs(&folder).await;
            panic!("CHAOS_SEED={}: {violation}\nThe nodes' logs are in {}", plan.seed, folder.display());
        }
    }
}

async fn stage(fleet: &Fleet) -> Arc<Stage> {
    let tenant = Tenant::sign_up(&fleet.apis[0]).await;
    let year = json!({"history": {"retention_s": 31_536_000}});
    tenant.rule("chaos", year).await;
    let urls = |nodes: &[Node]| nodes.iter().map(|node| node.url().to_owned()).collect();
    let channels = (0..CHANNELS).map(|n| format!("chaos:{n}")).collect();
    Arc::new(Stage::new(tenant, [urls(&fleet.apis), urls(&fleet.gateways)], channels, SUBSCRIBERS))
}

/// Starts so many of a kind, and waits until each has begun: it lets go of what it was given then.
async fn begin<T, F>(stage: &Stage, count: usize, one: impl Fn(usize, mpsc::Sender<()>) -> F) -> Vec<JoinHandle<T>>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let (begun, mut all) = mpsc::channel(1);
    let tasks = (0..count).map(|n| tokio::spawn(one(n, begun.clone()))).collect();
    drop(begun);
    assert_eq!(timeout(RECOVERY, all.recv()).await, Ok(None), "all begin: {:?}", stage.complaint());
    tasks
}

/// From the first publish to the proof; gives the figures or the first violation.
async fn go(
    plan: &Plan,
    stage: &Stage,
    targets: &Targets,
    publishers: Vec<JoinHandle<Caller>>,
    subscribers: Vec<JoinHandle<Followed>>,
) -> Result<String, String> {
    stage.phase.send_replace(Phase::During);
    timeout(RECOVERY, stage.delivers()).await.map_err(|_| "nothing is delivered before the first fault")?;
    let (figures, healed) = strike(plan, stage, targets).await?;
    stage.phase.send_replace(Phase::Ending);
    let callers = all(publishers, "a publisher").await?;
    settle(stage, healed).await?;
    let histories = histories(stage).await;
    let heads: HashMap<_, _> = histories.iter().map(|(name, items)| (name.clone(), items.len() as u64)).collect();
    stage.phase.send_replace(Phase::Over(heads));
    let followed = all(subscribers, "a subscriber").await?;
    let subscriptions = followed.iter().flat_map(|one| one.subscriptions.iter().cloned()).collect();
    let evidence = Evidence { callers, subscriptions, histories };
    let checked = checker::check(&evidence).map_err(|violation| violation.to_string())?;
    Ok(figures.table(&checked, &followed, &stage.presence.figures()))
}

/// Round after round of faults, each begun when everything is delivered everywhere again. Gives also when the last one was over.
async fn strike(plan: &Plan, stage: &Stage, targets: &Targets) -> Result<(Figures, time::Instant), String> {
    let begun = Instant::now();
    let (mut deck, mut figures) = (Deck::new(StdRng::seed_from_u64(plan.seed)), Figures::default());
    let mut healed = time::Instant::now();
    for round in 1.. {
        let faults = deck.deal();
        let names: Vec<_> = faults.iter().map(ToString::to_string).collect();
        let what = names.join(" and ");
        let at = begun.elapsed().as_secs();
        faults.iter().for_each(|fault| stage.presence.struck(fault));
        targets.strike(&faults).await;
        let struck = time::Instant::now();
        let recovered = async {
            stage.delivers().await;
            struck.elapsed()
        };
        let heal = async {
            targets.heal(&faults).await;
            faults.iter().for_each(|fault| stage.presence.healed(fault));
            healed = time::Instant::now();
        };
        let (recovery, ()) = tokio::join!(timeout_at(struck + RECOVERY, recovered), heal);
        let recovery = recovery.map_err(|_| format!("not everything is delivered {RECOVERY:?} after: {what}"))?;
        let accepted = stage.accepted.load(Ordering::SeqCst);
        println!("{at:>5} s: {what}; recovered in {:.1} s; {accepted} accepted", recovery.as_secs_f64());
        let kind = if faults.len() == 1 { what } else { "two of these at once".to_owned() };
        figures.count(kind, faults.len(), recovery);
        if plan.is_over(figures.faults()) {
            break;
        }
        if plan.until.is_some() && round % SETTLING == 0 {
            settle(stage, healed).await?;
        }
    }
    Ok((figures, healed))
}

/// Waits for tasks that have nothing left to wait for.
async fn all<T>(tasks: Vec<JoinHandle<T>>, who: &str) -> Result<Vec<T>, String> {
    let mut done = Vec::with_capacity(tasks.len());
    for task in tasks {
        let ended = timeout(RECOVERY, task).await.map_err(|_| format!("{who} did not get all it waits for"))?;
        done.push(ended.map_err(|panic| format!("{who} panicked: {panic}"))?);
    }
    Ok(done)
}

async fn histories(stage: &Stage) -> BTreeMap<String, Vec<Delivered>> {
    let mut histories = BTreeMap::new();
    for channel in &stage.channels {
        histories.insert(channel.clone(), history(&stage.tenant, channel).await);
    }
    histories
}

async fn history(tenant: &Tenant, channel: &str) -> Vec<Delivered> {
    let mut items = Vec::new();
    loop {
        let after = items.last().map_or(0, |item: &Delivered| item.serial);
        let path = format!("/v1/channels/{channel}/messages?after={after}&limit=1000");
        let page = tenant.data(Method::GET, &path, Value::Null).await.expect(StatusCode::OK);
        items.extend(page["items"].as_array().expect("items").iter().map(delivered));
        if page["more"] != true {
            return items;
        }
    }
}

fn delivered(item: &Value) -> Delivered {
    let id = item["id"].as_str().unwrap_or_default().to_owned();
    Delivered { serial: item["serial"].as_u64().unwrap_or_default(), id, payload: item["data"].to_string() }
}
