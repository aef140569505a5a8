//! Streams: connections on which nothing comes in. They stand on the same machine as sockets: what a socket's client would say is
//! said for them, and what comes into the outbox leaves as events or as a page.

use std::{rc::Rc, time::Duration};

use actix::Addr;
use actix_web::{HttpRequest, HttpResponse};
use fanfare_domain::Refusal;
use fanfare_protocol::{
    ChannelName, ErrorCode, Position, Serial,
    events::{Connected, Lost, Subscribed},
    websocket::text_of,
};
use serde::de::DeserializeOwned;
use serde_json::json;

mod asked;
mod positions;
pub(crate) mod said;

use asked::Begin;
pub(crate) use asked::{Asked, bearer, origin};
pub(crate) use positions::Positions;
use said::Answer;

use crate::{
    Faults, Unconnected, accept, cross_origin,
    hub::Hub,
    sockets::{self, Mail, SocketActor, Transport, Visitor},
    wire::{Outbox, Outlet},
};

/// The id of `connect`, those of the subscribes that follow it, and those of subscribes that are tried once more.
const CONNECT: u32 = 1;
const SUBSCRIBE: u32 = 1_000;
const AGAIN: u32 = 2_000;

/// A stream that has begun.
pub(crate) struct Stream {
    /// Its actor.
    pub(crate) address: Addr<SocketActor>,
    /// Where its frames leave. When it is dropped, the stream is over.
    pub(crate) outlet: Outlet,
    /// Where its client stands.
    pub(crate) positions: Positions,
    /// What was answered to `connect`.
    pub(crate) connected: Connected,
    /// What was answered for each channel, in the order of their names.
    pub(crate) started: Vec<Subscribed>,
    /// The events that tell what the client has missed for good.
    pub(crate) gaps: Vec<String>,
}

/// A stream on its way to the answer, or the refusal.
pub(crate) async fn begin(request: &HttpRequest, transport: Transport) -> Result<(Stream, Asked), HttpResponse> {
    let hub = request.app_data::<Rc<Hub>>().expect("the routes bring the hub of their thread");
    match open(hub, request, transport).await {
        Ok(begun) => Ok(begun),
        Err(refusal) => Err(refuse(request, hub, &refusal).await),
    }
}

/// A refusal that the page it goes to may read, if the app allows that.
pub(crate) async fn refuse(request: &HttpRequest, hub: &Hub, refusal: &Refusal) -> HttpResponse {
    let by = Asked::by_whom(request);
    let mut refused = accept::refuse(request, refusal);
    cross_origin::share_refusal(hub, &by, &mut refused).await;
    refused
}

/// Connects and subscribes, as the client of a socket would; the first refusal ends it.
async fn open(hub: &Rc<Hub>, request: &HttpRequest, transport: Transport) -> Result<(Stream, Asked), Refusal> {
    let gateway = hub.gateway();
    if gateway.is_draining() {
        return Err(Refusal::plain(ErrorCode::Draining));
    }
    if let Some(refusal) = gateway.faults().and_then(Faults::refusal) {
        return Err(refusal);
    }
    let unconnected = Unconnected::new(gateway).ok_or_else(|| {
        let why = "too many connections wait for their credentials to be looked at";
        Refusal::new(ErrorCode::Unavailable, why).retry_after(Duration::from_secs(1))
    })?;
    let (outbox, outlet) = Outbox::marked(accept::OUTBOX_BYTES);
    let by = Asked::by_whom(request);
    let visitor = Visitor { bearer: None, origin: by.origin.clone() };
    let address = sockets::start_one_way(Rc::clone(hub), outbox, visitor, transport, unconnected);
    let mut opening = Opening { address, outlet };
    opening.say(by.connect(CONNECT)).await;
    let connected: Connected = read(opening.answer().await?)?;
    let app = fanfare_domain::ids::AppId::parse(&connected.app).map_err(|_| Refusal::plain(ErrorCode::Internal))?;
    // Only who may be here is told what is wrong with the rest.
    let asked = Asked::read(request)?;
    let scope = gateway.ports().cursors.scope(&app, &asked.channels);
    let begins = match asked.cursor.as_deref().map(|cursor| scope.open(cursor)).transpose()? {
        Some(positions) => positions.into_iter().map(|position| Some(Begin::Since(position))).collect(),
        None => asked.begins.clone(),
    };
    let started = opening.subscribe(&asked, &begins).await?;
    let at = started
        .iter()
        .map(|one| Position { epoch: one.epoch.clone(), serial: Serial(one.serial.0.saturating_sub(one.backlog)) });
    let positions = Positions::new(scope, asked.channels.clone(), at.collect());
    let gaps = started.iter().filter_map(|one| Some(said::gap_text(&one.channel, one.lost?.from, one.lost?.to)));
    let gaps = gaps.collect();
    let Opening { address, outlet } = opening;
    Ok((Stream { address, outlet, positions, connected, started, gaps }, asked))
}

