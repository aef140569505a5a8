//! Programs end with the tests, and one that does not come up is an error and no wait without end.

use std::{path::PathBuf, process::Command};

use crate::harness::{
    processes::{Engine, Program},
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

fn is_alive(pid: u32) -> bool {
    let looked = Command::new("sh").args(["-c", &format!("kill -0 {pid} 2>/dev/null")]).status();
    looked.expect("there is a shell").success()
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
