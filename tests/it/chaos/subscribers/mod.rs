//! Subscribers: every channel from its begin, over as many connections as it takes.

use std::{collections::HashMap, sync::Arc};

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{
    checker::{Delivered, Subscription},
    links::{Link, Lost},
    stage::{Phase, Stage, pass},
};

/// Between two tries to connect.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

/// A subscriber and what it has got.
pub struct Subscriber {
    number: usize,
    stage: Arc<Stage>,
    places: HashMap<String, usize>,
    epochs: Vec<Option<String>>,
    delivered: Vec<Vec<Delivered>>,
}

impl Subscriber {
    /// One that has nothing.
    pub fn new(stage: Arc<Stage>, number: usize) -> Self {
        let places = stage.channels.iter().enumerate().map(|(at, channel)| (channel.clone(), at)).collect();
        let (epochs, delivered) = stage.channels.iter().map(|_| (None, Vec::new())).unzip();
        Self { number, stage, places, epochs, delivered }
    }

    /// Follows every channel until it has all that was published. Says once that it is subscribed.
    pub async fn follow(mut self, begun: mpsc::Sender<()>) -> Vec<Subscription> {
        let mut begun = Some(begun);
        for round in self.number.. {
            match self.once(round, &mut begun).await {
                Ok(()) => break,
                Err(Lost::Away) => pass(PAUSE).await,
                Err(Lost::Refused(what)) => {
                    self.stage.complain(format!("subscriber {}: {what}", self.number));
                    break;
                }
            }
        }
        let subscriber = format!("subscriber {}", self.number);
        let channels = self.stage.channels.iter().zip(self.delivered);
        let whole = |(channel, delivered): (&String, _)| Subscription {
            subscriber: subscriber.clone(),
            channel: channel.clone(),
            delivered,
        };
        channels.map(whole).collect()
    }

    /// One connection's life; it is over well when everything has come.
    async fn once(&mut self, round: usize, begun: &mut Option<mpsc::Sender<()>>) -> Result<(), Lost> {
        let gateway = self.stage.gateways[round % self.stage.gateways.len()].clone();
        let mut link = Link::connect(&gateway, &self.stage.token).await?;
        for at in 0..self.delivered.len() {
            self.subscribe(&mut link, at).await?;
        }
        drop(begun.take());
        let mut phase = self.stage.phase.subscribe();
        loop {
            if let Phase::Over(heads) = &*phase.borrow_and_update()
                && self.has_all(heads)
            {
                return Ok(());
            }
            tokio::select! {
                event = link.event() => self.take(&event?)?,
                _ = phase.changed() => {}
            }
        }
    }

    async fn subscribe(&mut self, link: &mut Link, at: usize) -> Result<(), Lost> {
        let mut request = json!({"op": "subscribe", "channel": self.stage.channels[at]});
        if let Some(epoch) = &self.epochs[at] {
            request["since"] = json!({"epoch": epoch, "serial": self.delivered[at].len()});
        }
        let ok = link.ask(request.clone()).await?;
        if self.epochs[at].is_some() && ok["resumed"] != true {
            return Err(Lost::Refused(format!("{request} was not resumed: {ok}")));
        }
        self.epochs[at].get_or_insert_with(|| ok["epoch"].as_str().unwrap_or_default().to_owned());
        Ok(())
    }

    /// Takes an event. What came before the last connection ended stands, whatever the next one brings.
    fn take(&mut self, event: &Value) -> Result<(), Lost> {
        match event["op"].as_str() {
            Some("message") => self.keep(event),
            // The gateway goes away; another one serves at once.
            Some("reconnect") => Err(Lost::Away),
            Some("unsubscribed") if event["error"]["code"] == "unavailable" => Err(Lost::Away),
            Some("error") => Ok(()),
            _ => Err(Lost::Refused(format!("there came {event}"))),
        }
    }

    fn keep(&mut self, message: &Value) -> Result<(), Lost> {
        let text = |field: &str| message[field].as_str().unwrap_or_default().to_owned();
        let (at, serial) = (self.places[&text("channel")], message["serial"].as_u64().unwrap_or_default());
        let expected = self.delivered[at].len() as u64 + 1;
        let payload = message["data"].to_string();
        self.delivered[at].push(Delivered { serial, id: text("id"), payload });
        // The checker would find it as well, but only in the end.
        if serial != expected {
            return Err(Lost::Refused(format!("serial {expected} should have come, and there came {message}")));
        }
        self.stage.saw(self.number, at, message["data"]["stamp"].as_u64().unwrap_or_default());
        Ok(())
    }

    fn has_all(&self, heads: &HashMap<String, u64>) -> bool {
        self.places
            .iter()
            .all(|(channel, at)| heads.get(channel).is_none_or(|head| self.delivered[*at].len() as u64 >= *head))
    }
}