struct Opening {
    address: Addr<SocketActor>,
    outlet: Outlet,
}

impl Opening {
    /// Says what a client would; a connection that has ended answers with its end.
    async fn say(&self, text: String) {
        let _ = self.address.send(Mail::said(text)).await;
    }

    /// The next answer, or why the connection ended.
    async fn answer(&mut self) -> Result<Answer, Refusal> {
        let ended = || Refusal::plain(ErrorCode::Unavailable);
        let taken = self.outlet.take(said::decides).await.ok_or_else(ended)?;
        let text = text_of(&taken.frame).ok_or_else(ended)?;
        if said::op(&text).is_some() {
            return Err(said::reason(&text));
        }
        serde_json::from_slice(&text).map_err(|_| Refusal::plain(ErrorCode::Internal))
    }

    /// Subscribes to every channel, from where it begins. One that keeps no history any more begins at its head.
    async fn subscribe(&mut self, asked: &Asked, begins: &[Option<Begin>]) -> Result<Vec<Subscribed>, Refusal> {
        for (at, channel) in asked.channels.iter().enumerate() {
            self.say(subscribe_text(SUBSCRIBE + at as u32, channel, begins[at].as_ref(), asked)).await;
        }
        let mut started: Vec<Option<Subscribed>> = vec![None; asked.channels.len()];
        while let Some(missing) = started.iter().position(Option::is_none) {
            let answer = self.answer().await?;
            let is_again = answer.id >= AGAIN;
            let at = answer.id.saturating_sub(if is_again { AGAIN } else { SUBSCRIBE }) as usize;
            let channel = asked.channels.get(at).unwrap_or(&asked.channels[missing]);
            let since = match begins.get(at) {
                Some(Some(Begin::Since(position))) => Some(position),
                _ => None,
            };
            match &answer.error {
                Some(error) if !is_again && since.is_some() && error.code == ErrorCode::HistoryOff.name() => {
                    self.say(subscribe_text(AGAIN + at as u32, channel, None, asked)).await;
                }
                _ => {
                    let one: Subscribed = read(answer).map_err(|refusal| naming(refusal, channel))?;
                    let since = since.filter(|_| is_again);
                    started[at] = Some(Subscribed { lost: one.lost.or(lost_without_history(since, &one)), ..one });
                }
            }
        }
        Ok(started.into_iter().flatten().collect())
    }
}

fn subscribe_text(id: u32, channel: &ChannelName, begin: Option<&Begin>, asked: &Asked) -> String {
    let mut subscribe = json!({"id": id, "op": "subscribe", "channel": channel});
    if let Some((name, value)) = begin.map(Begin::field) {
        subscribe[name] = value;
    }
    for (name, wanted) in [("presence", asked.presence), ("occupancy", asked.occupancy)] {
        if wanted {
            subscribe[name] = json!(true);
        }
    }
    subscribe.to_string()
}

fn read<T: DeserializeOwned>(answer: Answer) -> Result<T, Refusal> {
    match (answer.ok, answer.error) {
        (Some(ok), _) => serde_json::from_str(ok.get()).map_err(|_| Refusal::plain(ErrorCode::Internal)),
        (None, Some(error)) => Err(said::refusal(error)),
        (None, None) => Err(Refusal::plain(ErrorCode::Internal)),
    }
}

/// One channel refuses the whole stream, so it is named.
fn naming(refusal: Refusal, channel: &ChannelName) -> Refusal {
    let name = format!("`{channel}`");
    if refusal.message.contains(&name) {
        return refusal;
    }
    Refusal { message: format!("{name}: {}", refusal.message), ..refusal }
}

/// What a client misses that comes back to a channel which keeps no history any more.
fn lost_without_history(since: Option<&Position>, head: &Subscribed) -> Option<Lost> {
    let since = since?;
    let is_same = since.epoch == head.epoch;
    if is_same && since.serial == head.serial {
        return None;
    }
    let to = (is_same && since.serial < head.serial).then_some(head.serial);
    Some(Lost { from: since.serial.next(), to })
}
