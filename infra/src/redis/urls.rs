//! What a URL of Redis names: one server, a master that sentinels know, or a cluster.

use std::fmt;

use redis::{
    Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo, TlsCertificates,
};

use crate::authorities::{Authorities, decoded};

/// A text that is not a URL of Redis that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RedisUrlError(String);

/// A server's address.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Node {
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Where the masters are to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    Single(Node),
    Sentinels { sentinels: Vec<Node>, master: String },
    Cluster(Vec<Node>),
}

/// A URL that was read: where to look, and how to greet whom is found there.
#[derive(Clone)]
pub(super) struct Target {
    pub source: Source,
    is_tls: bool,
    /// How a certificate is checked where the URL names authorities.
    trust: Option<ConnectionAddr>,
    greeting: RedisConnectionInfo,
}

const DEFAULT_PORT: u16 = 6_379;
const SENTINEL_PORT: u16 = 26_379;

impl Target {
    pub fn parse(url: &str) -> Result<Self, RedisUrlError> {
        let bad = |what: &str| RedisUrlError(what.to_owned());
        let (scheme, rest) = url.trim().split_once("://").ok_or_else(|| bad("it has no scheme such as `redis://`"))?;
        let (secure, kind) = match scheme.split_once('+').unwrap_or((scheme, "")) {
            ("redis", kind) => (false, kind),
            ("rediss", kind) => (true, kind),
            _ => {
                return Err(bad("its scheme is neither `redis` nor `rediss`, alone or with `+sentinel` or `+cluster`"));
            }
        };
        let (rest, trust) = match rest.split_once(['?', '#']) {
            None => (rest, None),
            Some((rest, option)) => match option.strip_prefix("ssl_ca_certs=").filter(|_| secure) {
                Some(file) if !option.contains(['&', '#']) => (rest, Some(trusting(&decoded(file))?)),
                _ => return Err(bad("it may not have options but `?ssl_ca_certs=FILE`, and that with `rediss` alone")),
            },
        };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (credentials, hosts) = match authority.rsplit_once('@') {
            Some((credentials, hosts)) => (format!("{credentials}@"), hosts),
            None => (String::new(), authority),
        };
        let nodes = |port| hosts.split(',').map(|host| node(host, port)).collect::<Result<Vec<_>, _>>();
        let (source, db) = match kind {
            "" => match nodes(DEFAULT_PORT)?.as_slice() {
                [one] => (Source::Single(one.clone()), path),
                _ => return Err(bad("several servers need `+sentinel` or `+cluster` in the scheme")),
            },
            "sentinel" => {
                let (master, db) = path.split_once('/').unwrap_or((path, ""));
                if master.is_empty() {
                    return Err(bad("the name that the sentinels know the master by is missing behind the hosts"));
                }
                (Source::Sentinels { sentinels: nodes(SENTINEL_PORT)?, master: master.to_owned() }, db)
            }
            "cluster" if !path.is_empty() => return Err(bad("a cluster has no numbered databases")),
            "cluster" => (Source::Cluster(nodes(DEFAULT_PORT)?), ""),
            _ => return Err(bad("only `+sentinel` and `+cluster` may follow the scheme")),
        };
        let greeting = read(&format!("redis://{credentials}localhost/{db}"))?.redis_settings().clone();
        Ok(Self { source, is_tls: secure, trust, greeting: greeting.set_protocol(ProtocolVersion::RESP3) })
    }

    /// How to connect to a server of data.
    pub fn server(&self, node: &Node) -> ConnectionInfo {
        self.connection(node).set_redis_settings(self.greeting.clone())
    }

    /// How to connect to a sentinel, which may or may not want the same credentials.
    pub fn sentinel(&self, node: &Node, with_credentials: bool) -> ConnectionInfo {
        let greeting = match with_credentials {
            true => self.greeting.clone().set_db(0),
            false => RedisConnectionInfo::default(),
        };
        self.connection(node).set_redis_settings(greeting.set_protocol(ProtocolVersion::RESP2))
    }

    pub fn has_credentials(&self) -> bool {
        self.greeting.password().is_some()
    }

    /// Whether a server is used only while it is a master. In a cluster, who is no master says so itself.
    pub fn only_masters(&self) -> bool {
        matches!(self.source, Source::Sentinels { .. })
    }

    pub fn is_tls(&self) -> bool {
        self.is_tls
    }

    fn connection(&self, node: &Node) -> ConnectionInfo {
        let (host, port) = (node.host.clone(), node.port);
        let address = match self.is_tls {
            true => {
                let tls_params = match &self.trust {
                    Some(ConnectionAddr::TcpTls { tls_params, .. }) => tls_params.clone(),
                    _ => None,
                };
                ConnectionAddr::TcpTls { host, port, insecure: false, tls_params }
            }
            false => ConnectionAddr::Tcp(host, port),
        };
        address.into_connection_info().expect("an address is information enough")
    }
}

