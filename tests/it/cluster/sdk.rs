//! A rolling restart of the gateways under the TypeScript client, over all its transports: no hole, no double.

use std::{path::Path, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use super::*;
use crate::harness::{server::Options, sockets::PATIENCE, tokens::every_right};

/// Messages that every follower has between two restarts.
const BETWEEN: u64 = 40;

/// A Node.js process that follows and publishes with the client; ended when dropped.
struct Followers {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Followers {
    fn start(gateways: &[String], token: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        let sdk = root.join("sdk/js");
        assert!(sdk.join("dist").exists(), "run `npm ci && npm run build` in {} first", sdk.display());
        let mut child = Command::new("node")
            .arg("tests/cluster/followers.mjs")
            .args(gateways)
            .current_dir(&sdk)
            .env("TOKEN", token)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("Node.js 20 or newer is installed");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Self { child, lines }
    }

    /// Tells how many more messages all followers are to have; returns when they do.
    async fn have(&mut self, more: u64) -> String {
        let input = self.child.stdin.as_mut().expect("it is piped");
        input.write_all(format!("{more}\n").as_bytes()).await.expect("it reads");
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        line.expect("all followers have the messages in time").expect("it is text").expect("it has not ended")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_all_transports_outlive_a_rolling_restart_of_the_gateways() {
    let options = |options: Options| options.env("FANFARE_DRAIN_WINDOW", "1s");
    let mut fleet = Fleet::start(Production::start(PARTITIONS).await, options).await;
    let tenant = fleet.tenant().await;
    let token = tenant.short_token("ann", every_right(), 3_600.0);
    let gateways: Vec<_> = fleet.gateways.iter().map(|gateway| gateway.url().to_owned()).collect();
    let mut followers = Followers::start(&gateways, &token);
    assert_eq!(followers.have(BETWEEN).await, BETWEEN.to_string());
    for (round, gateway) in fleet.gateways.iter_mut().enumerate() {
        // Messages are on their way all the while.
        let more = async {
            let status = gateway.terminate().await;
            assert!(status.success(), "{status}\n{}", gateway.stderr());
            gateway.restart().await;
        };
        let ((), has) = tokio::join!(more, followers.have(BETWEEN));
        assert_eq!(has, (BETWEEN * (round as u64 + 2)).to_string());
    }
    assert_eq!(followers.have(BETWEEN).await, (BETWEEN * 4).to_string());
    let data: Vec<_> = tenant.history("followers").await.iter().filter_map(|item| item["data"].as_u64()).collect();
    assert_eq!(data, (1..=BETWEEN * 4).collect::<Vec<_>>(), "what the client published is stored once and in order");
}
