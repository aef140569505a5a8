//! A certificate authority of the test's own: it signs servers' certificates, and clients that trust it alone.

use std::{fs, path::Path, sync::Arc};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use reqwest::Client;
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

/// An authority.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// Makes one.
    pub fn new() -> Self {
        Self::named("Fanfare's tests")
    }

    /// Makes one of another name.
    pub fn named(name: &str) -> Self {
        fanfare::tls::install();
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("no name is a bad one");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key can be made");
        Self(CertifiedIssuer::self_signed(params, key).expect("an authority can be made"))
    }

    /// The authority's own certificate, in PEM.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A fresh certificate for this machine and its key, in PEM.
    pub fn sign(&self) -> (String, String) {
        self.sign_until(2100)
    }

    /// The same, good until the first day of that year.
    pub fn sign_until(&self, year: i32) -> (String, String) {
        self.sign_for(&["localhost", "127.0.0.1"], year)
    }

    /// The same for a server that is known by these names.
    pub fn sign_for(&self, names: &[&str], year: i32) -> (String, String) {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).expect("these are names");
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate can be signed");
        (certificate.pem(), key.serialize_pem())
    }

    /// Writes a fresh pair to `cert.pem` and `key.pem` of a folder; gives the certificate.
    pub fn write(&self, folder: &Path) -> Vec<u8> {
        let (cert, key) = self.sign();
        fs::write(folder.join("cert.pem"), &cert).expect("files can be made in a temporary folder");
        fs::write(folder.join("key.pem"), key).expect("files can be made in a temporary folder");
        der(&cert)
    }

    /// How a client speaks TLS that trusts this authority alone, and offers these protocols.
    pub fn config(&self, alpn: &[&str]) -> ClientConfig {
        trusting(&self.pem(), alpn)
    }

    /// An HTTP client that trusts this authority alone.
    pub fn client(&self, alpn: &[&str]) -> Client {
        client(self.config(alpn))
    }

    /// A TLS connection, which offers these protocols.
    pub async fn connect(&self, url: &str, alpn: &[&str]) -> std::io::Result<TlsStream<TcpStream>> {
        connect(self.config(alpn), url).await
    }
}

/// How a client speaks TLS that trusts this certificate alone.
pub fn trusting(pem: &str, alpn: &[&str]) -> ClientConfig {
    trusting_with(pem, alpn, rustls::DEFAULT_VERSIONS)
}

/// The same, with these versions of TLS.
pub fn trusting_with(pem: &str, alpn: &[&str], versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).expect("it is PEM")).expect("it is a certificate");
    let mut config =
        ClientConfig::builder_with_protocol_versions(versions).with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    config
}

/// An HTTP client that speaks TLS so; it does not follow redirects.
pub fn client(config: ClientConfig) -> Client {
    let builder = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    builder.tls_backend_preconfigured(config).build().expect("a client can be built")
}

/// A TLS connection to the authority of a URL.
pub async fn connect(config: ClientConfig, url: &str) -> std::io::Result<TlsStream<TcpStream>> {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let connection = TcpStream::connect(authority).await?;
    let name = ServerName::try_from("localhost").expect("it is a name");
    TlsConnector::from(Arc::new(config)).connect(name, connection).await
}

/// The certificate of a PEM text as it crosses the wire.
pub fn der(pem: &str) -> Vec<u8> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("it is PEM").to_vec()
}

/// The certificate that a server showed.
pub fn shown(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().and_then(|all| all.first()).expect("a server shows one").to_vec()
}
