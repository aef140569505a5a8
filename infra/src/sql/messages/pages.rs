//! A page of a channel's past.

use diesel::{
    prelude::*,
    sql_types::{Nullable, Text},
};
use diesel_async::RunQueryDsl;
use fanfare_domain::{
    StoreError, Timestamp,
    history::{Found, HistoryPage, PAGE_BYTES, Visible},
    ids::{AppId, MessageId},
    messages::Message,
    publishing::IDEMPOTENCY_WINDOW,
};
use fanfare_protocol::{ChannelName, ClientName, EventName, Serial, requests::Range};
use serde_json::value::RawValue;

use super::heads::{self, serial, stored_serial};
use crate::sql::{
    corrupt,
    db::{Conn, on_dialect},
    schema::messages,
    stored, timestamp,
};

#[diesel::declare_sql_function]
extern "SQL" {
    /// How many bytes a text has, without reading it.
    fn octet_length(text: Nullable<Text>) -> Nullable<Integer>;
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = messages, check_for_backend(diesel::pg::Pg, diesel::sqlite::Sqlite))]
struct ItemRow {
    serial: i64,
    id: String,
    time: i64,
    name: Option<String>,
    client: Option<String>,
    headers: Option<String>,
    data: String,
}

impl ItemRow {
    fn read(self) -> Result<(Serial, Message), StoreError> {
        let name = self.name.map(|name| EventName::parse(&name)).transpose();
        let client = self.client.map(|client| ClientName::parse(&client)).transpose();
        let headers = self.headers.map(|headers| serde_json::from_str(&headers)).transpose();
        let message = Message {
            id: MessageId::parse(&self.id).map_err(|bad| corrupt("messages.id", bad))?,
            time: timestamp(self.time),
            name: name.map_err(|bad| corrupt("messages.name", bad))?,
            client: client.map_err(|bad| corrupt("messages.client", bad))?,
            headers: headers.map_err(|bad| corrupt("messages.headers", bad))?,
            data: RawValue::from_string(self.data).map_err(|bad| corrupt("messages.data", bad))?,
        };
        Ok((Serial(serial(self.serial)), message))
    }
}

/// Serials from the first to the last, both included; empty where the first is greater.
#[derive(Clone, Copy)]
struct Span {
    first: u64,
    last: u64,
    descending: bool,
}

impl Span {
    fn of(range: Range, floor: u64, head: u64) -> Self {
        match range {
            Range::After(Serial(after)) => {
                Span { first: after.max(floor).saturating_add(1), last: head, descending: false }
            }
            Range::Before(Serial(before)) => {
                Span { first: floor + 1, last: before.saturating_sub(1).min(head), descending: true }
            }
            Range::Newest => Span { first: floor + 1, last: head, descending: true },
        }
    }

    fn len(self) -> u64 {
        (self.last + 1).saturating_sub(self.first)
    }

    /// The first so many of it, in its own direction.
    fn take(self, count: u64) -> Self {
        match self.descending {
            true => Span { first: self.first.max((self.last + 1).saturating_sub(count)), ..self },
            false => Span { last: self.last.min(self.first.saturating_add(count).saturating_sub(1)), ..self },
        }
    }
}

/// Which messages are read: those of a channel.
#[derive(Clone, Copy)]
struct Log<'a> {
    app: &'a AppId,
    channel: &'a ChannelName,
}

/// What is known of a message before it is read.
struct Outline {
    serial: u64,
    time: Timestamp,
    bytes: usize,
}

/// Inside a transaction, so that head, floor and messages are of one moment.
pub(super) async fn read(
    conn: &mut Conn,
    app: &AppId,
    channel: &ChannelName,
    range: Range,
    limit: u32,
    visible: Visible,
) -> Result<Option<HistoryPage>, StoreError> {
    let log = Log { app, channel };
    let Some(head) = heads::find(conn, app, channel).await? else { return Ok(None) };
    let mut floor = floor(conn, log, head.serial.0, visible).await?;
    loop {
        let whole = Span::of(range, floor, head.serial.0);
        let asked = whole.take(u64::from(limit));
        let outlines = outlines(conn, log, asked).await?;
        if let Some(missing) = highest_missing(asked, &outlines) {
            may_be_gone(missing, &outlines, visible)?;
            floor = above(conn, log, missing).await?.map_or(head.serial.0, |next| next - 1);
            continue;
        }
        let fitting = asked.take(count_fitting(asked, &outlines));
        let items = items(conn, log, fitting).await?;
        if items.len() as u64 != fitting.len() {
            return Err(corrupt("messages.serial", format!("a hole between {} and {}", fitting.first, fitting.last)));
        }
        let more = whole.len() > fitting.len();
        return Ok(Some(HistoryPage { head, floor: Serial(floor), items, more }));
    }
}

/// The serial below the oldest visible message; the head's where nothing is visible.
async fn floor(conn: &mut Conn, log: Log<'_>, head: u64, visible: Visible) -> Result<u64, StoreError> {
    if head == 0 {
        return Ok(0);
    }
    let oldest = on_dialect!(conn, |c| messages::table
        .filter(messages::app_id.eq(log.app.as_str()))
        .filter(messages::channel.eq(log.channel.as_str()))
        .filter(messages::time.ge(stored(visible.not_before())))
        .order((messages::time, messages::serial))
        .select(messages::serial)
        .first::<i64>(c)
        .await
        .optional())?;
    let by_time = oldest.map_or(head, |oldest| serial(oldest).saturating_sub(1));
    let by_count = visible.retention.max_messages.map_or(0, |most| head.saturating_sub(most));
    Ok(by_time.max(by_count).min(head))
}

