//! Connecting to the broker, and the pauses between attempts.

use std::time::Duration;

use lapin::{AsyncTcpStream, Channel, Connection, ConnectionProperties, tcp::RustlsConnectorConfig, uri::AMQPUri};
use rand::RngExt;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

use crate::authorities::{Authorities, decoded};

/// How long connecting may take, the handshake included.
const CONNECT: Duration = Duration::from_secs(5);
/// A peer silent for twice this long is gone.
const HEARTBEAT_S: u16 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How often it is looked whether a connection is still there.
pub(super) const LOOK: Duration = Duration::from_millis(500);

/// How long one request to the broker may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// A new connection, which the broker shows under that name; the host is resolved anew. What goes wrong is told without the URL.
pub(super) async fn connect(url: &SecretString, name: String) -> Result<Connection, String> {
    let uri = parse(url.expose_secret())?;
    let authorities = authorities(url.expose_secret())?;
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let connecting = async {
        match authorities {
            Some(authorities) => connect_trusting(authorities, uri, properties).await,
            None => Connection::connect_uri(uri, properties).await,
        }
    };
    match timeout(CONNECT, connecting).await {
        Ok(connected) => connected.map_err(|error| error.to_string()),
        Err(_) => Err(format!("it did not answer within {} s", CONNECT.as_secs())),
    }
}

/// A connection to a broker whose certificate one of these authorities has signed. The library itself would trust the system's besides.
async fn connect_trusting(
    authorities: Authorities,
    uri: AMQPUri,
    properties: ConnectionProperties,
) -> lapin::Result<Connection> {
    let runtime = lapin::runtime::default_runtime()?;
    let connect = async move |uri: AMQPUri, runtime| {
        let (host, port) = (uri.authority.host.as_str(), uri.authority.port);
        let addresses: Vec<_> = tokio::net::lookup_host((host, port)).await?.collect();
        let mut config = RustlsConnectorConfig::default();
        config.add_parsable_certificates(authorities.certificates().to_vec());
        let connector = config.connector_with_no_client_auth()?;
        Ok(AsyncTcpStream::connect(&runtime, addresses).await?.into_rustls(&connector, host).await?)
    };
    Connection::connector(uri, runtime, connect, properties).await
}

/// What `cacertfile` names, which the parser passes over, as it does all else that it does not know.
fn authorities(url: &str) -> Result<Option<Authorities>, String> {
    let Some((_, options)) = url.split_once('?') else { return Ok(None) };
    let mut files = options.split('&').filter_map(|option| option.strip_prefix("cacertfile="));
    match files.next_back() {
        Some(_) if !url.starts_with("amqps:") => Err("`cacertfile` needs `amqps`".to_owned()),
        Some(file) => Authorities::read(&decoded(file)).map(Some),
        None => Ok(None),
    }
}

/// One request, within its time.
pub(super) async fn within<T>(request: impl Future<Output = lapin::Result<T>>) -> Result<T, String> {
    match timeout(PATIENCE, request).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(format!("it did not answer within {} s", PATIENCE.as_secs())),
    }
}

/// Returns once the channel or its connection is gone. The library tells those who wait on either, but for some that began to wait in the
/// very moment.
pub(super) async fn lost(connection: &Connection, channel: &Channel) {
    while !is_lost(connection, channel) {
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether the channel or its connection is gone; who does not wait by [`lost`] asks every [`LOOK`].
pub(super) fn is_lost(connection: &Connection, channel: &Channel) -> bool {
    !(connection.status().connected() && channel.status().connected())
}

fn parse(url: &str) -> Result<AMQPUri, String> {
    // The parser would take such a host for none, and connect to this machine.
    if url.contains("@[") || url.contains("//[") {
        return Err("its URL has an address of IPv6; give a name for it".to_owned());
    }
    let mut uri: AMQPUri =
        url.parse().map_err(|_| "its URL is not `amqp://user:password@host:5672/vhost`".to_owned())?;
    // A URL that ends with a slash means the default virtual host, and not one without a name.
    if uri.vhost.is_empty() {
        "/".clone_into(&mut uri.vhost);
    }
    uri.query.heartbeat.get_or_insert(HEARTBEAT_S);
    uri.query.connection_timeout.get_or_insert(CONNECT.as_millis() as u64);
    Ok(uri)
}

/// Pauses between attempts, growing and never quite the same, so that nodes do not come back all at once.
#[derive(Debug)]
pub(super) struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Pauses {
    /// The next pause: between half and all of what it could be.
    pub fn next(&mut self) -> Duration {
        let pause = self.0.mul_f64(rand::rng().random_range(0.5..1.0));
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_with_its_defaults_and_never_repeated() {
        let uri = parse("amqp://ann:secret@rabbit:5673/").unwrap();
        assert_eq!((uri.authority.host.as_str(), uri.authority.port, uri.vhost.as_str()), ("rabbit", 5673, "/"));
        assert_eq!(uri.query.heartbeat, Some(HEARTBEAT_S));
        assert_eq!(parse("amqp://127.0.0.1:1/%2f?heartbeat=9").unwrap().query.heartbeat, Some(9));
        assert_eq!(parse("amqp://127.0.0.1:1/orders").unwrap().authority.host, "127.0.0.1");
        for bad in ["", "secret", "amqp:secret", "http://ann:secret@rabbit", "amqp://ann:secret@[::1]:5672/"] {
            let problem = parse(bad).unwrap_err();
            assert!(!problem.contains("secret"), "{problem}");
        }
    }

    #[test]
    fn authorities_are_named_with_tls_alone_and_must_be_there() {
        assert!(authorities("amqps://ann:secret@rabbit/x?heartbeat=9").unwrap().is_none());
        for bad in ["amqp://ann:secret@rabbit/x?cacertfile=/a", "amqps://ann:secret@rabbit/x?cacertfile=/nowhere/ca"] {
            let problem = authorities(bad).err().unwrap();
            assert!(!problem.contains("secret"), "{problem}");
        }
    }

    #[test]
    fn pauses_grow_to_their_longest() {
        let mut pauses = Pauses::default();
        let all: Vec<_> = (0..20).map(|_| pauses.next()).collect();
        assert!(all[0] < FIRST_PAUSE && all[0] >= FIRST_PAUSE / 2);
        assert!(all[10..].iter().all(|pause| *pause <= LONGEST_PAUSE && *pause >= LONGEST_PAUSE / 2));
    }
}
