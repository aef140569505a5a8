//! The contract of `MessageLog`.

use fanfare_domain::{
    Timestamp,
    accounts::Accounts,
    apps::{App, Apps},
    history::{Appended, HistoryPage, MessageLog, Visible},
    publishing::Accepted,
    rules::Retention,
};
use fanfare_protocol::requests::Range;

use super::samples::{DAY_S, NOW, channel};

pub mod append;
pub mod idempotency;
pub mod pages;
pub mod sweeps;

/// A store whose log can be tried, since apps can be made in it.
pub trait Log: Accounts + Apps + MessageLog + Clone + 'static {}

impl<T: Accounts + Apps + MessageLog + Clone + 'static> Log for T {}

/// What a reader sees who may see a day's messages.
fn a_day() -> Visible {
    Visible { retention: Retention { retention_s: DAY_S, max_messages: None }, now: NOW }
}

fn seen_at(now: Timestamp, retention_s: u64) -> Visible {
    Visible { retention: Retention { retention_s, max_messages: None }, now }
}

async fn page(log: &impl Log, app: &App, name: &str, range: Range, limit: u32, visible: Visible) -> HistoryPage {
    log.read(&app.id, &channel(name), range, limit, visible).await.unwrap().expect("the app is there")
}

fn serials(page: &HistoryPage) -> Vec<u64> {
    page.items.iter().map(|(serial, _)| serial.0).collect()
}

/// Appends one message and tells its serial.
async fn append_one(log: &impl Log, accepted: Accepted) -> u64 {
    match &log.append(None, &[accepted]).await.unwrap()[..] {
        [Appended::Stored { serial, .. }] => serial.0,
        other => panic!("{other:?}"),
    }
}
