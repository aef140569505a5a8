//! Certificates: read from files, looked at, and held so that they can be replaced under open connections.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, RwLock},
    time::{Duration, SystemTime},
};

use fanfare_domain::metrics::Metric;
use rustls::{
    InconsistentKeys,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256};
use tracing::{error, warn};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Files, provider};
use crate::problem::Problem;

/// How long before its end a certificate is warned of.
const SOON: Duration = Duration::from_secs(14 * 24 * 3_600);
const DAY_S: u64 = 24 * 3_600;

/// A certificate with its key, and what is to be known of it.
#[derive(Debug, Clone)]
pub struct Pair {
    key: Arc<CertifiedKey>,
    /// When it ends, in seconds since 1970.
    pub ends_s: u64,
    /// The SHA-256 of the certificate, as tools show it.
    pub fingerprint: String,
}

impl Pair {
    /// How long it is still good.
    pub fn left(&self) -> Duration {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Duration::from_secs(self.ends_s).saturating_sub(now)
    }

    /// Puts its end on the metrics, and warns of it where it is near.
    pub fn tell(&self) {
        Metric::TlsCertificateExpiry.set(self.ends_s as f64);
        match self.left() {
            Duration::ZERO => {
                error!("The TLS certificate has ended, so clients refuse to connect; put a new one in its place")
            }
            left if left < SOON => {
                let days = left.as_secs() / DAY_S;
                warn!(days, "The TLS certificate ends in {days} days; renew it, and the new one is taken up by itself");
            }
            _ => {}
        }
    }
}

/// The certificate in use: handshakes from now on see what was put here last.
#[derive(Debug)]
pub struct Current(RwLock<Pair>);

impl Current {
    /// Begins with a certificate.
    pub fn new(pair: Pair) -> Self {
        Self(RwLock::new(pair))
    }

    /// The one in use.
    pub fn pair(&self) -> Pair {
        self.0.read().expect("nobody panics with it").clone()
    }

    /// Takes another into use.
    pub fn replace(&self, pair: Pair) {
        *self.0.write().expect("nobody panics with it") = pair;
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().expect("nobody panics with it").key.clone())
    }
}

/// Reads a certificate and its key, and holds one against the other.
///
/// # Errors
/// Which file is wrong, and what about it.
pub fn load(files: &Files) -> Result<Pair, Problem> {
    let (cert, key) = (&files.cert, &files.key);
    let chain = read(cert, "tls_cert", "FANFARE_TLS_CERT")?;
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(&chain).collect::<Result<_, _>>().map_err(|error| {
            wrong(cert, &format!("is not PEM: {error}"), "a certificate, then those that lead to the root")
        })?;
    let Some(first) = chain.first().cloned() else {
        return Err(wrong(cert, "holds no certificate", "a certificate, then those that lead to the root"));
    };
    let secret = read(key, "tls_key", "FANFARE_TLS_KEY")?;
    let secret = PrivateKeyDer::from_pem_slice(&secret).map_err(|error| match error {
        pem::Error::NoItemsFound => wrong(key, "holds no private key that can be read", "an unencrypted private key"),
        // The library's own text may quote the file.
        _ => wrong(key, "is not PEM", "an unencrypted private key"),
    })?;
    let (ends_s, fingerprint) =
        look(&first).ok_or_else(|| wrong(cert, "holds a certificate that cannot be read", "another"))?;
    let pair = CertifiedKey::from_der(chain, secret, &provider()).map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => Problem::new(
            format!("{} is not the key of {}", key.display(), cert.display()),
            "Give the certificate and the key of one pair.",
        ),
        error => wrong(
            cert,
            &format!("or its key cannot be used: {error}"),
            "an RSA, ECDSA or Ed25519 key and its certificate",
        ),
    })?;
    Ok(Pair { key: Arc::new(pair), ends_s, fingerprint })
}

fn look(certificate: &CertificateDer) -> Option<(u64, String)> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let digest = Sha256::digest(certificate);
    let fingerprint = digest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
    Some((u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0), fingerprint))
}

fn read(file: &Path, setting: &str, variable: &str) -> Result<Vec<u8>, Problem> {
    fs::read(file).map_err(|error: io::Error| {
        Problem::new(
            format!("{} cannot be read: {error}", file.display()),
            format!(
                "Name another file with `{setting}` ({variable}), or make this one readable for the server's user."
            ),
        )
    })
}

fn wrong(file: &Path, what: &str, wanted: &str) -> Problem {
    Problem::new(format!("{} {what}", file.display()), format!("Put {wanted} there, in PEM."))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn made() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        (cert.pem(), key.serialize_pem())
    }

    fn loaded(cert: &str, key: &str) -> Result<Pair, String> {
        let dir = tempfile::tempdir().unwrap();
        let files = Files { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
        fs::write(&files.cert, cert).unwrap();
        fs::write(&files.key, key).unwrap();
        load(&files).map_err(|problem| problem.to_string())
    }

    #[test]
    fn a_pair_is_read_and_what_is_wrong_with_one_is_told_without_showing_it() {
        let ((cert, key), (other, _)) = (made(), made());
        let pair = loaded(&cert, &key).unwrap();
        assert_eq!(pair.fingerprint.len(), 95);
        assert!(pair.left() > SOON);
        let ed25519 = "-----BEGIN PRIVATE KEY-----\nnonsense!\n-----END PRIVATE KEY-----\n";
        for (cert, key, told) in [
            (other.as_str(), key.as_str(), "is not the key of"),
            ("", &key, "holds no certificate"),
            (&key, &key, "holds no certificate"),
            (&cert, &cert, "holds no private key"),
            (&cert, ed25519, "is not PEM"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &key, "cannot be read"),
        ] {
            let said = loaded(cert, key).unwrap_err();
            assert!(said.contains(told) && !said.contains("nonsense!"), "{told}: {said}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_told_with_its_setting() {
        let files = Files { cert: "/nowhere/cert.pem".into(), key: "/nowhere/key.pem".into() };
        let said = load(&files).unwrap_err().to_string();
        assert!(said.contains("/nowhere/cert.pem") && said.contains("FANFARE_TLS_CERT"), "{said}");
    }
}
