//! Observers: they subscribe to the rooms with presence, list them, and follow what they are told.

use std::{ops::Range, sync::Arc, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};

use super::{PAUSE, ROOMS, STAYING, View};
use crate::chaos::{
    links::{Link, Lost, SILENCE},
    stage::{Phase, Stage, pass},
    streams::Stream,
};

/// How long an observer stays that comes and goes, in milliseconds.
const STAY_MS: Range<u64> = 1_000..10_000;

/// An observer, always at the same gateway.
pub struct Observer {
    number: usize,
    stage: Arc<Stage>,
    random: StdRng,
    last_id: Option<String>,
}

impl Observer {
    /// One that has seen nothing.
    pub fn new(stage: Arc<Stage>, number: usize, seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed.wrapping_mul(1_000) + 500 + number as u64);
        Self { number, stage, random, last_id: None }
    }

    /// Observes until the run is over. Says once that it sees something.
    pub async fn observe(mut self, begun: mpsc::Sender<()>) {
        let (stage, mut begun) = (Arc::clone(&self.stage), Some(begun));
        let mut phase = stage.phase.subscribe();
        loop {
            let stay = Duration::from_millis(self.random.random_range(STAY_MS));
            let goes = self.number >= STAYING;
            let lived = tokio::select! {
                lived = self.once(&mut begun) => lived,
                () = stage.presence.stay(stay), if goes => Err(Lost::Away),
                _ = phase.wait_for(|phase| matches!(phase, Phase::Over(_))) => return,
            };
            stage.presence.sees_nothing(self.number);
            match lived {
                Err(Lost::Refused(what)) => return stage.complain(format!("observer {}: {what}", self.number)),
                Ok(()) | Err(Lost::Away) => pass(PAUSE).await,
            }
        }
    }

    async fn once(&mut self, begun: &mut Option<mpsc::Sender<()>>) -> Result<(), Lost> {
        let gateway = self.stage.gateway(self.number).to_owned();
        if (self.number / 2).is_multiple_of(2) {
            self.by_socket(&gateway, begun).await
        } else {
            self.by_stream(&gateway, begun).await
        }
    }

    async fn by_socket(&self, gateway: &str, begun: &mut Option<mpsc::Sender<()>>) -> Result<(), Lost> {
        let mut link = Link::connect(gateway, &self.stage.token).await?;
        for (at, room) in ROOMS.into_iter().enumerate() {
            patiently(&mut link, &json!({"op": "subscribe", "channel": room, "presence": true})).await?;
            let listed = patiently(&mut link, &json!({"op": "presence", "channel": room, "action": "list"})).await?;
            self.lists(at, &listed)?;
        }
        drop(begun.take());
        loop {
            self.take(&link.event().await?)?;
        }
    }

    async fn by_stream(&mut self, gateway: &str, begun: &mut Option<mpsc::Sender<()>>) -> Result<(), Lost> {
        let channels: Vec<_> = ROOMS.iter().map(|room| format!("channel={room}")).collect();
        let query = format!("{}&presence=true", channels.join("&"));
        let mut stream = Stream::open(&self.stage, gateway, &query, self.last_id.as_deref()).await?;
        stream.event().await?;
        self.last_id = Some(stream.last_id().to_owned());
        for (at, room) in ROOMS.into_iter().enumerate() {
            let listed = loop {
                match self.stage.members(self.stage.api(self.number), room).await? {
                    Some(listed) => break listed,
                    None => pass(PAUSE).await,
                }
            };
            self.lists(at, &listed)?;
        }
        drop(begun.take());
        loop {
            self.take(&stream.event().await?)?;
        }
    }

    fn lists(&self, room: usize, listed: &Value) -> Result<(), Lost> {
        let items = listed["items"].as_array();
        let items = items.ok_or_else(|| Lost::Refused(format!("a list has no items: {listed}")))?;
        self.stage.presence.sees(self.number, room, View::listed(items));
        Ok(())
    }

    fn take(&self, event: &Value) -> Result<(), Lost> {
        match event["op"].as_str() {
            Some("presence") => self.stage.presence.told(self.number, event),
            Some("reconnect") => Err(Lost::Away),
            Some("unsubscribed") if event["error"]["code"] == "unavailable" => Err(Lost::Away),
            Some("error") => Ok(()),
            _ => Err(Lost::Refused(format!("there came {event}"))),
        }
    }
}

/// Asks until it is not unavailable.
async fn patiently(link: &mut Link, request: &Value) -> Result<Value, Lost> {
    loop {
        let answer = link.answer(request.clone()).await?;
        match answer["error"]["code"].as_str() {
            None => return Ok(answer["ok"].clone()),
            Some("unavailable") => pass(PAUSE).await,
            Some(_) => return Err(Lost::Refused(format!("{request} was answered {answer}"))),
        }
    }
}

impl Stage {
    /// The members of a channel as an API node lists them; nothing while it cannot.
    pub(super) async fn members(&self, api: &str, channel: &str) -> Result<Option<Value>, Lost> {
        let tenant = self.tenant.at(api);
        let request = tenant.request(Method::GET, &format!("/v1/channels/{channel}/presence"));
        let sent = timeout(SILENCE, async {
            let response = request.bearer_auth(tenant.credential()).send().await.ok()?;
            Some((response.status().as_u16(), response.text().await.ok()?))
        });
        match sent.await {
            Ok(Some((200, text))) => Ok(serde_json::from_str(&text).ok()),
            Err(_) | Ok(None | Some((408 | 503, _))) => Ok(None),
            Ok(Some((status, text))) => Err(Lost::Refused(format!("members are listed with {status}: {text}"))),
        }
    }
}
