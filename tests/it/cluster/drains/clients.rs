//! Clients of every transport, which follow a channel over as many connections as it takes, and note how gateways sent them away.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::{sync::Notify, time::timeout};

use super::{CHANNELS, SETTLES};
use crate::{
    chaos::links::{Link, Lost},
    harness::{streams::EventStream, tenants::Tenant, tokens::every_right},
};

/// What all clients share.
pub struct Stage {
    pub gateways: Vec<String>,
    pub tenant: Tenant,
    /// Clients whose subscription has begun.
    pub begun: AtomicUsize,
    /// Sockets and streams that are subscribed now.
    pub subscribed: AtomicUsize,
    pub drains: [Mutex<Drain>; 2],
    /// The last serial of each channel, once it is known; clients that have it are done.
    pub last: [AtomicU64; CHANNELS],
    pub done: AtomicUsize,
    pub over: Notify,
}

/// One gateway's drain, as its clients saw it.
#[derive(Default)]
pub struct Drain {
    /// When the gateway was asked to end, just before it was.
    pub begun: Option<Instant>,
    pub left: Vec<Left>,
    /// When polls were answered with nothing before their time was up.
    pub polls: Vec<Duration>,
}

/// A client that left: when by the gateway's word, and when it saw its close, both since the drain began.
pub struct Left {
    pub told: Duration,
    pub closed: Duration,
}

/// By what a client follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Socket,
    Stream,
    Poll,
}

/// How long a poll waits: longer than a drain takes.
const WAIT: Duration = Duration::from_secs(50);

/// One client: its channel, and how much of it has come.
pub struct Client {
    stage: Arc<Stage>,
    number: usize,
    transport: Transport,
    epoch: Value,
    cursor: String,
    has_begun: bool,
    serial: u64,
}

/// What one connection was told and whether it was counted.
#[derive(Default)]
struct Connection {
    told: Option<Duration>,
    is_counted: bool,
}

impl Client {
    pub fn new(stage: &Arc<Stage>, number: usize, transport: Transport) -> Self {
        let (epoch, cursor) = (Value::Null, String::new());
        Self { stage: Arc::clone(stage), number, transport, epoch, cursor, has_begun: false, serial: 0 }
    }

    /// Follows the channel until it is over.
    pub async fn follow(mut self) {
        let over = self.stage.clone();
        let over = over.over.notified();
        tokio::pin!(over);
        for round in self.number.. {
            tokio::select! {
                () = &mut over => return,
                lost = self.once(round % 2) => match lost {
                    // The gateway refuses while it drains and while it starts; the other one does not.
                    Lost::Away => tokio::task::yield_now().await,
                    Lost::Refused(what) => panic!("{:?} {}: {what}", self.transport, self.number),
                }
            }
        }
    }

    /// One connection's life.
    async fn once(&mut self, gateway: usize) -> Lost {
        let stage = Arc::clone(&self.stage);
        let mut connection = Connection::default();
        let lost: Result<Infallible, Lost> = match self.transport {
            Transport::Socket => self.by_socket(gateway, &mut connection).await,
            Transport::Stream => self.by_stream(gateway, &mut connection).await,
            Transport::Poll => self.by_poll(gateway).await,
        };
        stage.subscribed.fetch_sub(connection.is_counted.into(), Ordering::SeqCst);
        let mut drain = stage.drains[gateway].lock().expect("nobody panics");
        if let (Some(told), Some(begun)) = (connection.told, drain.begun) {
            drain.left.push(Left { told, closed: begun.elapsed() });
        }
        let Err(lost) = lost;
        lost
    }

    async fn by_socket(&mut self, gateway: usize, connection: &mut Connection) -> Result<Infallible, Lost> {
        let mut link = Link::connect_patiently(&self.stage.gateways[gateway], &self.token(), SETTLES).await?;
        let mut subscribe = json!({"op": "subscribe", "channel": self.channel()});
        if self.has_begun {
            subscribe["since"] = json!({"epoch": self.epoch, "serial": self.serial});
        }
        let answer = link.ask(subscribe).await?;
        assert_ne!(answer["resumed"], false, "{answer}");
        self.epoch = answer["epoch"].clone();
        self.subscribed(connection);
        loop {
            self.take(&link.event().await?, connection);
        }
    }

