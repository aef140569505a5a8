//! One connection of `tail`, from its handshake to its close.

use std::{collections::HashMap, time::Duration};

use fanfare_protocol::{
    ErrorCode, Serial, WireError,
    events::{Connected, Event, Subscribed},
};
use futures::{SinkExt, StreamExt};
use serde::de::DeserializeOwned;
use serde_json::{json, value::RawValue};
use tokio::{sync::watch, time::Instant};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{self, Message, protocol::CloseFrame, protocol::frame::coding::CloseCode},
};

use super::{
    Credential,
    ending::{self, Ended, cut},
    follow::{Follow, Verdict},
    frames::Frame,
};
use crate::{
    client::endpoint::Endpoint,
    output::{self, Reader},
    problem::Problem,
    tls::Stream,
};

/// How long the handshake may take, and a write.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is added to the server's interval of pings before a silent connection counts as dead.
const GRACE: Duration = Duration::from_secs(10);
/// The id of `connect`; those of subscribes follow.
const CONNECT_ID: u32 = 1;

/// What one step of the connection asks of it.
enum Step {
    Go,
    End(Ended),
}

/// A connection and what it follows.
pub(super) struct Session<'a> {
    socket: WebSocketStream<Stream>,
    credential: &'a Credential,
    follows: &'a mut Vec<Follow>,
    asked: HashMap<u32, usize>,
    last_id: u32,
    silence: Duration,
    /// Set once the server took the credentials.
    connected: bool,
    /// What the server said would follow: a close, and when to come back.
    error: Option<WireError>,
    come_back: Option<Instant>,
}

impl<'a> Session<'a> {
    /// Connects, follows, and returns when the connection ends.
    ///
    /// # Errors
    /// What the server says is for good.
    pub(super) async fn run(
        endpoint: &Endpoint,
        credential: &'a Credential,
        follows: &'a mut Vec<Follow>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Ended, Problem> {
        let handshake = tokio::time::timeout(PATIENCE, open(endpoint));
        let socket = tokio::select! {
            outcome = handshake => match outcome {
                Ok(Ok(socket)) => socket,
                Ok(Err(error)) => return ending::handshake_failed(endpoint, error),
                Err(_) => return Ok(cut("the server did not answer in time")),
            },
            _ = stop.wait_for(|stop| *stop) => return Ok(Ended::Stopped),
        };
        let session = Session {
            socket,
            credential,
            follows,
            asked: HashMap::new(),
            last_id: CONNECT_ID,
            silence: PATIENCE,
            connected: false,
            error: None,
            come_back: None,
        };
        session.follow(stop).await
    }

    async fn follow(mut self, stop: &mut watch::Receiver<bool>) -> Result<Ended, Problem> {
        let (name, value) = self.credential.field();
        let connect = json!({"id": CONNECT_ID, "op": "connect", name: value, "client": concat!("fanfare-tail/", env!("CARGO_PKG_VERSION"))});
        if self.send(connect.to_string()).await.is_err() {
            return Ok(cut("the connection was cut"));
        }
        loop {
            let received = tokio::select! {
                received = tokio::time::timeout(self.silence, self.socket.next()) => received,
                _ = stop.wait_for(|stop| *stop) => {
                    self.close().await;
                    return Ok(Ended::Stopped);
                }
            };
            let step = match received {
                Err(_) => Step::End(cut("the server went silent")),
                Ok(None) => Step::End(self.closed(None)?),
                Ok(Some(Err(error))) => Step::End(cut(error.to_string())),
                Ok(Some(Ok(Message::Text(text)))) => self.received(text.as_str()).await?,
                Ok(Some(Ok(Message::Close(frame)))) => Step::End(self.closed(frame)?),
                Ok(Some(Ok(_))) => Step::Go,
            };
            if let Step::End(ended) = step {
                self.close().await;
                return Ok(ended);
            }
        }
    }

    async fn received(&mut self, text: &str) -> Result<Step, Problem> {
        match Frame::parse(text) {
            Ok(Frame::Message { channel, serial }) => {
                let Some(follow) = self.follows.iter_mut().find(|follow| follow.channel == channel) else {
                    return Ok(Step::Go);
                };
                match follow.message(serial) {
                    Verdict::Print => {}
                    Verdict::Repeated => return Ok(Step::Go),
                    Verdict::Hole { from, to } => {
                        eprintln!("tail: {channel}: serials {from} to {to} did not come; this is a fault of the server")
                    }
                }
                match output::print(&format!("{text}\n"))? {
                    Reader::There => Ok(Step::Go),
                    Reader::Gone => Ok(Step::End(Ended::Stopped)),
                }
            }
            Ok(Frame::Answer { id: CONNECT_ID, result }) => self.answered_connect(result).await,
            Ok(Frame::Answer { id, result }) => match self.asked.remove(&id) {
                Some(index) => self.answered_subscribe(index, result).await,
                None => Ok(Step::Go),
            },
            Ok(Frame::Event(event)) => self.event(event).await,
            Ok(Frame::Unknown) => Ok(Step::Go),
            Err(error) => Ok(Step::End(cut(format!("the server sent what cannot be read: {error}")))),
        }
    }

