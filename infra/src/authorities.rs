//! Authorities that an operator names for one engine, which alone are to have signed its certificate. Who names none trusts those of the system.

use std::path::Path;

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

/// The certificates of a file.
#[derive(Clone)]
pub(crate) struct Authorities {
    pem: Vec<u8>,
    certificates: Vec<CertificateDer<'static>>,
}

impl Authorities {
    /// Reads a file in PEM; what is wrong with it is told with its name.
    pub fn read(path: &str) -> Result<Self, String> {
        let pem = std::fs::read(Path::new(path))
            .map_err(|error| format!("the authorities in `{path}` cannot be read: {error}"))?;
        let bad = |why: &str| format!("`{path}` is no file of certificates in PEM: {why}");
        let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
        let certificates = certificates.map_err(|error| bad(&error.to_string()))?;
        let found = Self { pem, certificates };
        match found.roots() {
            Ok(roots) if roots.is_empty() => Err(bad("there is none in it")),
            Ok(_) => Ok(found),
            Err(error) => Err(bad(&error.to_string())),
        }
    }

    /// What trusts them and nobody else.
    pub fn roots(&self) -> Result<RootCertStore, rustls::Error> {
        let mut roots = RootCertStore::empty();
        self.certificates.iter().try_for_each(|certificate| roots.add(certificate.clone()))?;
        Ok(roots)
    }

    /// The certificates.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// The file as it was read.
    pub fn pem(&self) -> &[u8] {
        &self.pem
    }
}

/// The value of a URL's option; a `+` is one.
pub(crate) fn decoded(value: &str) -> String {
    let escaped = value.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    url::form_urlencoded::parse(escaped.as_bytes()).map(|(name, _)| name.into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_of_an_option_is_decoded() {
        for (written, meant) in [("/etc/ca.pem", "/etc/ca.pem"), ("%2Fa%20b", "/a b"), ("a+b=c", "a+b=c"), ("", "")] {
            assert_eq!(decoded(written), meant);
        }
    }

    #[test]
    fn a_file_without_a_certificate_is_refused_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let missing = Authorities::read(&path("missing.pem")).err().unwrap();
        assert!(missing.contains("missing.pem") && missing.contains("cannot be read"), "{missing}");
        for (name, text) in [
            ("empty.pem", ""),
            ("key.pem", "-----BEGIN PRIVATE KEY-----\nMDEy\n-----END PRIVATE KEY-----\n"),
            ("odd.pem", "-----BEGIN CERTIFICATE-----\nMDEy\n-----END CERTIFICATE-----\n"),
        ] {
            std::fs::write(path(name), text).unwrap();
            let bad = Authorities::read(&path(name)).err().unwrap();
            assert!(bad.contains(name) && bad.contains("no file of certificates"), "{bad}");
        }
    }
}
