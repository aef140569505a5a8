//! TLS in the process: certificates from files that may change, handshakes that are bounded, HTTP/2 and HTTP/1.1 on one port.

use std::{path::PathBuf, sync::Arc};

use actix_http::Protocol;
use actix_web::rt::net::TcpStream;
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    version::{TLS12, TLS13},
};

use crate::problem::Problem;

mod certificates;
pub mod development;
mod handshakes;
mod redirects;
mod stream;
mod watching;

pub use certificates::{Current, Pair, load};
pub use redirects::redirect;
pub use stream::Stream;
pub use watching::keep_fresh;

use handshakes::Handshakes;

/// Where a certificate and its key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// The certificate, then those that lead to the root, in PEM.
    pub cert: PathBuf,
    /// The private key, in PEM.
    pub key: PathBuf,
}

/// What ends TLS on a listener. Clones share everything.
#[derive(Clone)]
pub struct Tls {
    handshakes: Arc<Handshakes>,
    /// The certificate in use.
    pub current: Arc<Current>,
    /// Where it came from.
    pub files: Files,
}

/// Has every TLS client and server of the process use the same cryptography. May be called again.
pub fn install() {
    // Fails only where a provider is there already.
    let _ = ring::default_provider().install_default();
}

/// The cryptography of the process.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

impl Tls {
    /// Reads the files and makes ready for handshakes.
    ///
    /// # Errors
    /// What is wrong with the files.
    pub fn start(files: Files) -> Result<Self, Problem> {
        let pair = load(&files)?;
        pair.tell();
        let current = Arc::new(Current::new(pair));
        let refused = |error: rustls::Error| {
            Problem::new(format!("TLS cannot be set up: {error}"), "Report it; the library refuses its own defaults.")
        };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(refused)?
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Clients that come back all at once need no whole handshake, and the server remembers nothing for it.
        config.ticketer = ring::Ticketer::new().map_err(refused)?;
        Ok(Self { handshakes: Arc::new(Handshakes::new(config)), current, files })
    }

    /// Makes the handshake on a connection; `None` if that came to nothing, which is counted and over.
    pub async fn accept(&self, connection: TcpStream) -> Option<(Stream, Protocol)> {
        self.handshakes.accept(connection).await
    }
}