    async fn answered_connect(&mut self, result: Result<Box<RawValue>, WireError>) -> Result<Step, Problem> {
        let ok = match result {
            Ok(ok) => ok,
            Err(error) => return self.refused(&error),
        };
        let answer: Connected = match read(&ok) {
            Ok(answer) => answer,
            Err(ended) => return Ok(Step::End(ended)),
        };
        eprintln!("tail: connected as {} of {}", answer.connection, answer.app);
        self.connected = true;
        self.silence = Duration::from_millis(answer.ping_ms) + GRACE;
        for index in 0..self.follows.len() {
            if let Step::End(ended) = self.subscribe(index).await {
                return Ok(Step::End(ended));
            }
        }
        Ok(Step::Go)
    }

    async fn subscribe(&mut self, index: usize) -> Step {
        self.last_id += 1;
        self.asked.insert(self.last_id, index);
        let request = self.follows[index].request(self.last_id);
        self.send_step(request).await
    }

    async fn answered_subscribe(
        &mut self,
        index: usize,
        result: Result<Box<RawValue>, WireError>,
    ) -> Result<Step, Problem> {
        match result {
            Ok(ok) => match read::<Subscribed>(&ok) {
                Ok(answer) => {
                    let told = self.follows[index].subscribed(&answer);
                    eprintln!("tail: {told}");
                    Ok(Step::Go)
                }
                Err(ended) => Ok(Step::End(ended)),
            },
            Err(error) if error.code == ErrorCode::HistoryOff.name() && self.follows[index].is_resuming() => {
                eprintln!(
                    "tail: {}: keeps no history, so what came in between is not known; following live",
                    self.follows[index].channel
                );
                self.follows[index].forget();
                Ok(self.subscribe(index).await)
            }
            Err(error) => self.refused(&error),
        }
    }

    async fn event(&mut self, event: Event) -> Result<Step, Problem> {
        match event {
            Event::Ping => return Ok(self.send_step(r#"{"op":"pong"}"#.to_owned()).await),
            Event::Gap { channel, from, to } => {
                eprintln!("tail: {channel}: gap: serials {from} to {to} are past retention");
                self.pass(channel.as_str(), to);
            }
            Event::Skip { channel, serial } => self.pass(channel.as_str(), serial),
            Event::Unsubscribed { channel, error } => {
                let Some(index) = self.follows.iter().position(|follow| follow.channel == channel) else {
                    return Ok(Step::Go);
                };
                if error.code != ErrorCode::EpochChanged.name() {
                    return self.refused(&error);
                }
                eprintln!("tail: {channel}: the channel's history was replaced; following live");
                self.follows[index].forget();
                return Ok(self.subscribe(index).await);
            }
            Event::TokenExpiring { in_ms } => match self.credential.fresh_token() {
                Some(token) => {
                    self.last_id += 1;
                    let request = json!({"id": self.last_id, "op": "token", "token": token});
                    return Ok(self.send_step(request.to_string()).await);
                }
                None => eprintln!("tail: the token ends in {} s; give --key to have fresh ones made", in_ms / 1_000),
            },
            Event::Reconnect { after_ms, reason } => {
                eprintln!("tail: the server asks to reconnect in {after_ms} ms: {reason}");
                self.come_back = Some(Instant::now() + Duration::from_millis(after_ms));
            }
            Event::Error { error } => self.error = Some(error),
            // It is never asked for.
            Event::Occupancy { .. } => {}
        }
        Ok(Step::Go)
    }

    fn pass(&mut self, channel: &str, to: Serial) {
        if let Some(follow) = self.follows.iter_mut().find(|follow| follow.channel.as_str() == channel) {
            follow.pass(to);
        }
    }

    /// What a close means; what was said before it says more.
    fn closed(&mut self, frame: Option<CloseFrame>) -> Result<Ended, Problem> {
        let at_once = self.connected.then(|| self.come_back.unwrap_or_else(Instant::now));
        ending::closed(frame.as_ref(), self.error.take(), at_once, self.has_fixed_token())
    }

    fn refused(&self, error: &WireError) -> Result<Step, Problem> {
        ending::refused(error, self.has_fixed_token()).map(Step::End)
    }

    fn has_fixed_token(&self) -> bool {
        matches!(self.credential, Credential::Token(_))
    }

    async fn send_step(&mut self, text: String) -> Step {
        match self.send(text).await {
            Ok(()) => Step::Go,
            Err(()) => Step::End(cut("the connection was cut")),
        }
    }

    async fn send(&mut self, text: String) -> Result<(), ()> {
        let sent = tokio::time::timeout(PATIENCE, self.socket.send(Message::text(text))).await;
        sent.map_err(|_| ())?.map_err(|_| ())
    }

    /// Says goodbye; a connection that is gone already needs none.
    async fn close(&mut self) {
        let goodbye = self.socket.close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }));
        let _ = tokio::time::timeout(Duration::from_secs(1), goodbye).await;
    }
}

async fn open(endpoint: &Endpoint) -> Result<WebSocketStream<Stream>, tungstenite::Error> {
    let stream = endpoint.stream().await?;
    client_async(endpoint.connect().as_str(), stream).await.map(|(socket, _)| socket)
}

fn read<T: DeserializeOwned>(ok: &RawValue) -> Result<T, Ended> {
    serde_json::from_str(ok.get()).map_err(|error| cut(format!("the server sent what cannot be read: {error}")))
}
