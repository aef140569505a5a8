//! TLS: in the process, and in a proxy before it.

use std::path::Path;

use crate::harness::{
    authority::Authority,
    server::{Options, Server},
};

mod clients;
mod development;
mod engines;
mod files;
mod listeners;
mod proxies;

/// The settings of a server with the certificate of a folder.
fn with_certificate(folder: &Path) -> Options {
    let at = |name: &str| folder.join(name).display().to_string();
    Options::default().env("FANFARE_TLS_CERT", &at("cert.pem")).env("FANFARE_TLS_KEY", &at("key.pem"))
}

/// A server that shows a certificate which the authority has signed, and the certificate.
async fn start(authority: &Authority) -> (Server, Vec<u8>) {
    let dir = tempfile::tempdir().expect("a temporary folder can be made");
    let certificate = authority.write(dir.path());
    let options = with_certificate(dir.path());
    (Server::start_in(dir, options).await, certificate)
}
