//! A private HAProxy on free ports of 127.0.0.1, with the configuration that `deploy/haproxy.cfg` gives operators.

use std::fs;

use super::{
    authority::Authority,
    nginx::example,
    ports::free_port,
    processes::{Engine, Program},
    server::Server,
};

/// A proxy that ends TLS.
#[derive(Debug)]
pub struct HaProxy {
    _engine: Engine,
    port: u16,
}

impl HaProxy {
    /// Starts it before a server, with a certificate that the authority signed.
    pub async fn start(authority: &Authority, server: &Server) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder can be made").keep();
        let (certificate, key) = authority.sign();
        let pem = folder.join("fanfare.pem");
        fs::write(&pem, certificate + &key).expect("files can be made in a temporary folder");
        let port = free_port();
        let after = |url: &str, before: &str| url.rsplit_once(before).expect("it is there").1.to_owned();
        let text = example(
            "haproxy.cfg",
            &[
                // As whom the tests run.
                ("    user haproxy\n    group haproxy\n", String::new()),
                ("bind :80\n", format!("bind 127.0.0.1:{}\n", free_port())),
                ("bind :443 ", format!("bind 127.0.0.1:{port} ")),
                ("/etc/haproxy/fanfare.pem", pem.display().to_string()),
                ("check port 9090", format!("check port {}", after(server.ops_url(), ":"))),
                ("10.0.0.5:8080", after(server.url(), "://")),
                ("    server node2 10.0.0.6:8080\n", String::new()),
            ],
        );
        let config = folder.join("haproxy.cfg");
        fs::write(&config, text).expect("files can be made in a temporary folder");
        let command = vec!["/usr/sbin/haproxy".into(), "-W".into(), "-db".into(), "-f".into(), config.into()];
        let ready = "Loading success";
        let program = Program { command, folder, ready, ends_by: "TERM", dies_by: "KILL", ..Program::default() };
        let engine = tokio::task::spawn_blocking(|| Engine::start(program)).await.expect("HAProxy starts");
        Self { _engine: engine, port }
    }

    /// Where it speaks TLS.
    pub fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }
}
