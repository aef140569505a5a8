//! Pages of the past as frames; identical reads are made once for all who wait for them.

use std::{cell::RefCell, collections::HashMap, future::Future, pin::Pin, rc::Rc};

use bytes::Bytes;
use fanfare_domain::{
    Refusal,
    directory::AppProfile,
    grants::Grant,
    history::{Head, HistoryPage, PAGE_ITEMS, Visible},
    metrics::Metric,
};
use fanfare_protocol::{ChannelName, ErrorCode, Serial, requests::Range};
use futures::{FutureExt, future::Shared};

use super::{ChannelKey, Hub, frames};

/// A page of a channel's past, encoded.
pub(super) struct FramePage {
    /// The channel's head when it was read.
    pub(super) head: Head,
    /// The serial below the oldest message that can be read.
    pub(super) floor: Serial,
    /// The messages after the position asked for.
    pub(super) frames: Vec<(Serial, Bytes)>,
}

type Outcome = Result<Rc<FramePage>, Refusal>;
type Reading = Shared<Pin<Box<dyn Future<Output = Outcome>>>>;

/// The reads that are under way.
#[derive(Default)]
pub(super) struct PageReads(RefCell<HashMap<(ChannelKey, Serial), Reading>>);

impl Hub {
    /// The page after a position. Whoever asks the same while it is read gets the same page.
    pub(super) async fn page_after(self: &Rc<Self>, channel: &ChannelKey, position: Serial) -> Outcome {
        let key = (channel.clone(), position);
        let reading =
            self.reads.0.borrow_mut().entry(key.clone()).or_insert_with(|| Rc::clone(self).begin_read(key)).clone();
        reading.await
    }

    fn begin_read(self: Rc<Self>, key: (ChannelKey, Serial)) -> Reading {
        let read = async move {
            let outcome = self.read_frames(&key.0, key.1).await;
            self.reads.0.borrow_mut().remove(&key);
            outcome
        };
        read.boxed_local().shared()
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
        let limits_left = self.gateway().ports().limits.history(&app.id, limits);
        limits_left.map_err(|exceeded| exceeded.refusal("pages of history"))?;
        Metric::HistoryReads.add_labelled("history", 1);
        self.read(&(app.id.clone(), channel), range, limit, None).await
    }

    async fn read_frames(&self, channel: &ChannelKey, position: Serial) -> Outcome {
        Metric::HistoryReads.add_labelled("resume", 1);
        let page = self.read(channel, Range::After(position), PAGE_ITEMS, None).await?;
        let frames =
            page.items.iter().map(|(serial, message)| (*serial, frames::message(&channel.1, Some(*serial), message)));
        Ok(Rc::new(FramePage { head: page.head.clone(), floor: page.floor, frames: frames.collect() }))
    }

    /// Reads a page of what the channel's rule keeps, or of its last `seconds` if that is less.
    pub(crate) async fn read(
        &self,
        channel: &ChannelKey,
        range: Range,
        limit: u32,
        seconds: Option<u64>,
    ) -> Result<HistoryPage, Refusal> {
        let ports = self.gateway().ports();
        let gone = || Refusal::plain(ErrorCode::NotFound);
        let profile = ports.directory.app(&channel.0).await?.ok_or_else(gone)?;
        let mut retention = profile.rule(&channel.1).history.ok_or_else(|| Refusal::plain(ErrorCode::HistoryOff))?;
        retention.retention_s = seconds.map_or(retention.retention_s, |seconds| seconds.min(retention.retention_s));
        let visible = Visible { retention, now: ports.clock.now() };
        ports.log.read(&channel.0, &channel.1, range, limit, visible).await?.ok_or_else(gone)
    }
}
