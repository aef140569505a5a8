//! A private nginx on free ports of 127.0.0.1, with the configuration that `deploy/nginx.conf` gives operators.

use std::{fs, os::unix::fs::chown, path::Path, process::Command};

use super::{
    authority::Authority,
    ports::free_port,
    processes::{Engine, Program},
};

/// A proxy that ends TLS.
#[derive(Debug)]
pub struct Nginx {
    _engine: Engine,
    port: u16,
}

impl Nginx {
    /// Starts it before a server, with a certificate that the authority signed.
    pub async fn start(authority: &Authority, upstream: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made").keep();
        authority.write(&folder);
        let owner = owner();
        if let Some((uid, gid)) = owner {
            chown(&folder, Some(uid), Some(gid)).expect("root may give the folder away");
        }
        let port = free_port();
        let plain = free_port();
        let upstream = upstream.split_once("://").map_or(upstream, |(_, rest)| rest);
        let at = |name: &str| folder.join(name).display().to_string();
        let changes = [
            ("listen 443 ssl http2;", format!("listen 127.0.0.1:{port} ssl http2;")),
            ("listen [::]:443 ssl http2;", String::new()),
            ("listen 80;", format!("listen 127.0.0.1:{plain};")),
            ("listen [::]:80;", String::new()),
            ("server 127.0.0.1:8080;", format!("server {upstream};")),
            ("/etc/ssl/fanfare/cert.pem", at("cert.pem")),
            ("/etc/ssl/fanfare/key.pem", at("key.pem")),
        ];
        let text = example("nginx.conf", &changes);
        let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let temporary: String = kinds.iter().map(|kind| format!("  {kind}_temp_path {};\n", at(kind))).collect();
        let whole = format!(
            "daemon off;\nworker_processes 1;\npid {};\nerror_log stderr notice;\nevents {{ worker_connections 512; }}\nhttp {{\n  access_log off;\n{temporary}{text}\n}}\n",
            at("nginx.pid")
        );
        let config = folder.join("nginx.conf");
        fs::write(&config, whole).expect("files can be made in a temporary folder");
        let mut command = vec!["/usr/sbin/nginx".into(), "-e".into(), "stderr".into(), "-c".into(), config.into()];
        command.extend(["-p".into(), folder.clone().into()]);
        let ready = "start worker process ";
        let program = Program { command, owner, folder, ready, ends_by: "TERM", dies_by: "KILL", ..Program::default() };
        let engine = tokio::task::spawn_blocking(|| Engine::start(program)).await.expect("nginx starts");
        Self { _engine: engine, port }
    }

    /// Where it speaks TLS.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }
}

/// What a file of `deploy/` says, with the names of the example changed for the test's own; each must be there.
pub fn example(file: &str, changes: &[(&str, String)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(file);
    let text = fs::read_to_string(path).expect("the example is there");
    changes.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "`{from}` is not in deploy/{file}");
        text.replace(from, to)
    })
}

/// Where the tests are root's, it runs as the user that Debian has for web servers.
fn owner() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().expect("there is `id`");
        String::from_utf8_lossy(&output.stdout).trim().parse::<u32>().expect("`id` prints a number")
    };
    (id(&["-u"]) == 0).then(|| (id(&["-u", "www-data"]), id(&["-g", "www-data"])))
}
