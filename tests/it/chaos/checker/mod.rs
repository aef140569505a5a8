//! The checker: from the logs of both ends, whether the promise was kept. Pure: logs in, figures or the first violation out.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

#[cfg(test)]
mod tests;

/// What one caller published, one after the other: each only after the one before was answered.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// Who it is.
    pub name: String,
    /// Its publishes, in the order in which they were begun.
    pub publishes: Vec<Publish>,
}

/// A publish with all its retries, which have one idempotency key.
#[derive(Debug, Clone)]
pub struct Publish {
    /// The channel.
    pub channel: String,
    /// What was sent, which nobody else sends.
    pub payload: String,
    /// What it was answered; nothing if it never was, and may or may not have been accepted.
    pub answer: Option<Answer>,
}

/// A 2xx.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The message's id.
    pub id: String,
    /// Its serial, if the caller waited for it.
    pub serial: Option<u64>,
}

/// A message as a subscriber or a reader of history got it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// The serial.
    pub serial: u64,
    /// The message's id.
    pub id: String,
    /// What was sent.
    pub payload: String,
}

/// What one subscriber got of a channel from serial 1 on, over all its connections, in the order in which it came.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// Who it is.
    pub subscriber: String,
    /// The channel.
    pub channel: String,
    /// What came.
    pub delivered: Vec<Delivered>,
}

/// Everything that is known when all is over.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// What was published.
    pub callers: Vec<Caller>,
    /// What was delivered.
    pub subscriptions: Vec<Subscription>,
    /// What history holds, ascending, of every channel.
    pub histories: BTreeMap<String, Vec<Delivered>>,
}

/// What was found in evidence without a violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Publishes that were answered 2xx.
    pub accepted: usize,
    /// Publishes that were never answered and are stored.
    pub unanswered: usize,
    /// Deliveries to subscribers.
    pub delivered: usize,
}

/// How the promise was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Violation {
    /// An accepted message is not in history, or a stored one did not reach a subscriber.
    Lost(String),
    /// A message is there twice.
    Doubled(String),
    /// A subscriber got a message before one that comes before it.
    Reordered(String),
    /// A message that nobody sent.
    Invented(String),
    /// What a caller published one after the other has not got ascending serials.
    CallerOrder(String),
    /// History holds something else than was delivered or answered.
    Differs(String),
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(what) => write!(f, "lost: {what}"),
            Self::Doubled(what) => write!(f, "doubled: {what}"),
            Self::Reordered(what) => write!(f, "reordered: {what}"),
            Self::Invented(what) => write!(f, "invented: {what}"),
            Self::CallerOrder(what) => write!(f, "a caller's order is broken: {what}"),
            Self::Differs(what) => write!(f, "history differs: {what}"),
        }
    }
}

/// Proves that every answered publish is in history once, in its caller's order, that history has serials without a hole and nothing that
/// nobody sent, and that every subscriber got exactly history; or gives the first violation.
pub fn check(evidence: &Evidence) -> Result<Figures, Violation> {
    let sent = sent(&evidence.callers);
    for (channel, history) in &evidence.histories {
        check_history(channel, history, &sent)?;
    }
    let stored = stored(&evidence.histories);
    for caller in &evidence.callers {
        check_caller(caller, &stored)?;
    }
    for subscription in &evidence.subscriptions {
        let history = evidence.histories.get(&subscription.channel).map(Vec::as_slice).unwrap_or_default();
        check_subscription(subscription, history, &sent)?;
    }
    let publishes = || evidence.callers.iter().flat_map(|caller| &caller.publishes);
    let is_stored = |publish: &&Publish| stored.contains_key(&(publish.channel.as_str(), publish.payload.as_str()));
    Ok(Figures {
        accepted: publishes().filter(|publish| publish.answer.is_some()).count(),
        unanswered: publishes().filter(|publish| publish.answer.is_none()).filter(is_stored).count(),
        delivered: evidence.subscriptions.iter().map(|subscription| subscription.delivered.len()).sum(),
    })
}

/// A channel and a payload, by which a publish is known.
type Sent<'a> = HashMap<(&'a str, &'a str), &'a str>;

fn sent(callers: &[Caller]) -> Sent<'_> {
    let publishes = callers.iter().flat_map(|caller| caller.publishes.iter().map(move |publish| (caller, publish)));
    publishes.map(|(by, publish)| ((publish.channel.as_str(), publish.payload.as_str()), by.name.as_str())).collect()
}

