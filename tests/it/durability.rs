//! D1: what was answered 2xx is on disk, whatever kills the process.

use std::{
    collections::HashMap,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    sync::{Mutex, Notify, watch},
};

use crate::harness::{
    server::{Options, Server, signal},
    tenants::{Answer, Tenant},
};

const KILLS: usize = 20;
const PUBLISHERS: usize = 8;
const CHANNELS: usize = 4;
/// Messages that must be answered between two kills.
const BETWEEN_KILLS: usize = 40;

/// What publishers know when all is over.
#[derive(Default)]
struct Ledger {
    /// The message id, channel and serial of every publish that was answered 2xx.
    answered: Mutex<Vec<(String, String, Option<u64>)>>,
    count: AtomicUsize,
    more: Notify,
    next: AtomicU64,
}

impl Ledger {
    async fn wait_for(&self, count: usize) {
        loop {
            let more = self.more.notified();
            if self.count.load(Ordering::SeqCst) >= count {
                return;
            }
            more.await;
        }
    }
}

/// Publishes one message after the other; every second publisher repeats an unanswered one under its key until it is answered.
async fn publish_on(
    tenant: Tenant,
    channel: String,
    retries: bool,
    ledger: Arc<Ledger>,
    mut phase: watch::Receiver<Phase>,
) {
    loop {
        let number = ledger.next.fetch_add(1, Ordering::SeqCst);
        loop {
            if phase.wait_for(|phase| *phase != Phase::Down).await.is_err() || *phase.borrow() == Phase::Over {
                return;
            }
            let path = format!("/v1/channels/{channel}/messages?ack=persisted");
            let body = json!({"data": number, "idempotency_key": format!("n{number}")});
            let sent = tenant.request(Method::POST, &path).bearer_auth(tenant.credential()).json(&body).send().await;
            let Ok(response) = sent else { if retries { continue } else { break } };
            let status = response.status();
            let Ok(answer) = response.json::<Value>().await else { if retries { continue } else { break } };
            if status.is_success() {
                let id = answer["message"].as_str().expect("an accepted message has an id").to_owned();
                ledger.answered.lock().await.push((id, channel.clone(), answer["serial"].as_u64()));
                ledger.count.fetch_add(1, Ordering::SeqCst);
                ledger.more.notify_waiters();
                break;
            }
            if !retries {
                break;
            }
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Up,
    Down,
    Over,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_kills_lose_and_double_nothing_that_was_answered() {
    let mut server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    let ledger = Arc::new(Ledger::default());
    let phase = watch::Sender::new(Phase::Up);
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|n| {
            let channel = format!("chat:{}", n % CHANNELS);
            tokio::spawn(publish_on(tenant.clone(), channel, n % 2 == 0, Arc::clone(&ledger), phase.subscribe()))
        })
        .collect();
    for _ in 0..KILLS {
        ledger.wait_for(ledger.count.load(Ordering::SeqCst) + BETWEEN_KILLS).await;
        server.kill9().await;
        phase.send_replace(Phase::Down);
        server.restart().await;
        phase.send_replace(Phase::Up);
    }
    ledger.wait_for(ledger.count.load(Ordering::SeqCst) + BETWEEN_KILLS).await;
    phase.send_replace(Phase::Over);
    for publisher in publishers {
        publisher.await.expect("a publisher does not panic");
    }
    check(&tenant, &ledger).await;
}

/// Every answered message is in history once, at the serial it was told; serials have no hole; nothing is there twice.
async fn check(tenant: &Tenant, ledger: &Ledger) {
    let answered = ledger.answered.lock().await;
    assert!(answered.len() >= (KILLS + 1) * BETWEEN_KILLS);
    let mut places: HashMap<(String, String), Vec<u64>> = HashMap::new();
    let mut numbers: HashMap<u64, usize> = HashMap::new();
    for channel in (0..CHANNELS).map(|n| format!("chat:{n}")) {
        let history = tenant.history(&channel).await;
        let serials: Vec<_> = history.iter().filter_map(|item| item["serial"].as_u64()).collect();
        assert_eq!(serials, (1..=history.len() as u64).collect::<Vec<_>>(), "{channel} has a hole");
        for item in &history {
            let id = item["id"].as_str().expect("an id").to_owned();
            places.entry((channel.clone(), id)).or_default().extend(item["serial"].as_u64());
            *numbers.entry(item["data"].as_u64().expect("a number")).or_default() += 1;
        }
    }
    for (id, channel, serial) in answered.iter() {
        let found = places.get(&(channel.clone(), id.clone())).unwrap_or_else(|| panic!("{id} of {channel} is lost"));
        assert_eq!(found.len(), 1, "{id} of {channel} is there {} times", found.len());
        assert_eq!(*serial, Some(found[0]));
    }
    let doubled: Vec<_> = numbers.iter().filter(|(_, count)| **count > 1).collect();
    assert!(doubled.is_empty(), "published once, stored more often: {doubled:?}");
}

/// Counts the process's calls of fsync and fdatasync while `work` runs.
async fn count_syncs(pid: u32, work: impl Future<Output = ()>) -> usize {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let trace = dir.path().join("trace");
    let mut strace = tokio::process::Command::new("strace")
        .args(["-f", "-qqq", "-e", "trace=fsync,fdatasync", "-e", "signal=none", "-o"])
        .arg(&trace)
        .args(["-p", &pid.to_string()])
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("strace is installed by `make test`");
    traced(pid).await;
    work.await;
    signal(strace.id().expect("strace runs"), "INT");
    let mut complaints = String::new();
    let mut lines = BufReader::new(strace.stderr.take().expect("its errors are piped")).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        complaints.push_str(&line);
    }
    strace.wait().await.expect("strace ends");
    let text =
        std::fs::read_to_string(&trace).unwrap_or_else(|error| panic!("strace wrote nothing: {error}; {complaints}"));
    // A call that another thread interrupts is printed in two lines; only one of them says how it ended.
    text.lines().filter(|line| line.contains(" = 0")).count()
}

/// Waits until every thread of a process is traced.
async fn traced(pid: u32) {
    let is_traced =
        |status: String| status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"));
    let all_traced = || {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("the process runs");
        threads
            .flatten()
            .all(|thread| std::fs::read_to_string(thread.path().join("status")).map(is_traced).unwrap_or(true))
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), async {
        while !all_traced() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("strace attaches to every thread");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_waits_for_the_disk_and_concurrent_publishes_share_a_sync() {
    let available =
        Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    assert!(available, "strace is installed by `make test`");
    let server = Server::start(Options::default()).await;
    let tenant = Tenant::sign_up(&server).await;
    tenant.publish("chat:1", json!(0)).await;

    let alone = count_syncs(server.pid(), async {
        for n in 0..50 {
            tenant.publish("chat:1", json!(n)).await;
        }
    })
    .await;
    assert!(alone >= 50, "50 answers in a row waited for {alone} syncs");

    let together = count_syncs(server.pid(), async {
        let publishes = (0..64).map(|n| {
            let tenant = tenant.clone();
            async move {
                for _ in 0..10 {
                    tenant.publish(&format!("chat:{n}"), json!(n)).await;
                }
            }
        });
        futures::future::join_all(publishes).await;
    })
    .await;
    assert!(together >= 10, "each publisher's 10 answers in a row need 10 syncs at least, there were {together}");
    assert!(together <= 320, "640 concurrent publishes took {together} syncs");
}

#[tokio::test]
async fn a_second_process_on_the_same_folder_is_refused() {
    let server = Server::start(Options::default()).await;
    let output = crate::harness::server::fanfare()
        .arg("serve")
        .env("FANFARE_LISTEN", "127.0.0.1:0")
        .env("FANFARE_OPS_LISTEN", "127.0.0.1:0")
        .env("FANFARE_DATA_DIR", server.data_dir())
        .stdin(Stdio::null())
        .output()
        .expect("the binary can be started");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(server.data_dir().to_str().expect("a plain path")), "{said}");
    let tenant = Tenant::sign_up(&server).await;
    let answer = Answer::of(tenant.request(Method::GET, "/v1/me").bearer_auth(&tenant.session)).await;
    answer.expect(StatusCode::OK);
}
