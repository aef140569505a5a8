//! Where a subscription starts: the channel is listened to first, then history says what there is.

use std::rc::Rc;

use fanfare_domain::{Refusal, connections::Located, history::Head, ids::AppId};
use fanfare_protocol::{
    ChannelName, ErrorCode, Position, Serial,
    events::{Lost, Subscribed},
    requests::{Range, Start},
};

use super::{Hub, channel::Channel};

impl Hub {
    /// Finds where a subscription starts. While this runs, and until the returned hold is dropped, the channel is listened to.
    pub(crate) async fn locate(
        self: &Rc<Self>,
        app: AppId,
        name: ChannelName,
        start: Start,
        presence: bool,
    ) -> (Result<Located, Refusal>, ChannelHold) {
        let channel = self.channel(app, name);
        let hold = ChannelHold::new(&channel, presence);
        self.follow(&channel).await;
        let located = match presence {
            true => match self.watch(&channel).await {
                Ok(()) => self.find(&channel, start).await,
                Err(refusal) => Err(refusal),
            },
            false => self.find(&channel, start).await,
        };
        if let Ok(located) = &located {
            let head = Head { epoch: located.answer.epoch.clone(), serial: located.answer.serial };
            // Its head says which epoch this is; whoever follows an older one is told so.
            self.is_other_epoch(&channel, &head);
            channel.begin_epoch_if_none(&head);
            channel.saw(head.serial);
        }
        (located, hold)
    }

    async fn find(&self, channel: &Channel, start: Start) -> Result<Located, Refusal> {
        let name = &channel.key.1;
        match start {
            Start::Live => {
                let head = self.gateway().ports().log.head(&channel.key.0, name).await?;
                let head = head.ok_or_else(|| Refusal::plain(ErrorCode::NotFound))?;
                let position = head.serial;
                Ok(located(name, head, position, None, None))
            }
            Start::Since(since) => {
                let (head, floor) = self.place_after(channel, since.serial).await?;
                Ok(resume(name, head, floor, &since))
            }
            Start::RewindMessages(messages) => {
                let page = self.read(&channel.key, Range::Newest, 1, None).await?;
                let position = Serial(page.head.serial.0.saturating_sub(messages)).max(page.floor);
                Ok(located(name, page.head, position, None, None))
            }
            Start::RewindSeconds(seconds) => {
                let page = self.read(&channel.key, Range::Newest, 1, Some(seconds)).await?;
                let position = page.floor;
                Ok(located(name, page.head, position, None, None))
            }
        }
    }
}

/// Resumes after a position, or says what is lost.
fn resume(channel: &ChannelName, head: Head, floor: Serial, since: &Position) -> Located {
    let from = since.serial.next();
    if since.epoch != head.epoch || since.serial > head.serial {
        let position = head.serial;
        return located(channel, head, position, Some(false), Some(Lost { from, to: None }));
    }
    if floor > since.serial {
        return located(channel, head, floor, Some(false), Some(Lost { from, to: Some(floor) }));
    }
    located(channel, head, since.serial, Some(true), None)
}

fn located(channel: &ChannelName, head: Head, position: Serial, resumed: Option<bool>, lost: Option<Lost>) -> Located {
    let backlog = head.serial.0 - position.0;
    let answer =
        Subscribed { channel: channel.clone(), epoch: head.epoch, serial: head.serial, resumed, backlog, lost };
    Located { answer, position }
}

/// Keeps a channel listened to until it is dropped.
pub(crate) struct ChannelHold {
    channel: Rc<Channel>,
    watches: bool,
}

impl ChannelHold {
    pub(super) fn new(channel: &Rc<Channel>, watches: bool) -> Self {
        channel.hold();
        if watches {
            channel.watch.begin();
        }
        Self { channel: Rc::clone(channel), watches }
    }
}

impl Drop for ChannelHold {
    fn drop(&mut self) {
        if self.watches {
            self.channel.watch.end();
        }
        self.channel.let_go();
    }
}
