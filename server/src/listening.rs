//! Listening sockets: bound before anything starts, with the kernel's queue as long as reconnecting clients need it.

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::problem::Problem;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4_096;

/// Binds and listens; `setting` and `variable` name what to change if that fails.
pub fn listen(address: SocketAddr, setting: &str, variable: &str) -> Result<TcpListener, Problem> {
    try_listen(address).map_err(|error| {
        let remedy = match error.kind() {
            ErrorKind::AddrInUse => {
                format!("Stop what listens there (`ss -ltnp 'sport = :{}'` shows it), or choose another port with `{setting}` ({variable}).", address.port())
            }
            ErrorKind::PermissionDenied => format!("Ports below 1024 need a privilege; choose another with `{setting}` ({variable})."),
            _ => format!("Choose an address of this machine with `{setting}` ({variable})."),
        };
        Problem::new(format!("{address} cannot be listened on: {error}"), remedy)
    })
}

fn try_listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The address as somebody on this machine types it; `scheme` is `http` or `https`.
pub fn url(listener: &TcpListener, scheme: &str) -> Result<String, Problem> {
    let mut address = listener
        .local_addr()
        .map_err(|error| Problem::new(format!("a listener has no address: {error}"), "Start the server again."))?;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    Ok(format!("{scheme}://{address}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_told_with_what_to_change() {
        let first = listen("127.0.0.1:0".parse().unwrap(), "listen", "FANFARE_LISTEN").unwrap();
        let problem = listen(first.local_addr().unwrap(), "listen", "FANFARE_LISTEN").unwrap_err();
        assert!(
            problem.what.contains("cannot be listened on") && problem.remedy.contains("FANFARE_LISTEN"),
            "{problem}"
        );
    }

    #[test]
    fn every_address_is_shown_as_one_that_can_be_typed() {
        let everywhere = listen("0.0.0.0:0".parse().unwrap(), "listen", "FANFARE_LISTEN").unwrap();
        assert!(url(&everywhere, "http").unwrap().starts_with("http://127.0.0.1:"));
    }
}
