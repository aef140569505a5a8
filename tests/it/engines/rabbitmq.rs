//! RabbitMQ: virtual hosts, and a broker that may be killed.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::harness::rabbitmq;

/// Whether the broker begins the protocol: it answers the header with a method frame on channel 0.
async fn greets(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)).await else { return false };
    let mut start = [0; 3];
    stream.write_all(b"AMQP\x00\x00\x09\x01").await.is_ok()
        && stream.read_exact(&mut start).await.is_ok()
        && start == [1, 0, 0]
}

fn port(url: &str) -> u16 {
    let authority = url.trim_start_matches("amqp://guest:guest@127.0.0.1:");
    authority.split('/').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn every_caller_has_a_virtual_host_on_one_broker() {
    let (one, other) = (rabbitmq::broker().await, rabbitmq::broker().await);
    assert_ne!(one.name, other.name);
    assert_eq!(port(&one.url), port(&other.url));
    assert!(greets(port(&one.url)).await);
}

#[tokio::test]
async fn the_broker_is_the_one_that_was_unpacked_where_one_was() {
    let version = rabbitmq::broker().await.version().await;
    match std::env::var_os("FANFARE_TEST_RABBITMQ") {
        Some(_) => assert!(version.starts_with("4."), "{version}"),
        None => assert!(version.starts_with("3.") || version.starts_with("4."), "{version}"),
    }
}

#[tokio::test]
async fn a_private_broker_comes_back_after_a_kill_and_waits_while_it_is_stopped() {
    let mut broker = rabbitmq::Private::start().await;
    let port = broker.port();
    assert!(greets(port).await);
    broker.engine().kill9().await;
    assert!(!greets(port).await);
    broker.engine().restart().await;
    assert!(greets(port).await);
    broker.engine().stop();
    assert!(tokio::time::timeout(Duration::from_millis(300), greets(port)).await.is_err());
    broker.engine().cont();
    assert!(greets(port).await);
    broker.engine().terminate().await;
    broker.engine().restart().await;
    assert!(greets(port).await);
}
