//! How a connection to Postgres is made: its URL, TLS, how long anything may take.

use std::{sync::Arc, time::Duration};

use diesel::{ConnectionError, ConnectionResult};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use fanfare_domain::StoreError;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::time::timeout;
use tokio_postgres::{
    Config, NoTls,
    config::SslMode::{Disable, Require},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::authorities::{Authorities, decoded};

/// A server that does not answer within this is away.
const CONNECT: Duration = Duration::from_secs(5);
/// A silent connection is asked for a sign of life after this, and then as often.
const KEEPALIVE: Duration = Duration::from_secs(5);
/// What was sent and is not acknowledged for this long ends the connection.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

/// Of every connection but the one that migrates. A transaction that stands still, as that of a stopped process, is ended before anybody waits
/// long for what it locked. A commit is on disk when it returns, whatever the server's own default is.
const SETTINGS: &str =
    "set statement_timeout = '10s'; set lock_timeout = '5s'; set idle_in_transaction_session_timeout = '3s';
    select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'";

/// A database that is there already, and how it is reached.
#[derive(Clone)]
pub(super) struct Target {
    config: Config,
    tls: Option<MakeRustlsConnect>,
}

impl Target {
    /// Reads a URL. With `sslmode=require` or `verify-full` the connection is encrypted, and the server's certificate must be in the host's
    /// name, signed by an authority of the file that `sslrootcert` names, or by one that the system trusts; without, it is in the clear.
    pub fn read(url: &str) -> Result<Self, StoreError> {
        let Written { text, authorities } = Written::read(url);
        let mut config: Config = text.parse().map_err(|wrong| StoreError::unavailable(told(&wrong)))?;
        if config.get_application_name().is_none() {
            config.application_name("fanfare");
        }
        config.connect_timeout(CONNECT).tcp_user_timeout(UNACKNOWLEDGED);
        config.keepalives_idle(KEEPALIVE).keepalives_interval(KEEPALIVE).keepalives_retries(3);
        let tls = match config.get_ssl_mode() {
            Require => Some(tls(authorities.as_deref())?),
            _ if authorities.is_some() => {
                return Err(StoreError::unavailable("`sslrootcert` needs `sslmode=verify-full` beside it".to_owned()));
            }
            _ => {
                config.ssl_mode(Disable);
                None
            }
        };
        Ok(Self { config, tls })
    }

    /// A connection on which nothing takes long.
    pub async fn connect(&self) -> ConnectionResult<AsyncPgConnection> {
        let mut conn = self.connect_unbounded().await?;
        conn.batch_execute(SETTINGS).await.map_err(ConnectionError::CouldntSetupConfiguration)?;
        Ok(conn)
    }

    /// A connection on which a statement may take as long as it needs.
    pub async fn connect_unbounded(&self) -> ConnectionResult<AsyncPgConnection> {
        let failed = |error: tokio_postgres::Error| ConnectionError::BadConnection(told(&error));
        let late = |_| ConnectionError::BadConnection("it does not answer".to_owned());
        match &self.tls {
            Some(tls) => {
                let connected = timeout(CONNECT, self.config.connect(tls.clone())).await;
                let (client, connection) = connected.map_err(late)?.map_err(failed)?;
                AsyncPgConnection::try_from_client_and_connection(client, connection).await
            }
            None => {
                let connected = timeout(CONNECT, self.config.connect(NoTls)).await;
                let (client, connection) = connected.map_err(late)?.map_err(failed)?;
                AsyncPgConnection::try_from_client_and_connection(client, connection).await
            }
        }
    }
}

/// A URL, or a list of `key=value`, as the driver knows it, and what it does not know.
struct Written {
    text: String,
    /// The file of `sslrootcert`; none where that is `system`.
    authorities: Option<String>,
}

impl Written {
    /// The driver knows no `verify-full`, which is what `require` means here.
    fn read(url: &str) -> Self {
        const MODE: &str = "sslmode=verify-full";
        let is_url = url.trim_start().starts_with("postgres");
        let (mut text, mut file) = (String::new(), None);
        for part in url.split_inclusive(['?', '&', ' ']) {
            let option = part.trim_end_matches(['&', ' ']);
            match option.strip_prefix("sslrootcert=") {
                Some(path) if is_url => file = Some(decoded(path)),
                Some(path) => file = Some(path.trim_matches('\'').to_owned()),
                None if option == MODE => text += &part.replace(MODE, "sslmode=require"),
                None => text += part,
            }
        }
        if file.is_some() {
            text.truncate(text.trim_end_matches(['?', '&', ' ']).len());
        }
        Self { text, authorities: file.filter(|file| file != "system") }
    }
}

/// What went wrong, with its causes.
fn told(error: &tokio_postgres::Error) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.fold(error.to_string(), |told, cause| format!("{told}: {cause}"))
}

