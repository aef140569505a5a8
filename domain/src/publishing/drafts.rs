//! From what a publisher asks for to a checked message.

use fanfare_protocol::{ChannelName, ClientName, ErrorCode, json, requests::Ack, requests::Headers};
use sha2::{Digest, Sha256};

use super::{Accepted, NewPublish};
use crate::{
    Refusal, Timestamp,
    capabilities::Right,
    grants::{Grant, Identity},
    ids::MessageId,
    messages::{Envelope, Message},
};

const MAX_HEADERS: usize = 16;
const MAX_HEADER_NAME_BYTES: usize = 64;
const MAX_HEADER_VALUE_BYTES: usize = 256;
const MAX_IDEMPOTENCY_KEY_BYTES: usize = 200;

/// A checked message, by where it goes.
pub(super) enum Draft {
    Durable(Accepted),
    Ephemeral(Envelope),
}

impl Draft {
    /// Its channel, and whether it is ephemeral.
    pub fn channel(&self) -> (ChannelName, bool) {
        match self {
            Self::Durable(accepted) => (accepted.channel.clone(), false),
            Self::Ephemeral(envelope) => (envelope.channel.clone(), true),
        }
    }
}

/// Checks what a publisher asks for against its grant, the channel's rule and the plan.
pub(super) fn draft(grant: &Grant, publish: NewPublish, ack: Ack, now: Timestamp) -> Result<Draft, Refusal> {
    let profile = &grant.profile;
    grant.require(Right::Publish, &publish.channel)?;
    let data = if publish.keep_spaces { publish.data.clone() } else { json::compact(&publish.data) };
    check_size(data.get().len(), profile.message_bytes(&publish.channel) as usize)?;
    check_headers(publish.headers.as_ref())?;
    check_key(publish.idempotency_key.as_deref())?;
    let client = match &grant.identity {
        Identity::Backend => publish.client.clone(),
        Identity::Client(identity) if publish.client.is_none() || publish.client == identity.client => {
            identity.client.clone()
        }
        Identity::Client(_) | Identity::Public => {
            return Err(Refusal::new(ErrorCode::Forbidden, "only an API key may publish on a client's behalf"));
        }
    };
    let fingerprint = fingerprint(&publish, client.as_ref(), data.get());
    let retention = profile.rule(&publish.channel).history.filter(|_| !publish.ephemeral);
    let id = match &publish.idempotency_key {
        Some(key) if retention.is_some() => derived_id(grant, &publish, key),
        // What leaves no trace cannot be recognised: an ephemeral message is a new one each time.
        _ => MessageId::generate(),
    };
    let keyed = publish.idempotency_key.is_some();
    let message = Message { id, time: now, name: publish.name, client, headers: publish.headers, data };
    let app = profile.app.id.clone();
    match retention {
        Some(retention) => Ok(Draft::Durable(Accepted {
            app,
            channel: publish.channel,
            message,
            keyed,
            fingerprint,
            exclude: publish.exclude,
            retention,
            trace: publish.trace,
            redelivered: false,
        })),
        _ if ack == Ack::Persisted => Err(Refusal::new(
            ErrorCode::HistoryOff,
            format!("a message to `{}` without history cannot be persisted", publish.channel),
        )),
        _ => Ok(Draft::Ephemeral(Envelope {
            app,
            channel: publish.channel,
            place: None,
            exclude: publish.exclude,
            trace: publish.trace,
            message,
        })),
    }
}

fn check_size(size: usize, limit: usize) -> Result<(), Refusal> {
    if size <= limit {
        return Ok(());
    }
    Err(Refusal::new(ErrorCode::MessageTooLarge, format!("`data` has {size} bytes; {limit} are allowed")))
}

fn check_headers(headers: Option<&Headers>) -> Result<(), Refusal> {
    let Some(headers) = headers else { return Ok(()) };
    let fits = headers.len() <= MAX_HEADERS
        && headers.iter().all(|(name, value)| {
            (1..=MAX_HEADER_NAME_BYTES).contains(&name.len()) && value.len() <= MAX_HEADER_VALUE_BYTES
        });
    if fits {
        return Ok(());
    }
    let allowed = format!(
        "{MAX_HEADERS} headers, names of 1 to {MAX_HEADER_NAME_BYTES} bytes, values of {MAX_HEADER_VALUE_BYTES} bytes"
    );
    Err(Refusal::new(ErrorCode::InvalidBody, format!("`headers` is too large: {allowed} are allowed")).at("/headers"))
}

fn check_key(key: Option<&str>) -> Result<(), Refusal> {
    match key {
        Some(key) if !(1..=MAX_IDEMPOTENCY_KEY_BYTES).contains(&key.len()) => Err(Refusal::new(
            ErrorCode::InvalidBody,
            format!("an idempotency key has 1 to {MAX_IDEMPOTENCY_KEY_BYTES} bytes"),
        )
        .at("/idempotency_key")),
        _ => Ok(()),
    }
}

/// A key belongs to (app, channel, client), or to the app's API keys together; every node derives the same id from it.
fn derived_id(grant: &Grant, publish: &NewPublish, key: &str) -> MessageId {
    let owner = match (&grant.identity, grant.client()) {
        (Identity::Backend, _) => "backend".to_owned(),
        (_, Some(client)) => format!("client {client}"),
        (_, None) => "anonymous".to_owned(),
    };
    let mut hash = Sha256::new();
    for part in ["fanfare message id 1", grant.profile.app.id.as_str(), publish.channel.as_str(), &owner, key] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    MessageId::derived(&hash.finalize().into())
}

/// Covers all that subscribers see: name, client, headers and data, each told apart from its absence.
fn fingerprint(publish: &NewPublish, client: Option<&ClientName>, data: &str) -> [u8; 16] {
    let seen =
        serde_json::to_string(&(&publish.name, client, &publish.headers)).expect("names and headers are strings");
    let mut hash = Sha256::new();
    for part in [&seen, data] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let whole: [u8; 32] = hash.finalize().into();
    std::array::from_fn(|at| whole[at])
}
