//! Subscribers: every channel from its begin, over as many connections as it takes, by socket, by server-sent events or by polls.

use std::{collections::HashMap, fmt, sync::Arc};

use serde_json::Value;
use tokio::sync::mpsc;

use super::{
    checker::{Delivered, Subscription},
    links::Lost,
    stage::{Phase, Stage, pass},
};

mod polls;
mod sockets;
mod sse;

/// Between two tries to connect.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(200);

/// What a subscriber comes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// A WebSocket, which resumes from the positions of its channels.
    Socket,
    /// Server-sent events, which go on after their `Last-Event-ID`.
    Sse,
    /// Polls, each with the cursor of the one before, at another gateway.
    Poll,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Socket => "sockets",
            Self::Sse => "server-sent events",
            Self::Poll => "polls",
        })
    }
}

/// Who says once that it is subscribed, by letting go.
type Begun = Option<mpsc::Sender<()>>;

/// A subscriber, until it has everything.
pub struct Subscriber {
    transport: Transport,
    got: Got,
}

/// What a subscriber has got.
struct Got {
    number: usize,
    stage: Arc<Stage>,
    places: HashMap<String, usize>,
    delivered: Vec<Vec<Delivered>>,
}

/// A subscriber that has everything.
pub struct Followed {
    /// What it came by.
    pub transport: Transport,
    /// How often it was lost and came back.
    pub returns: usize,
    /// What came, of each channel.
    pub subscriptions: Vec<Subscription>,
}

impl Subscriber {
    /// One that has nothing. Of every transport there are as many that begin at one gateway as at the other.
    pub fn new(stage: Arc<Stage>, number: usize) -> Self {
        let transport = [Transport::Socket, Transport::Sse, Transport::Poll][number / 2 % 3];
        let places = stage.channels.iter().enumerate().map(|(at, channel)| (channel.clone(), at)).collect();
        let delivered = stage.channels.iter().map(|_| Vec::new()).collect();
        Self { transport, got: Got { number, stage, places, delivered } }
    }

    /// Follows every channel until it has all that was published. Says once that it is subscribed.
    pub async fn follow(self, begun: mpsc::Sender<()>) -> Followed {
        let Self { transport, mut got } = self;
        let (mut begun, mut returns) = (Some(begun), 0);
        let (mut epochs, mut cursor) = (vec![None; got.delivered.len()], None);
        loop {
            let gateway = got.number + returns;
            let ended = match transport {
                Transport::Socket => sockets::once(&mut got, &mut epochs, gateway, &mut begun).await,
                Transport::Sse => sse::once(&mut got, &mut cursor, gateway, &mut begun).await,
                Transport::Poll => polls::once(&mut got, &mut cursor, gateway, &mut begun).await,
            };
            match ended {
                Ok(()) => break,
                Err(Lost::Away) => pass(PAUSE).await,
                Err(Lost::Refused(what)) => {
                    got.stage.complain(format!("subscriber {} by {transport}: {what}", got.number));
                    break;
                }
            }
            returns += 1;
        }
        Followed { transport, returns, subscriptions: got.subscriptions(transport) }
    }
}

impl Got {
    /// Every channel, as a query.
    fn query(&self) -> String {
        let channels: Vec<_> = self.stage.channels.iter().map(|channel| format!("channel={channel}")).collect();
        channels.join("&")
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
        let Some(&at) = self.places.get(&text("channel")) else {
            return Err(Lost::Refused(format!("nobody subscribed to the channel of {message}")));
        };
        let serial = message["serial"].as_u64().unwrap_or_default();
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

    /// Whether everything is published, and has come.
    fn has_all(&self, phase: &Phase) -> bool {
        let Phase::Over(heads) = phase else { return false };
        let has = |(channel, at): (&String, &usize)| {
            heads.get(channel).is_none_or(|head| self.delivered[*at].len() as u64 >= *head)
        };
        self.places.iter().all(has)
    }

    fn subscriptions(self, transport: Transport) -> Vec<Subscription> {
        let subscriber = format!("subscriber {} by {transport}", self.number);
        let channels = self.stage.channels.iter().zip(self.delivered);
        let whole = |(channel, delivered): (&String, _)| Subscription {
            subscriber: subscriber.clone(),
            channel: channel.clone(),
            delivered,
        };
        channels.map(whole).collect()
    }
}
