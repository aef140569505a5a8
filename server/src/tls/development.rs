//! `serve --dev-tls`: a certificate that signs itself, kept in the data folder and used again.

use std::{fmt::Write, fs, net::SocketAddr, path::Path, time::Duration};

use actix_web::cookie::time::{self, OffsetDateTime};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use tracing::info;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::{Files, Tls, load};
use crate::{demo, owned, problem::Problem};

/// How long it is good.
const LIFE_DAYS: i64 = 365;
/// One that ends sooner is made anew.
const LEAST: Duration = Duration::from_secs(30 * 24 * 3_600);
/// Clocks of other machines may be behind.
const BEFORE: time::Duration = time::Duration::hours(1);

/// Finds the certificate of an earlier run, or makes one.
///
/// # Errors
/// It cannot be made or kept.
pub fn prepare(home: &Path, listen: SocketAddr) -> Result<Files, Problem> {
    let files = Files { cert: home.join("dev-tls-cert.pem"), key: home.join("dev-tls-key.pem") };
    let names = names(listen);
    if !is_good(&files, &names) {
        make(&files, names)?;
        info!("Made a certificate for development, which signs itself");
    }
    // Where the commands that are printed are run, is not known.
    let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    Ok(Files { cert: whole(&files.cert), key: whole(&files.key) })
}

/// What to do with it, to be printed.
pub fn lines(tls: &Tls, url: &str) -> String {
    let (cert, fingerprint) = (tls.files.cert.display(), tls.current.pair().fingerprint);
    let mut text = String::new();
    let mut add = |line: String| writeln!(text, "{line}").expect("a string takes what is written");
    add(format!("TLS: a certificate for development, {cert}"));
    add(format!("  SHA-256 {fingerprint}"));
    add(format!("  curl --cacert {cert} {url}/"));
    add(format!("  FANFARE_CA={cert} {} tail CHANNEL --url {url}", demo::command()));
    add(format!("  {}/v1/connect", url.replacen("https", "wss", 1)));
    text
}

/// What clients may call the server.
fn names(listen: SocketAddr) -> Vec<String> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "::1"].map(str::to_owned).into();
    if listen.ip().is_unspecified() {
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        names.extend(Some(host.trim().to_owned()).filter(|host| !host.is_empty()));
    } else {
        names.push(listen.ip().to_canonical().to_string());
    }
    names.sort_unstable();
    names.dedup();
    names
}

fn is_good(files: &Files, names: &[String]) -> bool {
    let is_long = load(files).is_ok_and(|pair| pair.left() >= LEAST);
    is_long && names_of(files).is_some_and(|known| names.iter().all(|name| known.contains(name)))
}

fn names_of(files: &Files) -> Option<Vec<String>> {
    let certificate = CertificateDer::from_pem_file(&files.cert).ok()?;
    let (_, parsed) = X509Certificate::from_der(&certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    let name = |name: &GeneralName| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress([a, b, c, d]) => Some(std::net::Ipv4Addr::new(*a, *b, *c, *d).to_string()),
        GeneralName::IPAddress(octets) => {
            <[u8; 16]>::try_from(*octets).ok().map(|octets| std::net::Ipv6Addr::from(octets).to_string())
        }
        _ => None,
    };
    Some(names.value.general_names.iter().filter_map(name).collect())
}

fn make(files: &Files, names: Vec<String>) -> Result<(), Problem> {
    let failed = |error: rcgen::Error| {
        Problem::new(format!("a certificate for development cannot be made: {error}"), "Start without --dev-tls.")
    };
    let key = KeyPair::generate().map_err(failed)?;
    let mut wanted = CertificateParams::new(names).map_err(failed)?;
    wanted.distinguished_name.push(DnType::CommonName, "Fanfare, for development");
    wanted.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let now = OffsetDateTime::now_utc();
    wanted.not_before = now - BEFORE;
    wanted.not_after = now + time::Duration::days(LIFE_DAYS);
    let certificate = wanted.self_signed(&key).map_err(failed)?;
    for (file, text) in [(&files.cert, certificate.pem()), (&files.key, key.serialize_pem())] {
        owned::write(file, &text).map_err(|error| {
            Problem::new(format!("{} cannot be written: {error}", file.display()), "Make the data folder writable.")
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn it_is_made_once_and_anew_only_for_another_address() {
        let dir = tempfile::tempdir().unwrap();
        let fingerprint = |listen: &str| {
            let files = prepare(dir.path(), listen.parse().unwrap()).unwrap();
            assert_eq!(fs::metadata(&files.key).unwrap().permissions().mode() & 0o777, 0o600);
            load(&files).unwrap().fingerprint
        };
        let first = fingerprint("127.0.0.1:8443");
        assert_eq!(fingerprint("127.0.0.1:1"), first);
        assert_eq!(fingerprint("[::1]:1"), first);
        assert_ne!(fingerprint("192.0.2.1:1"), first);
    }
}
