//! Reads of history: pages of frames for those who catch up, places for those who begin, and pages that clients ask for.

use std::{sync::Arc, time::Duration};

use fanfare_domain::{
    Refusal,
    directory::AppProfile,
    grants::Grant,
    history::{Head, HistoryPage, PAGE_ITEMS, Visible},
    metrics::Metric,
};
use fanfare_protocol::{ChannelName, ErrorCode, Serial, requests::Range};

use super::{
    ChannelKey, Hub,
    channel::Channel,
    frames::{self, Format},
    pages::{Asked, FramePage, Outcome, Pages},
};
use crate::Gateway;

/// When a page is worth asking for again that was refused since too much waits for an app.
const PRESSED_AGAIN: Duration = Duration::from_secs(1);

impl Hub {
    /// The page after a position of a channel that this thread listens to; shared with whoever asks the same.
    pub(super) async fn page_after(&self, channel: &Channel, position: Serial, format: Format) -> Outcome {
        let asked = Asked { channel: channel.key.clone(), position, limit: PAGE_ITEMS, format };
        let read = || self.gateway().clone().read_frames(asked.clone());
        self.pages().get(&asked, read, |page| !channel.is_other_epoch(&page.head.epoch)).await
    }

    /// Where a channel that this thread listens to stands, and which of its messages after a position can be read.
    pub(super) async fn place_after(&self, channel: &Channel, position: Serial) -> Result<(Head, Serial), Refusal> {
        let page = Asked { channel: channel.key.clone(), position, limit: PAGE_ITEMS, format: Format::Native };
        if let Some(page) = self.pages().kept(&page).filter(|page| !channel.is_other_epoch(&page.head.epoch)) {
            let (app, name) = &channel.key;
            let head = self.gateway().ports().log.head(app, name).await?;
            // A head on the bus that is behind what was read, or what the client has, is one of before: then the log says what there is.
            let least = page.head.serial.max(position);
            if let Some(head) = head.filter(|head| head.epoch == page.head.epoch && head.serial >= least) {
                return Ok((head, page.floor));
            }
        }
        let place = Asked { limit: 1, ..page };
        let read = || self.gateway().clone().read_place(place.clone());
        let found = self.pages().get(&place, read, |_| false).await?;
        Ok((found.head.clone(), found.floor))
    }

    fn pages(&self) -> &Arc<Pages> {
        &self.gateway().shared.pages
    }

    /// Reads a page that a client asked for, which takes from its app's rate; resuming does not.
    pub(crate) async fn history(
        &self,
        grant: &Grant,
        channel: ChannelName,
        range: Range,
        limit: u32,
    ) -> Result<HistoryPage, Refusal> {
        let AppProfile { app, limits, .. } = grant.profile.as_ref();
        let account = self.gateway().accounts().of(&app.id, limits.app_outbox_bytes as usize);
        if account.is_nearly_full() {
            let why = "much waits for the app's connections, whose clients read too slowly";
            return Err(Refusal::new(ErrorCode::RateLimited, why).retry_after(PRESSED_AGAIN));
        }
        let limits_left = self.gateway().ports().limits.history(&app.id, limits);
        limits_left.map_err(|exceeded| exceeded.refusal("pages of history"))?;
        Metric::HistoryReads.add_labelled("history", 1);
        self.read(&(app.id.clone(), channel), range, limit, None).await
    }

    /// Reads a page of what the channel's rule keeps, or of its last `seconds` if that is less.
    pub(crate) async fn read(
        &self,
        channel: &ChannelKey,
        range: Range,
        limit: u32,
        seconds: Option<u64>,
    ) -> Result<HistoryPage, Refusal> {
        self.gateway().read(channel, range, limit, seconds).await
    }
}

impl Gateway {
    async fn read_frames(self, asked: Asked) -> Outcome {
        Metric::HistoryReads.add_labelled("resume", 1);
        let Asked { channel, position, limit, format } = asked;
        let page = self.read(&channel, Range::After(position), limit, None).await?;
        let frames = page
            .items
            .iter()
            .map(|(serial, message)| (*serial, frames::message(format, &channel.1, Some(*serial), message)));
        Ok(Arc::new(FramePage { head: page.head.clone(), floor: page.floor, frames: frames.collect() }))
    }

    async fn read_place(self, asked: Asked) -> Outcome {
        let page = self.read(&asked.channel, Range::After(asked.position), asked.limit, None).await?;
        Ok(Arc::new(FramePage { head: page.head, floor: page.floor, frames: Vec::new() }))
    }

    async fn read(
        &self,
        channel: &ChannelKey,
        range: Range,
        limit: u32,
        seconds: Option<u64>,
    ) -> Result<HistoryPage, Refusal> {
        let ports = self.ports();
        let gone = || Refusal::plain(ErrorCode::NotFound);
        let profile = ports.directory.app(&channel.0).await?.ok_or_else(gone)?;
        let mut retention = profile.rule(&channel.1).history.ok_or_else(|| Refusal::plain(ErrorCode::HistoryOff))?;
        retention.retention_s = seconds.map_or(retention.retention_s, |seconds| seconds.min(retention.retention_s));
        let visible = Visible { retention, now: ports.clock.now() };
        ports.log.read(&channel.0, &channel.1, range, limit, visible).await?.ok_or_else(gone)
    }
}
