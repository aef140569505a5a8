//! Whom a client command takes for the server: who shows a certificate of a trusted authority.

use std::{fs, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use rustls_platform_verifier::BuilderVerifierExt;

use crate::{problem::Problem, tls};

/// How TLS is spoken to the server: with the authorities of the system, or with those in a file alone.
///
/// # Errors
/// The file cannot be read, or holds no certificate.
pub(super) fn config(ca: Option<&Path>) -> Result<ClientConfig, Problem> {
    let builder = ClientConfig::builder_with_provider(tls::provider());
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| cannot(&error))?;
    let config = match ca {
        Some(ca) => builder.with_root_certificates(Arc::new(roots(ca)?)).with_no_client_auth(),
        None => builder.with_platform_verifier().map_err(|error| cannot(&error))?.with_no_client_auth(),
    };
    Ok(config)
}

fn roots(ca: &Path) -> Result<RootCertStore, Problem> {
    let shown = ca.display();
    let remedy = "Give --ca (or FANFARE_CA) a file with certificates in PEM, as `fanfare serve --dev-tls` prints it.";
    let bytes = fs::read(ca).map_err(|error| Problem::new(format!("{shown} cannot be read: {error}"), remedy))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| Problem::new(format!("{shown} is not PEM: {error}"), remedy))?;
        roots.add(certificate).map_err(|error| Problem::new(format!("{shown} cannot be used: {error}"), remedy))?;
    }
    if roots.is_empty() {
        return Err(Problem::new(format!("{shown} holds no certificate"), remedy));
    }
    Ok(roots)
}

/// What to say where the server's certificate is not taken, by what the library says of it.
pub(super) fn refused(said: &str) -> Option<Problem> {
    said.contains("certificate").then(|| {
        Problem::new(
            format!("the server is not trusted: {said}"),
            "Give --ca (or FANFARE_CA) the file with the certificate that signed the server's, and ask for the server by a name that it is for.",
        )
    })
}

fn cannot(error: &rustls::Error) -> Problem {
    Problem::new(
        format!("TLS cannot be set up: {error}"),
        "Give --ca (or FANFARE_CA), or mend the certificates of the system.",
    )
}
