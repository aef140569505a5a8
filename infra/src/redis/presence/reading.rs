//! Reading a channel's members.

use std::time::Duration;

use fanfare_domain::{
    Timestamp,
    ids::ConnectionId,
    presence::{Entry, Life, Member, MemberPage, Place, Snapshot},
};
use fanfare_protocol::ClientName;
use serde_json::value::RawValue;

use super::{calls::read, node::Node};
use crate::redis::RedisFault;

/// Members that a snapshot reads at once.
const SLICE: u32 = 250;

/// A page as Redis tells it.
struct Page {
    count: u64,
    version: u64,
    life: Option<Life>,
    /// Whether members were named again in this life, as after Redis had forgotten everything.
    was_forgotten: bool,
    items: Vec<Member>,
}

impl Node {
    pub async fn page(&self, place: &Place, after: Option<&ClientName>, limit: u32) -> Result<MemberPage, RedisFault> {
        let mut page = self.read_page(place, after, limit + 1).await?;
        if !self.is_whole(&page).await? {
            // Whoever took it for everyone would never be told of the others, who are known to all that watch.
            return Err(RedisFault::Away("it forgot who is there, and nodes name their members again".to_owned()));
        }
        let has_more = page.items.len() > limit as usize;
        page.items.truncate(limit as usize);
        let next = page.items.last().filter(|_| has_more).map(|last| last.entry.client.clone());
        Ok(MemberPage { items: page.items, count: page.count, next })
    }

    pub async fn count(&self, place: &Place) -> Result<u64, RedisFault> {
        Ok(self.read_page(place, None, 0).await?.count)
    }

    /// Pages at the version of the first: what changes meanwhile comes as events after it.
    pub async fn snapshot(&self, place: &Place) -> Result<Snapshot, RedisFault> {
        let first = self.read_page(place, None, SLICE).await?;
        let is_whole = self.is_whole(&first).await?;
        let (version, life) = (first.version, first.life);
        let mut members = first.items;
        let mut is_last = members.len() < SLICE as usize;
        while !is_last {
            let after = members.last().map(|last| last.entry.client.clone());
            let page = self.read_page(place, after.as_ref(), SLICE).await?;
            if page.life.map(|life| life.number) != life.map(|life| life.number) {
                return Err(RedisFault::Away("what was read was forgotten meanwhile".to_owned()));
            }
            is_last = page.items.len() < SLICE as usize;
            members.extend(page.items);
        }
        Ok(Snapshot { version, life, members, is_whole })
    }

    /// Whether nobody is missing who was there before Redis forgot everything: only what began a moment ago can lack anybody.
    async fn is_whole(&self, page: &Page) -> Result<bool, RedisFault> {
        let is_young = page.life.is_none_or(|life| life.age < self.times.settling);
        Ok(!is_young || !(page.was_forgotten || self.are_named_again().await?))
    }

    async fn read_page(&self, place: &Place, after: Option<&ClientName>, limit: u32) -> Result<Page, RedisFault> {
        let call = self.on_channel("page", "", place, "").arg(after.map_or("", |after| after.as_str()));
        let parts: Vec<String> = read(self.ask_channel(call.number(limit.into())).await?)?;
        let odd = || RedisFault::Refused("a page of members cannot be read".to_owned());
        let [_, count, version, begun, age, forgot, items @ ..] = parts.as_slice() else { return Err(odd()) };
        let number = |text: &String| text.parse::<u64>().map_err(|_| odd());
        let (begun, age) = (number(begun)?, number(age)?);
        let life = (begun > 0).then_some(Life { number: begun, age: Duration::from_millis(age) });
        let items = items.chunks(5).map(member).collect::<Option<_>>().ok_or_else(odd)?;
        Ok(Page { count: number(count)?, version: number(version)?, life, was_forgotten: forgot == "1", items })
    }
}

fn member(parts: &[String]) -> Option<Member> {
    let [client, connection, data, info, since] = parts else { return None };
    let json = |text: &String| match text.is_empty() {
        true => Some(None),
        false => RawValue::from_string(text.clone()).ok().map(Some),
    };
    let entry = Entry {
        connection: ConnectionId::parse(connection).ok()?,
        client: ClientName::parse(client).ok()?,
        data: json(data)?,
        info: json(info)?,
    };
    Some(Member { entry, since: Timestamp(since.parse().ok()?) })
}
