//! Catching up: the past is read page by page, paced by the outbox, until the subscription has everything; then it is live.
//!
//! What is on the bus is in history already, so reading history after the position misses nothing. Where the channel stands was looked up after it was
//! listened to, and the bus tells of everything after that, so a page that was read before (see [`super::pages`]) brings a subscription on its way, and
//! never ends it early. The step to live is taken without waiting in between: nothing can come on the bus unseen.

use std::{rc::Rc, time::Duration};

use bytes::Bytes;
use fanfare_domain::{deliveries::Passing, metrics::Metric};
use fanfare_protocol::{ErrorCode, Serial};

use super::{
    Hub, frames,
    subscription::{Mode, Subscription},
};
use crate::wire::Leaving;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Delivers from the position on; at once if nothing is missing.
pub(super) fn start(hub: Rc<Hub>, subscription: Rc<Subscription>) {
    if subscription.mode() == Mode::Ended {
        return;
    }
    subscription.set_mode(Mode::CatchingUp);
    if is_complete(&subscription) {
        subscription.set_mode(Mode::Live);
        return;
    }
    if subscription.claim_reading() {
        actix_rt::spawn(read_on(hub, subscription));
    }
}

fn is_complete(subscription: &Subscription) -> bool {
    subscription.position() >= subscription.channel().seen()
}

async fn read_on(hub: Rc<Hub>, subscription: Rc<Subscription>) {
    let channel = Rc::clone(subscription.channel());
    channel.keep_recent();
    let mut pause = FIRST_PAUSE;
    while wants_more(&subscription) {
        if !hub.may_deliver() {
            hub.open_gate().await;
            continue;
        }
        take_recent(&hub, &subscription);
        if is_complete(&subscription) {
            subscription.set_mode(Mode::Live);
            break;
        }
        if subscription.outbox().is_half_full() {
            subscription.outbox().room().await;
            continue;
        }
        // The turn is kept until the page is in the outbox, so that a socket holds one page, however many channels it resumes.
        let turn = subscription.outbox().backlog_turn().await;
        if !wants_more(&subscription) || !hub.may_deliver() || subscription.outbox().is_half_full() {
            continue;
        }
        let before = subscription.position();
        match hub.page_after(&channel, before, subscription.format()).await {
            Ok(page) => {
                if hub.is_other_epoch(&channel, &page.head) {
                    continue;
                }
                channel.saw(page.head.serial);
                say_gap(&hub, &subscription, page.floor);
                push_page(&hub, &subscription, &page.frames).await;
            }
            // Without history there is nothing to read: what is between is told as a gap.
            Err(refusal) if refusal.code == ErrorCode::HistoryOff => say_gap(&hub, &subscription, channel.seen()),
            Err(_) => {}
        }
        drop(turn);
        if subscription.position() > before {
            pause = FIRST_PAUSE;
        } else if wants_more(&subscription) && !is_complete(&subscription) {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
    subscription.done_reading();
    channel.release_recent();
}

fn wants_more(subscription: &Subscription) -> bool {
    subscription.mode() == Mode::CatchingUp && subscription.outbox().is_open()
}

/// Takes what the bus brought meanwhile, as far as it follows without a hole.
fn take_recent(hub: &Hub, subscription: &Subscription) {
    let mut delivered = 0;
    while !subscription.outbox().is_half_full() && hub.may_deliver() {
        let position = subscription.position();
        let recent = subscription.channel().recent_after(position, subscription.connection());
        let fits = match recent {
            None => break,
            Some((_, true)) => {
                let channel = &subscription.channel().key.1;
                let skip = frames::skip(subscription.format(), channel, position.next());
                subscription.pass(position.next(), skip, Passing::Filtered)
            }
            Some((message, false)) => {
                subscription.advance(position.next(), message.frame(subscription.format()), Leaving::Together)
            }
        };
        if !fits {
            break;
        }
        delivered += 1;
    }
    Metric::Deliveries.add(delivered);
}

/// Puts a page into the outbox as there is room; stops if the subscription no longer reads the past.
async fn push_page(hub: &Hub, subscription: &Subscription, frames: &[(Serial, Bytes)]) {
    let mut delivered = 0;
    for (serial, frame) in frames {
        if subscription.outbox().is_half_full() {
            subscription.outbox().room().await;
        }
        if !wants_more(subscription)
            || !hub.may_deliver()
            || !subscription.advance(*serial, frame.clone(), Leaving::Together)
        {
            break;
        }
        delivered += 1;
    }
    Metric::Deliveries.add(delivered);
}

/// Tells which serials will never come, if some are past retention.
fn say_gap(hub: &Hub, subscription: &Subscription, floor: Serial) {
    let position = subscription.position();
    if floor <= position || !wants_more(subscription) || !hub.may_deliver() {
        return;
    }
    let gap = frames::gap(subscription.format(), &subscription.channel().key.1, position.next(), floor);
    subscription.pass(floor, gap, Passing::PastRetention);
}
