//! `fanfare serve`: everything in one process, from the first check to the last answer.

use std::{net::TcpListener, sync::Arc, time::Duration};

use actix_web::{
    App, HttpServer,
    dev::{Server, ServerHandle},
    rt,
};
use fanfare_domain::publishing::Queue;
use fanfare_infra::telemetry::{self, Metrics};
use tokio::{
    runtime::{Handle, Runtime},
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};
use tracing::{error, info, warn};

use crate::{
    compose::{self, Node},
    config::Config,
    demo::{self, Demo},
    listening, ops, output,
    problem::Problem,
    public,
    readiness::Readiness,
};

/// When a process that was asked to end does so, whatever still goes on; all that was answered is on disk.
const END: Duration = Duration::from_millis(4_500);
/// How long the engine's threads may take to end after that.
const LAST: Duration = Duration::from_millis(300);
/// Threads of the stores and of delivery; what blocks is done on others.
const ENGINE_THREADS: usize = 2;
/// How often histograms are folded.
const UPKEEP: Duration = Duration::from_secs(5);

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps the server from starting, and what ended it unasked.
pub fn run(config: &Config, with_demo: bool) -> Result<(), Problem> {
    let setting_up =
        |error: telemetry::TelemetryError| Problem::new(error.to_string(), "Start the server in a process of its own.");
    telemetry::init_log(config.log, config.log_format).map_err(setting_up)?;
    let metrics = Metrics::install().map_err(setting_up)?;
    end_on_panic();
    raise_open_files();
    for variable in &config.passed_over {
        warn!("{}. {}", variable.what, variable.remedy);
    }
    let engine = engine()?;
    let node = engine.block_on(compose::compose(config))?;
    let demo = if with_demo { Some(engine.block_on(demo::prepare(&node, &config.plan_default))?) } else { None };
    let served = rt::System::new().block_on(serve(config, &node, engine.handle(), metrics, demo));
    engine.shutdown_timeout(LAST);
    served
}

/// The runtime of the stores and of delivery; that of actix is for what is served.
fn engine() -> Result<Runtime, Problem> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(ENGINE_THREADS)
        .thread_name("engine")
        .enable_all()
        .build();
    runtime.map_err(|error| {
        Problem::new(format!("the runtime cannot start: {error}"), "Raise the limits of threads and open files.")
    })
}

/// A part that broke must not leave the rest looking healthy: any panic ends the process.
fn end_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        error!(thread, "A thread panicked, so the process ends: {panic}");
        std::process::exit(1);
    }));
}

fn raise_open_files() {
    match rlimit::increase_nofile_limit(u64::MAX) {
        Ok(limit) => info!(limit, "Open files are limited to {limit}"),
        Err(error) => warn!(%error, "The limit of open files could not be raised"),
    }
}

async fn serve(
    config: &Config,
    node: &Node,
    engine: &Handle,
    metrics: Metrics,
    demo: Option<Demo>,
) -> Result<(), Problem> {
    let listener = listening::listen(config.listen, "listen", "FANFARE_LISTEN")?;
    let ops_listener = listening::listen(config.ops_listen, "ops_listen", "FANFARE_OPS_LISTEN")?;
    let (url, ops_url) = (listening::url(&listener)?, listening::url(&ops_listener)?);
    warn_of_clear_text(config);

    let (stop, stopped) = watch::channel(false);
    let readiness = Readiness::new(node.store.clone(), node.appends.clone());
    let mut worker = start_worker(node, engine, stopped.clone());
    readiness.delivering(true);
    let mut beats = rt::spawn(readiness.clone().beat(node.bus.clone(), stopped.clone()));
    rt::spawn(keep_up(metrics.clone(), stopped));
    let ops_server = ops_server(ops_listener, readiness.clone(), metrics)?;
    let heartbeat = &config.gateway.connection;
    let silence = heartbeat.ping_interval + heartbeat.pong_timeout;
    let server =
        public::serve(node, listener, config.worker_threads(), silence).map_err(|error| cannot_serve(&error))?;
    let (ops_handle, handle) = (ops_server.handle(), server.handle());
    let (mut ops_server, mut server) = (rt::spawn(ops_server), rt::spawn(server));
    let ending = ending()?;

    readiness.first_beat().await;
    output::print(&format!("Fanfare is ready: {url}\nOperations: {ops_url}\n"))?;
    if let Some(demo) = demo {
        output::print(&demo.lines(&url))?;
    }
    let unasked = tokio::select! {
        signal = ending => {
            info!("Shutting down on {signal}");
            None
        }
        _ = &mut worker => Some("the delivery worker"),
        _ = &mut beats => Some("the heartbeat of the bus"),
        _ = &mut server => Some("the server"),
        _ = &mut ops_server => Some("the operations server"),
    };
    if let Some(part) = unasked {
        readiness.delivering(false);
        error!("{part} ended unasked, so the process ends");
        return Err(Problem::new(
            format!("{part} ended unasked"),
            "Look at the last lines of the log, and start the server again.",
        ));
    }
    readiness.stop();
    if timeout(END, shut_down(node, handle, &mut worker)).await.is_err() {
        warn!("Something still went on at the end of the time for shutting down");
    }
    stop.send_replace(true);
    ops_handle.stop(false).await;
    info!("Ended");
    Ok(())
}

