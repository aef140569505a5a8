//! How each server is spoken to.

use std::net::{SocketAddr, ToSocketAddrs};

use super::{
    dialects::Dialect,
    measurements::Target,
    processes::Role,
    requests::Publishing,
    scenarios::{Protocol, Scenario},
    tables::LIMIT,
    tokens::Key,
};
use crate::clients::{Problem, Tenant};

/// An app of a Fanfare, and what is needed to use it.
#[derive(Debug, Clone)]
pub struct App {
    pub key: Key,
    /// Its number in Pusher's API, where that is switched on.
    pub pusher: Option<String>,
}

impl App {
    /// Signs up, with Pusher switched on if it is asked for.
    ///
    /// # Errors
    /// The server is away, or lets nobody sign up.
    pub async fn sign_up(url: &str, protocol: Protocol, durable: bool) -> Result<Self, Problem> {
        let tenant = Tenant::sign_up(url, "load").await?;
        let key = Key::parse(tenant.credential())?;
        if protocol != Protocol::Pusher {
            return Ok(Self { key, pusher: None });
        }
        if !durable {
            // Pusher's API cannot ask for it message by message.
            tenant.keep_nothing().await?;
        }
        Ok(Self { key, pusher: Some(tenant.switch_on_pusher().await?) })
    }
}

/// A Fanfare: subscribers spread over the gateways, publishers use the API.
pub fn fanfare(
    name: &str,
    app: App,
    scenario: &Scenario,
    protocol: Protocol,
    [gateways, api]: [&[String]; 2],
    roles: Vec<Role>,
) -> Result<Target, Problem> {
    let App { key, pusher } = app;
    let dialect = match protocol {
        Protocol::Native => Dialect::Native(key.clone()),
        Protocol::Sse => Dialect::Sse(key.clone()),
        Protocol::Pusher => Dialect::Pusher(key.id.clone()),
    };
    let publishing = match pusher {
        Some(app) => Publishing::Pusher { app, key },
        None => Publishing::Native { key, durable: scenario.durable },
    };
    let subscribe = gateways.iter().map(|url| address(url)).collect::<Result<Vec<_>, _>>()?;
    let publish = address(api.first().ok_or("the API has no URL")?)?;
    Ok(Target { name: name.to_owned(), dialect, publishing, subscribe, publish, roles })
}

/// `fanfare-limit`.
pub fn limit(subscribe: SocketAddr, publish: SocketAddr, pid: u32) -> Target {
    Target {
        name: LIMIT.to_owned(),
        dialect: Dialect::Limit,
        publishing: Publishing::Limit,
        subscribe: vec![subscribe],
        publish,
        roles: vec![Role { name: LIMIT.to_owned(), pid }],
    }
}

/// The address of a plain URL, `http://127.0.0.1:8080`.
///
/// # Errors
/// It is none, or its name leads nowhere.
pub fn address(url: &str) -> Result<SocketAddr, Problem> {
    let authority = url.strip_prefix("http://").ok_or_else(|| format!("{url} does not begin with http://"))?;
    let authority = authority.trim_end_matches('/');
    let mut found = authority.to_socket_addrs().map_err(|error| format!("{url}: {error}"))?;
    found.find(SocketAddr::is_ipv4).ok_or_else(|| format!("{url} has no IPv4 address"))
}