fn stored(histories: &BTreeMap<String, Vec<Delivered>>) -> HashMap<(&str, &str), &Delivered> {
    let items = histories.iter().flat_map(|(channel, items)| items.iter().map(move |item| (channel.as_str(), item)));
    items.map(|(channel, item)| ((channel, item.payload.as_str()), item)).collect()
}

/// Serials 1, 2, 3 …, every message sent by somebody, none there twice.
fn check_history(channel: &str, history: &[Delivered], sent: &Sent<'_>) -> Result<(), Violation> {
    let (mut ids, mut payloads) = (HashMap::new(), HashMap::new());
    for (at, item) in history.iter().enumerate() {
        let place = format!("serial {} of {channel} in history", item.serial);
        if !sent.contains_key(&(channel, item.payload.as_str())) {
            return Err(Violation::Invented(format!("{place}: `{}`", item.payload)));
        }
        if let Some(before) = ids.insert(&item.id, item.serial).or(payloads.insert(&item.payload, item.serial)) {
            return Err(Violation::Doubled(format!("{place}: `{}` is at serial {before} too", item.payload)));
        }
        if item.serial != at as u64 + 1 {
            return Err(Violation::Lost(format!("{place} stands where serial {} should", at + 1)));
        }
    }
    Ok(())
}

/// Every answered publish is stored as it was answered, and later ones have later serials.
fn check_caller(caller: &Caller, stored: &HashMap<(&str, &str), &Delivered>) -> Result<(), Violation> {
    let mut last: HashMap<&str, (u64, &str)> = HashMap::new();
    for publish in &caller.publishes {
        let Some(answer) = &publish.answer else { continue };
        let (channel, payload) = (publish.channel.as_str(), publish.payload.as_str());
        let what = format!("`{payload}` of {} to {channel}", caller.name);
        let Some(item) = stored.get(&(channel, payload)) else {
            return Err(Violation::Lost(format!("{what} was accepted as {} and is not in history", answer.id)));
        };
        let is_answered = answer.id == item.id && answer.serial.is_none_or(|serial| serial == item.serial);
        if !is_answered {
            let found = format!("stored as {} at {}", item.id, item.serial);
            return Err(Violation::Differs(format!("{what} was answered {answer:?} and {found}")));
        }
        if let Some((serial, before)) = last.insert(channel, (item.serial, payload))
            && serial >= item.serial
        {
            let places = format!("serial {}, and `{before}`, answered before it was sent, {serial}", item.serial);
            return Err(Violation::CallerOrder(format!("{what} has {places}")));
        }
    }
    Ok(())
}

/// The subscriber got what history holds, from serial 1 on, each once and in order.
fn check_subscription(got: &Subscription, history: &[Delivered], sent: &Sent<'_>) -> Result<(), Violation> {
    let mut expected = 1;
    for item in &got.delivered {
        let what = format!("serial {} of {} to {}", item.serial, got.channel, got.subscriber);
        if !sent.contains_key(&(got.channel.as_str(), item.payload.as_str())) {
            return Err(Violation::Invented(format!("{what}: `{}`", item.payload)));
        }
        if item.serial != expected {
            return Err(out_of_place(got, item.serial, expected, &what));
        }
        match history.get(item.serial as usize - 1) {
            Some(stored) if stored == item => {}
            stored => return Err(Violation::Differs(format!("{what} was {item:?}; history holds {stored:?}"))),
        }
        expected += 1;
    }
    if got.delivered.len() < history.len() {
        let missing = format!("serials {expected} to {} of {}", history.len(), got.channel);
        return Err(Violation::Lost(format!("{missing} never reached {}", got.subscriber)));
    }
    Ok(())
}

/// A serial that is not the next one: come before, come too soon, or come in place of one that never comes.
fn out_of_place(got: &Subscription, serial: u64, expected: u64, what: &str) -> Violation {
    if serial < expected {
        return Violation::Doubled(format!("{what} came again where serial {expected} should"));
    }
    if got.delivered.iter().any(|item| item.serial == expected) {
        return Violation::Reordered(format!("{what} came before serial {expected}"));
    }
    Violation::Lost(format!("{what} came, and serial {expected} never did"))
}
