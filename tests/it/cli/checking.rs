//! `fanfare check` and `fanfare migrate`: what is sound is said to be, and what is not comes with its remedy.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use super::run;
use crate::harness::server::{Options, Server, fanfare};

fn command(name: &str, data_dir: &Path) -> Command {
    let mut command = fanfare();
    command.arg(name).current_dir(data_dir.parent().expect("it lies in a folder"));
    command
        .env("FANFARE_LISTEN", "127.0.0.1:0")
        .env("FANFARE_OPS_LISTEN", "127.0.0.1:0")
        .env("FANFARE_DATA_DIR", data_dir);
    command
}

/// The one line of a check that begins so.
#[track_caller]
fn line<'a>(output: &'a str, start: &str) -> &'a str {
    output
        .lines()
        .find(|line| line.starts_with(start))
        .unwrap_or_else(|| panic!("no line begins with `{start}`:\n{output}"))
}

#[actix_web::test]
async fn what_a_server_left_behind_is_sound() {
    let mut server = Server::start(Options::default()).await;
    assert!(server.terminate().await.success());
    let output = run(&mut command("check", &server.data_dir())).succeeded();
    assert!(output.lines().all(|line| line.starts_with("ok ")), "{output}");
    for name in
        ["configuration", "data folder", "master key", "database", "listen", "ops_listen", "clock", "open files"]
    {
        line(&output, &format!("ok       {name}: "));
    }
}

#[test]
fn a_folder_that_is_not_there_yet_is_no_problem_and_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    let output = run(&mut command("check", &data_dir)).succeeded();
    assert!(line(&output, "ok       data folder").contains("not there yet"), "{output}");
    assert!(!data_dir.exists());
}

#[actix_web::test]
async fn a_running_servers_folder_and_ports_are_taken() {
    let server = Server::start(Options::default()).await;
    let listen = server.url().trim_start_matches("http://");
    let said = run(command("check", &server.data_dir()).env("FANFARE_LISTEN", listen));
    assert!(line(&said.stdout, "problem  data folder").contains("in use"), "{}", said.stdout);
    assert!(line(&said.stdout, "problem  listen").contains("FANFARE_LISTEN"), "{}", said.stdout);
    said.failed_saying(&["2 problems"]);
}

#[test]
fn migrate_makes_a_database_that_check_finds_sound() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    run(&mut command("migrate", &data_dir)).succeeded();
    run(&mut command("migrate", &data_dir)).succeeded();
    let output = run(&mut command("check", &data_dir)).succeeded();
    assert!(line(&output, "ok       database").contains("tables of this version"), "{output}");
}

#[test]
fn a_database_without_its_tables_and_a_key_that_others_can_read_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    run(&mut command("migrate", &data_dir)).succeeded();
    let key = data_dir.join("master.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let said = run(&mut command("check", &data_dir));
    assert!(line(&said.stdout, "problem  master key").contains("chmod 600"), "{}", said.stdout);
    said.failed_saying(&["1 problem "]);

    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    for file in ["fanfare.db", "fanfare.db-wal", "fanfare.db-shm"] {
        // The last two are there only if the database was not closed.
        let _ = fs::remove_file(data_dir.join(file));
    }
    fs::write(data_dir.join("fanfare.db"), "").unwrap();
    let said = run(&mut command("check", &data_dir));
    assert!(line(&said.stdout, "problem  database").contains("fanfare migrate"), "{}", said.stdout);
}

#[test]
fn another_master_key_and_a_lost_one_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    run(&mut command("migrate", &data_dir)).succeeded();
    let said = run(command("check", &data_dir).env("FANFARE_MASTER_KEY", "ab".repeat(32)));
    assert!(line(&said.stdout, "problem  database").contains("not the one"), "{}", said.stdout);
    fs::remove_file(data_dir.join("master.key")).unwrap();
    let said = run(&mut command("check", &data_dir));
    assert!(line(&said.stdout, "problem  master key").contains("gone"), "{}", said.stdout);
}

#[test]
fn a_lost_master_key_is_told_and_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    run(&mut command("migrate", &data_dir)).succeeded();
    let file = data_dir.join("master.key");
    let key = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    for name in ["serve", "migrate"] {
        run(&mut command(name, &data_dir)).failed_saying(&["master.key is gone", "backup", "FANFARE_MASTER_KEY"]);
        assert!(!file.exists(), "{name} made another key");
    }
    run(command("migrate", &data_dir).env("FANFARE_MASTER_KEY", key.trim())).succeeded();
}

#[test]
fn a_wrong_configuration_is_a_finding_too() {
    let dir = tempfile::tempdir().unwrap();
    let said = run(command("check", &dir.path().join("data")).env("FANFARE_WORKERS", "many"));
    assert!(line(&said.stdout, "problem  configuration").contains("FANFARE_WORKERS"), "{}", said.stdout);
    let said = run(command("check", &dir.path().join("data")).env("FANFARE_LOGG", "info"));
    assert!(line(&said.stdout, "problem  variables").contains("`FANFARE_LOG`"), "{}", said.stdout);
}
