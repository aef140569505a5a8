//! Programs end with the tests, and one that does not come up is an error and no wait without end.

use std::path::PathBuf;

use crate::harness::{
    ports::free_port,
    processes::{Engine, Program, is_alive},
    waiting::until,
};

fn shell(script: &str, folder: PathBuf) -> Program {
    Program {
        command: ["sh", "-c", script].map(Into::into).to_vec(),
        ready: "ready",
        ends_by: "TERM",
        dies_by: "KILL",
        folder,
        ..Program::default()
    }
}

#[tokio::test]
#[should_panic(expected = "it cannot be done")]
async fn a_program_that_ends_before_it_is_ready_is_told_with_what_it_said() {
    Engine::start(shell("echo it cannot be done", PathBuf::new()));
}

#[tokio::test]
async fn a_dropped_program_is_gone_with_its_children_and_its_folder() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made").keep();
    let script = "tail -f /dev/null & echo $! > child; echo $$ > parent; echo ready; wait";
    let program = Engine::start(shell(script, folder.clone()));
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("it was written");
    let pids = ["parent", "child"].map(|name| read(name).trim().parse::<u32>().expect("an id"));
    assert!(pids.into_iter().all(is_alive));
    drop(program);
    until("both are gone", async || pids.into_iter().all(|pid| !is_alive(pid)).then_some(())).await;
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_killed_program_leaves_no_child_that_it_was_just_about_to_start() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made").keep();
    let script = "n=0; while [ $n -lt 1000 ]; do tail -f /dev/null & echo $! >> children; n=$((n+1)); [ $n -ne 5 ] || echo ready; done; wait";
    let mut program = Engine::start(shell(script, folder.clone()));
    program.kill9().await;
    let children = std::fs::read_to_string(folder.join("children")).expect("it was written");
    let children: Vec<u32> = children.lines().filter_map(|line| line.parse().ok()).collect();
    assert!((5..1_000).contains(&children.len()), "{} were started", children.len());
    let left: Vec<_> = children.into_iter().filter(|pid| is_alive(*pid)).collect();
    assert!(left.is_empty(), "{left:?} are left");
}

#[test]
fn a_port_stays_its_servers_own_while_the_server_is_down() {
    let port = free_port();
    assert!((0..600).all(|_| free_port() != port), "whatever else is started meanwhile");
}
