//! Messages: what was published, and the envelope it travels in.

use fanfare_protocol::{ChannelName, ClientName, Epoch, EventName, Serial, events::Item, requests::Headers};
use serde_json::value::RawValue;

use crate::{
    Timestamp,
    ids::{AppId, ConnectionId, MessageId},
    traces::TraceParent,
};

/// A message before or after it has a place in its channel.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// When it was accepted; never less than the time of the message before it in the channel.
    pub time: Timestamp,
    /// The event's name.
    pub name: Option<EventName>,
    /// Who published it.
    pub client: Option<ClientName>,
    /// Short strings that travel with it.
    pub headers: Option<Headers>,
    /// The publisher's JSON on one line.
    pub data: Box<RawValue>,
}

impl Message {
    /// The shape that clients see.
    pub fn to_item(&self, channel: &ChannelName, serial: Option<Serial>) -> Item {
        Item {
            channel: channel.clone(),
            serial,
            id: self.id.as_str().to_owned(),
            time: self.time.0,
            name: self.name.clone(),
            client: self.client.clone(),
            headers: self.headers.clone(),
            data: self.data.clone(),
        }
    }
}

/// A message on its way from a worker to the gateways.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// The app.
    pub app: AppId,
    /// The channel.
    pub channel: ChannelName,
    /// Its place; absent for an ephemeral message.
    pub place: Option<(Epoch, Serial)>,
    /// The connection that is to see a `skip` in its stead.
    pub exclude: Option<ConnectionId>,
    /// The trace that it belongs to.
    pub trace: Option<TraceParent>,
    /// The message.
    pub message: Message,
}
