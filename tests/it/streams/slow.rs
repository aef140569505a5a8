//! A reader that takes nothing: it alone is let go, it is told why, and it goes on from where it was.

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::harness::{
    server::Server,
    sockets::PATIENCE,
    tenants::{Answer, Tenant, start},
};

/// Opens a stream over a connection that holds next to nothing, and reads no more of it than the head.
async fn stalled(tenant: &Tenant, token: &str) -> TcpStream {
    let authority = tenant.url.trim_start_matches("http://");
    let socket = TcpSocket::new_v4().expect("a socket can be made");
    socket.set_recv_buffer_size(4 * 1024).expect("a buffer can be small");
    let mut stream = socket.connect(authority.parse().expect("an address")).await.expect("the server listens");
    let request =
        format!("GET /v1/sse?channel=room&token={token} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("the server takes a request");
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).await.expect("an answer comes");
    assert_eq!(&begin, b"HTTP/1.1 200");
    stream
}

/// Reads to the end and gives what was in the chunks.
async fn rest(mut stream: TcpStream) -> String {
    let mut octets = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut octets)).await;
    read.expect("the stream ends").expect("it ends in good order");
    let head = octets.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let (mut left, mut text) = (&octets[head + 4..], Vec::new());
    while let Some(end) = left.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&left[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
        let size = size.expect("a chunk says its size");
        text.extend_from_slice(&left[end + 2..end + 2 + size]);
        left = &left[end + 2 + size + 2..];
    }
    String::from_utf8(text).expect("events are text")
}

async fn is_let_go(server: &Server) -> bool {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client can be built");
    let metrics = Answer::of(client.get(format!("{}/metrics", server.ops_url()))).await.text;
    let row = "fanfare_drops_total{reason=\"slow_consumer\"} ";
    metrics.lines().find_map(|line| line.strip_prefix(row)).is_some_and(|count| count != "0")
}

#[tokio::test]
async fn a_stream_that_is_not_read_is_ended_as_slow_and_goes_on_later() {
    let (server, tenant) = start().await;
    let token = tenant.full_token("ann").await;
    let slow = stalled(&tenant, &token).await;
    let mut healthy = tenant.stream(&token, "channel=room", None).await;
    healthy.next_of("open").await;
    let (large, mut head) = ("x".repeat(60_000), 0);
    while !is_let_go(&server).await {
        head = tenant.publish("room", json!(large)).await;
        assert_eq!(healthy.next_of("message").await.data["serial"], head);
        assert!(head < 1_000, "60 MB wait for one stream");
    }
    let text = rest(slow).await;
    let of =
        |name: &str| text.lines().filter_map(|line| line.strip_prefix(name)).map(str::to_owned).collect::<Vec<_>>();
    let objects: Vec<Value> = of("data: ").iter().map(|data| serde_json::from_str(data).expect("JSON")).collect();
    let (error, received) = objects[1..].split_last().expect("an error comes last");
    assert_eq!((&error["op"], &error["error"]["code"]), (&json!("error"), &json!("slow_consumer")));
    let serials: Vec<_> = received.iter().map(|message| message["serial"].as_u64().expect("a serial")).collect();
    assert_eq!(serials, (1..=serials.len() as u64).collect::<Vec<_>>());
    let last_id = of("id: ").pop().expect("an id");
    let mut resumed = tenant.stream(&token, "channel=room", Some(&last_id)).await;
    resumed.next_of("open").await;
    resumed.serials(serials.len() as u64 + 1..=head).await;
}
