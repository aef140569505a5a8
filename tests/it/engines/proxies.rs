//! The proxy forwards, cuts, stalls and restores.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::harness::{proxy::Proxy, waiting::until};

/// A server that sends back what it is sent.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    port
}

async fn asked(stream: &mut TcpStream) -> Option<u8> {
    stream.write_all(&[7]).await.ok()?;
    stream.read_u8().await.ok()
}

#[tokio::test]
async fn a_cut_closes_what_is_open_and_refuses_what_is_new() {
    let proxy = Proxy::start(echo().await).await;
    let mut stream = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    assert_eq!(asked(&mut stream).await, Some(7));
    proxy.cut();
    assert_eq!(asked(&mut stream).await, None);
    until("refused", async || TcpStream::connect(("127.0.0.1", proxy.port())).await.err()).await;
    proxy.restore();
    let mut stream = until("restored", async || TcpStream::connect(("127.0.0.1", proxy.port())).await.ok()).await;
    assert_eq!(asked(&mut stream).await, Some(7));
}

#[tokio::test]
async fn a_stall_holds_what_is_open_and_what_is_new() {
    let proxy = Proxy::start(echo().await).await;
    let mut open = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    assert_eq!(asked(&mut open).await, Some(7));
    proxy.stall();
    let mut new = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    for stream in [&mut open, &mut new] {
        assert!(tokio::time::timeout(Duration::from_millis(200), asked(stream)).await.is_err());
    }
    proxy.restore();
    for stream in [&mut open, &mut new] {
        assert_eq!(stream.read_u8().await.unwrap(), 7);
        assert_eq!(asked(stream).await, Some(7));
    }
}
