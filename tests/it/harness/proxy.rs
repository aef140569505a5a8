//! A TCP proxy between a node and an engine, which can be cut, stalled and restored.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp},
    sync::watch,
    task::JoinHandle,
};

use super::ports::free_port;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Forward,
    Stall,
    Cut,
}

/// A proxy on a port of its own of 127.0.0.1; gone when dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    mode: watch::Sender<Mode>,
    target: watch::Sender<SocketAddr>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// Begins to forward to a port of 127.0.0.1, whether or not anybody listens there.
    pub async fn start(target: u16) -> Self {
        Self::start_on(free_port(), target).await
    }

    /// The same, on a port that was chosen before.
    pub async fn start_on(port: u16, target: u16) -> Self {
        let mode = watch::Sender::new(Mode::Forward);
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is free");
        let target = watch::Sender::new(([127, 0, 0, 1], target).into());
        let task = tokio::spawn(serve(listener, target.subscribe(), mode.subscribe()));
        Self { port, mode, target, task }
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Closes every connection and refuses new ones.
    pub fn cut(&self) {
        self.mode.send_replace(Mode::Cut);
    }

    /// Forwards nothing in either direction: connections stay and new ones are accepted, as by a network that swallows what it is given.
    pub fn stall(&self) {
        self.mode.send_replace(Mode::Stall);
    }

    /// Forwards what connects from now on to another port, as a load balancer does when a server behind it is gone.
    pub fn lead_to(&self, target: u16) {
        self.target.send_replace(([127, 0, 0, 1], target).into());
    }

    /// Forwards again, also what was held.
    pub fn restore(&self) {
        self.mode.send_replace(Mode::Forward);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.mode.send_replace(Mode::Cut);
        self.task.abort();
    }
}

async fn serve(mut listener: TcpListener, target: watch::Receiver<SocketAddr>, mut mode: watch::Receiver<Mode>) {
    let address = listener.local_addr().expect("a listener has an address");
    let followed = mode.clone();
    let accept = async |listener: TcpListener| {
        while let Ok((client, _)) = listener.accept().await {
            let target = *target.borrow();
            tokio::spawn(connection(client, target, followed.clone()));
        }
    };
    loop {
        tokio::select! {
            biased;
            changed = mode.wait_for(|mode| *mode == Mode::Cut) => if changed.is_err() { return },
            () = accept(listener) => {}
        }
        if mode.wait_for(|mode| *mode != Mode::Cut).await.is_err() {
            return;
        }
        listener = TcpListener::bind(address).await.expect("nobody else takes the port");
    }
}

/// Joins two streams until either ends, or the proxy is cut; whatever it was, both are closed then.
async fn connection(client: TcpStream, target: SocketAddr, mut mode: watch::Receiver<Mode>) {
    let joined = join(client, target, mode.clone());
    tokio::select! {
        _ = joined => {}
        _ = mode.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}

async fn join(client: TcpStream, target: SocketAddr, mut mode: watch::Receiver<Mode>) -> io::Result<()> {
    forwarding(&mut mode).await?;
    let server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let there = pump(&mut from_client, &mut to_server, mode.clone());
    let back = pump(&mut from_server, &mut to_client, mode);
    tokio::try_join!(there, back).map(|_| ())
}

async fn pump(
    from: &mut tcp::OwnedReadHalf,
    to: &mut tcp::OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await?;
        forwarding(&mut mode).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
    }
}

async fn forwarding(mode: &mut watch::Receiver<Mode>) -> io::Result<()> {
    mode.wait_for(|mode| *mode == Mode::Forward).await.map(|_| ()).map_err(io::Error::other)
}