fn tls(authorities: Option<&str>) -> Result<MakeRustlsConnect, StoreError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = match authorities {
        Some(file) => {
            let authorities = Authorities::read(file).map_err(StoreError::unavailable)?;
            let roots = authorities.roots().map_err(StoreError::unavailable)?;
            config.map(|config| config.with_root_certificates(roots))
        }
        None => config.and_then(BuilderVerifierExt::with_platform_verifier),
    };
    Ok(MakeRustlsConnect::new(config.map_err(StoreError::unavailable)?.with_no_client_auth()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_encrypted(url: &str) -> Option<bool> {
        Target::read(url).ok().map(|target| target.tls.is_some())
    }

    #[test]
    fn only_a_parameter_is_taken_for_the_mode() {
        for url in ["postgres://u:sslmode=verify-full@h/db", "postgres://h/db?application_name=sslmode=verify-full"] {
            assert_eq!(Written::read(url).text, url);
        }
        assert_eq!(
            Written::read("postgres://h/db?sslmode=verify-full&user=u").text,
            "postgres://h/db?sslmode=require&user=u"
        );
    }

    #[test]
    fn the_authorities_are_taken_out_of_what_the_driver_reads() {
        for (url, text, file) in [
            ("postgres://h/db?sslrootcert=%2Fa%20b.pem&user=u", "postgres://h/db?user=u", Some("/a b.pem")),
            ("postgres://h/db?user=u&sslrootcert=/a+b.pem", "postgres://h/db?user=u", Some("/a+b.pem")),
            ("postgres://h/db?sslrootcert=/a", "postgres://h/db", Some("/a")),
            ("host=h sslrootcert=/a user=u", "host=h user=u", Some("/a")),
            ("host=h sslrootcert='/a'", "host=h", Some("/a")),
            ("postgres://h/db?sslrootcert=system", "postgres://h/db", None),
        ] {
            let written = Written::read(url);
            assert_eq!((written.text.as_str(), written.authorities.as_deref()), (text, file), "{url}");
        }
    }

    #[test]
    fn what_demands_tls_gets_it_or_is_refused() {
        for (url, encrypted) in [
            ("postgres://u@h/db", Some(false)),
            ("postgres://u@h/db?sslmode=disable", Some(false)),
            ("postgres://u@h/db?sslmode=require", Some(true)),
            ("postgres://u@h/db?sslmode=verify-full", Some(true)),
            ("host=h user=u sslmode=verify-full", Some(true)),
            ("postgres://u@h/db?sslmode=verify-ca", None),
            ("postgres://u@h/db?sslmode=verify-full&sslrootcert=system", Some(true)),
            ("postgres://u@h/db?sslmode=verify-full&sslrootcert=/nowhere/ca.pem", None),
            ("postgres://u@h/db?sslrootcert=/a", None),
        ] {
            assert_eq!(is_encrypted(url), encrypted, "{url}");
        }
    }
}