    async fn by_stream(&mut self, gateway: usize, connection: &mut Connection) -> Result<Infallible, Lost> {
        let mut stream = EventStream::new(self.answered(gateway, "/v1/sse", "").await?);
        let open = stream.next_within(SETTLES).await.ok().flatten().ok_or(Lost::Away)?;
        assert_eq!(open.event, "open", "{open:?}");
        self.cursor.clone_from(&stream.last_id);
        self.subscribed(connection);
        loop {
            let event = stream.next_within(SETTLES).await.ok().flatten().ok_or(Lost::Away)?;
            self.take(&event.data, connection);
            // A browser brings this back.
            self.cursor.clone_from(&stream.last_id);
        }
    }

    /// Polls that find one another's answers at whichever gateway comes next.
    async fn by_poll(&mut self, gateway: usize) -> Result<Infallible, Lost> {
        let asked = Instant::now();
        let response = self.answered(gateway, "/v1/poll", &format!("&wait_ms={}", WAIT.as_millis())).await?;
        let page: Value = response.json().await.map_err(|_| Lost::Away)?;
        page["cursor"].as_str().expect("a cursor").clone_into(&mut self.cursor);
        let messages = page["messages"].as_array().expect("messages");
        if !self.has_begun {
            self.subscribed(&mut Connection::default());
            self.stage.subscribed.fetch_sub(1, Ordering::SeqCst);
        } else if messages.is_empty() {
            let mut drain = self.stage.drains[gateway].lock().expect("nobody panics");
            let begun = drain.begun.expect("only a gateway that goes answers with nothing");
            assert!(asked.elapsed() < WAIT, "a gateway that goes answers at once: {:?}", asked.elapsed());
            drain.polls.push(begun.elapsed());
        }
        messages.iter().for_each(|message| self.take(message, &mut Connection::default()));
        Err(Lost::Away)
    }

    /// Counts a subscription.
    fn subscribed(&mut self, connection: &mut Connection) {
        connection.is_counted = true;
        self.stage.subscribed.fetch_add(1, Ordering::SeqCst);
        if !std::mem::replace(&mut self.has_begun, true) {
            self.stage.begun.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn take(&mut self, event: &Value, connection: &mut Connection) {
        match event["op"].as_str() {
            Some("reconnect") => {
                let after = Duration::from_millis(event["after_ms"].as_u64().expect("a number"));
                connection.told.get_or_insert(after);
            }
            Some("message") => {
                assert_eq!(event["serial"], self.serial + 1, "{:?} {}: {event}", self.transport, self.number);
                self.serial += 1;
                if self.serial == self.stage.last[self.number % CHANNELS].load(Ordering::SeqCst) {
                    self.stage.done.fetch_add(1, Ordering::SeqCst);
                }
            }
            _ => {}
        }
    }

    /// An answer over HTTP, from the cursor on; a gateway that drains refuses by that name, and one that is away not at all.
    async fn answered(&self, gateway: usize, path: &str, rest: &str) -> Result<Response, Lost> {
        let query = format!("{path}?channel={}&cursor={}{rest}", self.channel(), self.cursor);
        let request = self.stage.tenant.at(&self.stage.gateways[gateway]).request(Method::GET, &query);
        let sent = timeout(SETTLES, request.bearer_auth(self.token()).send()).await;
        let response = sent.map_err(|_| Lost::Away)?.map_err(|_| Lost::Away)?;
        match response.status().as_u16() {
            200 => Ok(response),
            503 => Err(Lost::Away),
            _ => Err(Lost::Refused(format!("{response:?}"))),
        }
    }

    fn channel(&self) -> String {
        format!("room-{}", self.number % CHANNELS)
    }

    fn token(&self) -> String {
        self.stage.tenant.short_token(&format!("client-{}", self.number), every_right(), 600.0)
    }
}
