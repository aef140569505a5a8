//! A page of a channel's past.

use diesel::{
    prelude::*,
    sql_types::{Nullable, Text},
};
use diesel_async::RunQueryDsl;
use fanfare_domain::{
    StoreError,
    history::{HistoryPage, PAGE_BYTES, Visible},
    ids::{AppId, MessageId},
    messages::Message,
};
use fanfare_protocol::{ChannelName, ClientName, EventName, Serial, requests::Range};
use serde_json::value::RawValue;

use super::heads::{self, Found, serial, stored_serial};
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

/// Inside a transaction, so that head, floor and messages are of one moment. Above the floor there are no holes.
pub(super) async fn read(
    conn: &mut Conn,
    app: &AppId,
    channel: &ChannelName,
    range: Range,
    limit: u32,
    visible: Visible,
) -> Result<Option<HistoryPage>, StoreError> {
    let Some(found) = heads::find(conn, app, channel).await? else { return Ok(None) };
    let floor = floor(conn, app, channel, &found, visible).await?;
    let whole = Span::of(range, floor, found.head.serial.0);
    let mut page = HistoryPage { head: found.head, floor: Serial(floor), items: Vec::new(), more: false };
    let asked = whole.take(u64::from(limit));
    if asked.len() == 0 {
        page.more = whole.len() > 0;
        return Ok(Some(page));
    }
    let fitting = asked.take(count_fitting(conn, app, channel, asked).await?);
    page.items = items(conn, app, channel, fitting).await?;
    if page.items.len() as u64 != fitting.len() {
        return Err(corrupt("messages.serial", format!("a hole between {} and {}", fitting.first, fitting.last)));
    }
    page.more = whole.len() > fitting.len();
    Ok(Some(page))
}

/// The serial below the oldest visible message; the head's where nothing is visible.
async fn floor(
    conn: &mut Conn,
    app: &AppId,
    channel: &ChannelName,
    found: &Found,
    visible: Visible,
) -> Result<u64, StoreError> {
    let head = found.head.serial.0;
    if head == found.swept {
        return Ok(head);
    }
    let oldest = on_dialect!(conn, |c| messages::table
        .filter(messages::app_id.eq(app.as_str()))
        .filter(messages::channel.eq(channel.as_str()))
        .filter(messages::time.ge(stored(visible.not_before())))
        .order((messages::time, messages::serial))
        .select(messages::serial)
        .first::<i64>(c)
        .await
        .optional())?;
    let by_time = oldest.map_or(head, |oldest| serial(oldest).saturating_sub(1));
    let by_count = visible.retention.max_messages.map_or(0, |most| head.saturating_sub(most));
    Ok(by_time.max(by_count).max(found.swept).min(head))
}

/// How many of the span fit into [`PAGE_BYTES`]; one at least.
async fn count_fitting(conn: &mut Conn, app: &AppId, channel: &ChannelName, span: Span) -> Result<u64, StoreError> {
    let sizes = on_dialect!(conn, |c| messages::table
        .filter(messages::app_id.eq(app.as_str()))
        .filter(messages::channel.eq(channel.as_str()))
        .filter(messages::serial.between(stored_serial(span.first), stored_serial(span.last)))
        .order(messages::serial)
        .select((octet_length(messages::data.nullable()), octet_length(messages::headers)))
        .load::<(Option<i32>, Option<i32>)>(c)
        .await)?;
    let bytes = |(data, headers): &(Option<i32>, Option<i32>)| {
        [data, headers].into_iter().flatten().map(|size| usize::try_from(*size).unwrap_or(0)).sum::<usize>()
    };
    let mut room = PAGE_BYTES;
    let fits = |size: &usize| match room.checked_sub(*size) {
        Some(left) => {
            room = left;
            true
        }
        None => false,
    };
    let count = match span.descending {
        true => sizes.iter().rev().map(bytes).take_while(fits).count(),
        false => sizes.iter().map(bytes).take_while(fits).count(),
    };
    Ok(count.max(1) as u64)
}

async fn items(
    conn: &mut Conn,
    app: &AppId,
    channel: &ChannelName,
    span: Span,
) -> Result<Vec<(Serial, Message)>, StoreError> {
    let rows = on_dialect!(conn, |c| messages::table
        .filter(messages::app_id.eq(app.as_str()))
        .filter(messages::channel.eq(channel.as_str()))
        .filter(messages::serial.between(stored_serial(span.first), stored_serial(span.last)))
        .order(messages::serial)
        .select(ItemRow::as_select())
        .load(c)
        .await)?;
    let items = rows.into_iter().map(ItemRow::read);
    if span.descending { items.rev().collect() } else { items.collect() }
}
