//! `fanfare serve`, `api`, `gateway` and `worker`: a process from the first check to the last answer.

use std::{
    future::pending,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{
    dev::{Server, ServerHandle},
    rt,
};
use fanfare_domain::{deliveries::Recorder, peers::PlainHttp};
use fanfare_gateway::Gateway;
use fanfare_infra::telemetry::{self, Metrics, Spans};
use tokio::{runtime::Handle, sync::watch, task::JoinHandle, time::timeout};
use tracing::{error, info, warn};

use crate::{
    compose::{self, Node},
    config::Config,
    delivery::Delivering,
    demo::{self, Demo},
    faults, listening, ops, output,
    problem::Problem,
    process::{self, Ending, Endings},
    public,
    readiness::Readiness,
    role::Role,
    secured::Secured,
    webhooks::Desk,
};

/// When a process that was asked to end lets go of what still goes on, counted from the end of its drain; all that was answered is durable. The
/// rest of the 5 s that are promised is for what comes after.
const END: Duration = Duration::from_secs(4);
/// How long of that time sockets may take that were sent away already.
const LAST_SOCKETS: Duration = Duration::from_millis(2_500);
/// How long of that time it may take to tell the other nodes that this one ends; who is not told finds out by leases.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How long the listener of operations may take to close after that.
const LAST_LOOK: Duration = Duration::from_millis(200);
/// How long the last spans may take of that time, and where nothing of it is left.
const SPANS: Duration = Duration::from_secs(2);
const LAST_SPANS: Duration = Duration::from_millis(100);
/// How long the engine's threads may take to end after that.
const LAST: Duration = Duration::from_millis(300);

/// What `serve` makes for those who try it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extras {
    /// A tenant, an app and a key.
    pub demo: bool,
    /// A certificate.
    pub dev_tls: bool,
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps the process from starting, and what ended it unasked.
pub fn run(config: &Config, role: Role, extras: Extras) -> Result<(), Problem> {
    let setting_up =
        |error: telemetry::TelemetryError| Problem::new(error.to_string(), "Start the server in a process of its own.");
    let mut spans = telemetry::init(config.log, config.log_format, config.otlp(role).as_ref()).map_err(setting_up)?;
    let metrics = Metrics::install().map_err(setting_up)?;
    process::end_on_panic();
    process::raise_open_files();
    for variable in &config.passed_over {
        warn!("{}. {}", variable.what, variable.remedy);
    }
    if config.gateway.faults {
        faults::require_loopback(config)?;
        warn!("Faults can be made with POST /test/faults on the operations listener: this server is for tests");
    }
    let secured = Secured::read(config, role, extras)?;
    let engine = process::engine()?;
    spans.start(engine.handle());
    let stop = watch::Sender::new(false);
    let node = engine.block_on(compose::compose(config, role, &stop.subscribe()))?;
    let secured = secured.made(config, &node.home)?;
    let demo = if extras.demo { Some(engine.block_on(demo::prepare(&node, &config.plan_default))?) } else { None };
    let served = rt::System::new().block_on(serve(
        config,
        node,
        engine.handle(),
        metrics,
        Prepared { secured, demo },
        stop,
        spans,
    ));
    engine.shutdown_timeout(LAST);
    served
}

/// What was made before anything listens.
struct Prepared {
    secured: Secured,
    demo: Option<Demo>,
}

/// The parts of a process that serves.
struct Running {
    readiness: Arc<Readiness>,
    gateway: Option<Gateway>,
    recorder: Option<Recorder>,
    desk: Option<Desk>,
    public: Option<Serving>,
    redirecting: Option<Serving>,
    ops: Serving,
    delivering: Option<Delivering>,
    /// What is printed once it is ready.
    lines: String,
}

/// A server that runs.
struct Serving {
    task: JoinHandle<std::io::Result<()>>,
    handle: ServerHandle,
}

impl Serving {
    fn start(server: Server) -> Self {
        let handle = server.handle();
        Self { task: rt::spawn(server), handle }
    }
}

async fn serve(
    config: &Config,
    node: Node,
    engine: &Handle,
    metrics: Metrics,
    prepared: Prepared,
    stop: watch::Sender<bool>,
    spans: Spans,
) -> Result<(), Problem> {
    let mut endings = Endings::listen()?;
    rt::spawn(process::keep_up(metrics.clone(), stop.subscribe()));
    // Held to the end: it locks the data folder.
    let _data_dir = node.data_dir.clone();
    prepared.secured.keep_fresh(engine, &stop);
    let mut running = start(config, node, engine, metrics, prepared)?;
    let ending = tokio::select! {
        ending = endings.next() => ending,
        ended = run_on(&mut running, &stop) => return ended,
    };
    info!("Shutting down on {}", if ending == Ending::InTime { "SIGTERM" } else { "SIGINT" });
    running.readiness.stop();
    if let Some(gateway) = &running.gateway {
        drain(gateway, config.gateway.drain_window, ending, &mut endings).await;
    }
    let begun = Instant::now();
    let ops = running.ops.handle.clone();
    if timeout(END, shut_down(running)).await.is_err() {
        warn!("Something still went on at the end of the time for shutting down");
    }
    stop.send_replace(true);
    if timeout(LAST_LOOK, ops.stop(false)).await.is_err() {
        warn!("The operations listener did not close in time");
    }
    spans.end(END.saturating_sub(begun.elapsed()).clamp(LAST_SPANS, SPANS)).await;
    info!("Ended");
    Ok(())
}

/// Listens and starts everything.
fn start(
    config: &Config,
    node: Node,
    engine: &Handle,
    metrics: Metrics,
    prepared: Prepared,
) -> Result<Running, Problem> {
    let Prepared { secured, demo } = prepared;
    let has_public = node.services.is_some() || node.gateway.is_some();
    let listener = has_public.then(|| listening::listen(config.listen, "listen", "FANFARE_LISTEN")).transpose()?;
    let ops_listener = listening::listen(config.ops_listen, "ops_listen", "FANFARE_OPS_LISTEN")?;
    let ops_url = listening::url(&ops_listener, "http")?;
    // A process without a public address is known by its only one.
    let url = match &listener {
        Some(listener) => listening::url(listener, secured.scheme())?,
        None => ops_url.clone(),
    };
    let redirecting = secured.redirect(config, listener.as_ref())?;
    warn_of_clear_text(config, has_public && secured.tls.is_none());

    let delivering = node.delivery.map(|delivery| delivery.start(engine));
    for task in node.tasks {
        engine.spawn(task);
    }
    let faults = node.gateway.as_ref().and_then(|gateway| gateway.faults().cloned());
    let ops = ops::serve(ops_listener, node.readiness.clone(), metrics, faults);
    let ops = ops.map_err(|error| cannot_serve(&error))?;
    let public = match listener {
        Some(listener) => {
            let arrivals = secured.arrivals(config);
            let tls = secured.tls.clone();
            let server = public::serve(node.gateway.clone(), node.services, listener, config, tls, &arrivals);
            Some(Serving::start(server.map_err(|error| cannot_serve(&error))?))
        }
        None => None,
    };
    let mut lines = format!("Fanfare is ready: {url}\nOperations: {ops_url}\n");
    lines.push_str(&secured.lines(&url));
    if let Some(demo) = demo {
        lines.push_str(&demo.lines(&url, secured.ca()));
    }
    let ops = Serving::start(ops);
    let redirecting = redirecting.map(Serving::start);
    let (readiness, gateway, recorder, desk) = (node.readiness, node.gateway, node.recorder, node.desk);
    Ok(Running { readiness, gateway, recorder, desk, public, redirecting, ops, delivering, lines })
}

/// Says that it is ready once it is, and goes on until a part ends that should not.
async fn run_on(running: &mut Running, stop: &watch::Sender<bool>) -> Result<(), Problem> {
    let Running { readiness, public, redirecting, ops, delivering, lines, .. } = running;
    let ready = async {
        readiness.first().await;
        output::print(lines)?;
        readiness.clone().log_changes(stop.subscribe()).await;
        pending().await
    };
    let part = tokio::select! {
        failed = ready => return failed,
        () = async { match delivering {
            Some(delivering) => delivering.ended().await,
            None => pending().await,
        }} => "the delivery worker",
        () = async { match public {
            Some(public) => drop((&mut public.task).await),
            None => pending().await,
        }} => "the server",
        () = async { match redirecting {
            Some(redirecting) => drop((&mut redirecting.task).await),
            None => pending().await,
        }} => "the redirecting server",
        _ = &mut ops.task => "the operations server",
    };
    error!("{part} ended unasked, so the process ends");
    Err(Problem::new(format!("{part} ended unasked"), "Look at the last lines of the log, and start the server again."))
}

/// Sends the gateway's clients away, spread over the window; everything else goes on meanwhile. Another signal sends away who is left.
async fn drain(gateway: &Gateway, window: Duration, ending: Ending, endings: &mut Endings) {
    let window = if ending == Ending::InTime { window } else { Duration::ZERO };
    gateway.drain(window);
    tokio::select! {
        _ = timeout(window, gateway.drained()) => {}
        _ = endings.next() => {
            info!("Shutting down at once on another signal");
            gateway.drain(Duration::ZERO);
        }
    }
}

/// Ends in the order in which nothing is lost: sockets, requests, then what they left in the queue.
async fn shut_down(running: Running) {
    if let Some(redirecting) = running.redirecting {
        redirecting.handle.stop(false).await;
    }
    if let Some(gateway) = running.gateway {
        if timeout(LAST_SOCKETS, gateway.drained()).await.is_err() {
            warn!(sockets = gateway.sockets(), "Sockets were still open at the end of the drain");
        }
        // A Redis that does not answer must not keep the queue from being handed over.
        let trace = async {
            if let Some(recorder) = &running.recorder {
                drop(recorder.retire().await);
            }
        };
        let notes = async {
            if let Some(desk) = &running.desk {
                desk.clear(LAST_WORDS).await;
            }
        };
        let _ = timeout(LAST_WORDS, async { tokio::join!(gateway.retire(), gateway.withdraw(), trace, notes) }).await;
    }
    if let Some(public) = running.public {
        public.handle.stop(true).await;
    }
    if let Some(delivering) = running.delivering {
        delivering.end().await;
    }
}

fn cannot_serve(error: &std::io::Error) -> Problem {
    Problem::new(
        format!("a listener cannot be served: {error}"),
        "Raise the limit of open files, and start the server again.",
    )
}

/// `is_plain` says whether there is a public listener without TLS.
fn warn_of_clear_text(config: &Config, is_plain: bool) {
    if is_plain && !config.listen.ip().is_loopback() {
        match config.trust().plain_http {
            PlainHttp::Allow => {
                warn!(address = %config.listen, "`listen` is reachable from other machines and speaks no TLS: credentials cross the network in the clear unless something that ends TLS stands before it");
            }
            PlainHttp::Loopback => {
                warn!(address = %config.listen, "`listen` is reachable from other machines and speaks no TLS: credentials that come from them in the clear are refused, unless a trusted proxy says that they came over TLS");
            }
        }
    }
    if !config.ops_listen.ip().is_loopback() {
        warn!(address = %config.ops_listen, "`ops_listen` is reachable from other machines: what it tells crosses the network in the clear");
    }
}