/// Ends in the order in which nothing is lost: sockets, requests, then what they left in the queue.
async fn shut_down(node: &Node, handle: ServerHandle, worker: &mut JoinHandle<()>) {
    node.gateway.drain().await;
    handle.stop(true).await;
    node.queue.close().await;
    // An error here is a panic, which has ended the process already.
    let _ = worker.await;
}

fn ops_server(listener: TcpListener, readiness: Arc<Readiness>, metrics: Metrics) -> Result<Server, Problem> {
    let server = HttpServer::new(move || App::new().configure(ops::routes(readiness.clone(), metrics.clone())))
        .workers(1)
        .disable_signals()
        .listen(listener)
        .map_err(|error| cannot_serve(&error))?;
    Ok(server.run())
}

fn cannot_serve(error: &std::io::Error) -> Problem {
    Problem::new(
        format!("a listener cannot be served: {error}"),
        "Raise the limit of open files, and start the server again.",
    )
}

/// Delivers, and sweeps beside it; the task ends when the queue is closed and empty.
fn start_worker(node: &Node, engine: &Handle, stopped: watch::Receiver<bool>) -> JoinHandle<()> {
    engine.spawn(fanfare_worker::sweep(node.log.clone(), node.clock.clone(), stopped));
    let delivery = fanfare_worker::deliver(Arc::new(node.queue.clone()), None, node.log.clone(), node.bus.clone());
    engine.spawn(async move { _ = delivery.await })
}

async fn keep_up(metrics: Metrics, mut stopped: watch::Receiver<bool>) {
    let mut due = tokio::time::interval(UPKEEP);
    loop {
        tokio::select! {
            _ = due.tick() => metrics.upkeep(),
            _ = stopped.wait_for(|stop| *stop) => return,
        }
    }
}

/// Ends when the process is asked to; says by which signal.
fn ending() -> Result<impl Future<Output = &'static str>, Problem> {
    let failed = |error: std::io::Error| {
        Problem::new(format!("signals cannot be waited for: {error}"), "Raise the limit of open files.")
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    })
}

fn warn_of_clear_text(config: &Config) {
    for (name, address) in [("listen", config.listen), ("ops_listen", config.ops_listen)] {
        if !address.ip().is_loopback() {
            warn!(%address, "`{name}` is reachable from other machines and speaks no TLS: credentials cross the network in the clear unless a proxy that ends TLS stands before it");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    const PROBE: &str = "PANIC_PROBE";

    #[test]
    fn a_panic_in_any_thread_ends_the_process_with_1() {
        if std::env::var_os(PROBE).is_some() {
            end_on_panic();
            let _ = std::thread::spawn(|| panic!("on purpose")).join();
            std::process::exit(0);
        }
        let own = std::env::current_exe().unwrap();
        let name = "serve::tests::a_panic_in_any_thread_ends_the_process_with_1";
        let output = Command::new(own).args(["--exact", name, "--nocapture"]).env(PROBE, "1").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
    }
}