/// Says nothing of credentials.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("source", &self.source).field("is_tls", &self.is_tls).finish_non_exhaustive()
    }
}

fn node(text: &str, default_port: u16) -> Result<Node, RedisUrlError> {
    let text = text.trim();
    let has_port = text.rsplit_once(':').is_some_and(|(host, _)| !host.contains(':') || host.ends_with(']'));
    let whole = if has_port { format!("redis://{text}") } else { format!("redis://{text}:{default_port}") };
    match read(&whole)?.addr() {
        ConnectionAddr::Tcp(host, port) => Ok(Node { host: host.clone(), port: *port }),
        _ => Err(RedisUrlError("a host is not one".to_owned())),
    }
}

/// An address that trusts the authorities of a file alone. The library makes what it needs for that only as a part of one.
fn trusting(file: &str) -> Result<ConnectionAddr, RedisUrlError> {
    let authorities = Authorities::read(file).map_err(RedisUrlError)?;
    let certificates = TlsCertificates { client_tls: None, root_cert: Some(authorities.pem().to_vec()) };
    let client = Client::build_with_tls("rediss://localhost", certificates);
    let client = client.map_err(|error| RedisUrlError(format!("`{file}` cannot be used: {error}")))?;
    Ok(client.get_connection_info().addr().clone())
}

fn read(url: &str) -> Result<ConnectionInfo, RedisUrlError> {
    url.into_connection_info().map_err(|error| RedisUrlError(error.category().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(pairs: &[(&str, u16)]) -> Vec<Node> {
        pairs.iter().map(|(host, port)| Node { host: (*host).to_owned(), port: *port }).collect()
    }

    fn source(url: &str) -> Source {
        Target::parse(url).unwrap().source
    }

    #[test]
    fn one_server_is_named_with_or_without_a_port() {
        assert_eq!(source("redis://r1"), Source::Single(nodes(&[("r1", 6_379)])[0].clone()));
        assert_eq!(source("rediss://[::1]:7000/2"), Source::Single(nodes(&[("::1", 7_000)])[0].clone()));
        assert_eq!(source("redis://[::1]"), Source::Single(nodes(&[("::1", 6_379)])[0].clone()));
    }

    #[test]
    fn sentinels_come_with_the_name_of_the_master() {
        let expected =
            Source::Sentinels { sentinels: nodes(&[("s1", 26_379), ("s2", 5_000)]), master: "main".to_owned() };
        assert_eq!(source("redis+sentinel://ann:secret@s1,s2:5000/main"), expected);
        assert_eq!(source("rediss+sentinel://s1:26379,s2:5000/main/3"), expected);
    }

    #[test]
    fn a_cluster_is_some_of_its_nodes() {
        assert_eq!(source("redis+cluster://a:7000,b"), Source::Cluster(nodes(&[("a", 7_000), ("b", 6_379)])));
    }

    #[test]
    fn credentials_and_database_reach_servers_and_nothing_shows_them() {
        let target = Target::parse("redis+sentinel://ann:s%40cret@s1/main/3").unwrap();
        let server = target.server(&nodes(&[("r1", 1)])[0]);
        let greeting = server.redis_settings();
        assert_eq!((greeting.username(), greeting.password(), greeting.db()), (Some("ann"), Some("s@cret"), 3));
        assert!(target.sentinel(&nodes(&[("s1", 1)])[0], false).redis_settings().password().is_none());
        assert!(!format!("{target:?}").contains("cret"));
    }

    #[test]
    fn tls_is_checked_against_certificates() {
        let target = Target::parse("rediss+cluster://a").unwrap();
        assert!(target.is_tls());
        let server = target.server(&nodes(&[("a", 1)])[0]);
        assert!(matches!(server.addr(), ConnectionAddr::TcpTls { insecure: false, .. }));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_without_repeating_it() {
        for bad in [
            "",
            "r1:6379",
            "amqp://ann:secret@r1",
            "redis+more://ann:secret@r1",
            "redis://ann:secret@a,b",
            "redis://ann:secret@a/main",
            "redis://ann:secret@a:port",
            "redis+sentinel://ann:secret@a",
            "redis+cluster://ann:secret@a/1",
            "rediss://ann:secret@a/#insecure",
            "rediss://ann:secret@a/?ssl_ca_certs=/nowhere/ca.pem",
            "rediss://ann:secret@a/?ssl_ca_certs=/etc/hosts",
            "rediss://ann:secret@a/?ssl_ca_certs=/a&ssl_cert_reqs=none",
            "rediss://ann:secret@a/?insecure=true",
            "redis://ann:secret@a/?ssl_ca_certs=/etc/hosts",
            "redis+cluster://ann:secret@a,",
        ] {
            let refused = Target::parse(bad).unwrap_err();
            assert!(!refused.to_string().contains("secret"), "{refused}");
        }
    }
}