/// The last message of that id.
pub(super) async fn find(
    conn: &mut Conn,
    app: &AppId,
    channel: &ChannelName,
    message: &MessageId,
    visible: Visible,
) -> Result<Option<Found>, StoreError> {
    let row = on_dialect!(&mut *conn, |c| messages::table
        .filter(messages::app_id.eq(app.as_str()))
        .filter(messages::channel.eq(channel.as_str()))
        .filter(messages::id.eq(message.as_str()))
        .order(messages::serial.desc())
        .select((messages::serial, messages::time))
        .first::<(i64, i64)>(c)
        .await
        .optional())?;
    let Some((at, time)) = row else { return Ok(None) };
    let Some(head) = heads::find(conn, app, channel).await? else { return Ok(None) };
    let floor = Serial(floor(conn, Log { app, channel }, head.serial.0, visible).await?);
    Ok(Some(Found { epoch: head.epoch, serial: Serial(serial(at)), time: timestamp(time), floor }))
}

/// By serial.
async fn outlines(conn: &mut Conn, log: Log<'_>, span: Span) -> Result<Vec<Outline>, StoreError> {
    if span.len() == 0 {
        return Ok(Vec::new());
    }
    let rows = on_dialect!(conn, |c| messages::table
        .filter(messages::app_id.eq(log.app.as_str()))
        .filter(messages::channel.eq(log.channel.as_str()))
        .filter(messages::serial.between(stored_serial(span.first), stored_serial(span.last)))
        .order(messages::serial)
        .select((
            messages::serial,
            messages::time,
            octet_length(messages::data.nullable()),
            octet_length(messages::headers),
        ))
        .load::<(i64, i64, Option<i32>, Option<i32>)>(c)
        .await)?;
    let outline = |(at, time, data, headers): (i64, i64, Option<i32>, Option<i32>)| {
        let bytes = [data, headers].into_iter().flatten().map(|size| usize::try_from(size).unwrap_or(0)).sum();
        Outline { serial: serial(at), time: timestamp(time), bytes }
    };
    Ok(rows.into_iter().map(outline).collect())
}

/// Messages of one channel may have been given different lives, so that one is gone while another below it is still there. What is below
/// such a hole is not shown either: everything after the floor can be read.
fn highest_missing(span: Span, there: &[Outline]) -> Option<u64> {
    let mut expected = span.last;
    for outline in there.iter().rev() {
        if outline.serial != expected {
            return Some(expected);
        }
        expected -= 1;
    }
    (expected >= span.first).then_some(expected)
}

/// Every message is kept for longer than keys are remembered. One is not older than the message below it, so a younger one was lost.
fn may_be_gone(missing: u64, there: &[Outline], visible: Visible) -> Result<(), StoreError> {
    let below = there.iter().rev().find(|outline| outline.serial < missing);
    match below {
        Some(below) if below.time > visible.now.before(IDEMPOTENCY_WINDOW) => {
            Err(corrupt("messages.serial", format!("{missing} is missing")))
        }
        _ => Ok(()),
    }
}

/// The next serial that is there.
async fn above(conn: &mut Conn, log: Log<'_>, missing: u64) -> Result<Option<u64>, StoreError> {
    let next = on_dialect!(conn, |c| messages::table
        .filter(messages::app_id.eq(log.app.as_str()))
        .filter(messages::channel.eq(log.channel.as_str()))
        .filter(messages::serial.gt(stored_serial(missing)))
        .order(messages::serial)
        .select(messages::serial)
        .first::<i64>(c)
        .await
        .optional())?;
    Ok(next.map(serial))
}

/// How many of the span fit into [`PAGE_BYTES`]; one at least.
fn count_fitting(span: Span, outlines: &[Outline]) -> u64 {
    let mut room = PAGE_BYTES;
    let fits = |outline: &&Outline| match room.checked_sub(outline.bytes) {
        Some(left) => {
            room = left;
            true
        }
        None => false,
    };
    let count = match span.descending {
        true => outlines.iter().rev().take_while(fits).count(),
        false => outlines.iter().take_while(fits).count(),
    };
    count.max(1) as u64
}

async fn items(conn: &mut Conn, log: Log<'_>, span: Span) -> Result<Vec<(Serial, Message)>, StoreError> {
    if span.len() == 0 {
        return Ok(Vec::new());
    }
    let rows = on_dialect!(conn, |c| messages::table
        .filter(messages::app_id.eq(log.app.as_str()))
        .filter(messages::channel.eq(log.channel.as_str()))
        .filter(messages::serial.between(stored_serial(span.first), stored_serial(span.last)))
        .order(messages::serial)
        .select(ItemRow::as_select())
        .load(c)
        .await)?;
    let items = rows.into_iter().map(ItemRow::read);
    if span.descending { items.rev().collect() } else { items.collect() }
}
