//! Reads of the past that the whole process shares: clients that come back to the same position, at once or one after the other, on whatever
//! thread, cost one read a page.
//!
//! Messages never change and none is put between them, so the messages of a page are as good for whoever comes later, and are kept while some come.
//! What a page from before cannot tell is that there are no more. Nobody asks that of it: a subscription looks for the head after it listened to its
//! channel, hears of every later message, and reads on until it has all of these. A page without messages serves only those who asked before its
//! read began.
//!
//! What is kept can be out of date in two ways only: by the moment that it is kept, retention may have moved past its first messages; and the
//! channel's epoch may have changed, whereupon it is not used and forgotten.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use fanfare_domain::{Refusal, history::Head, ids::AppId};
use fanfare_protocol::Serial;
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};

use super::{ChannelKey, frames::Format};

/// Bytes of pages that are kept.
const KEPT_BYTES: usize = 8 * 1024 * 1024;
/// How long a page is kept after it was last asked for, more or less.
const KEPT: Duration = Duration::from_secs(5);
/// How often it is kept on at most, since retention may move past it.
const KEPT_ON: u32 = 12;

/// A page of a channel's past, encoded.
pub(super) struct FramePage {
    /// The channel's head when it was read.
    pub(super) head: Head,
    /// The serial below the oldest message that can be read.
    pub(super) floor: Serial,
    /// The messages after the position asked for.
    pub(super) frames: Vec<(Serial, Bytes)>,
}

impl FramePage {
    fn bytes(&self) -> usize {
        self.frames.iter().map(|(_, frame)| frame.len() + size_of::<(Serial, Bytes)>()).sum()
    }
}

/// What is read: so many messages of a channel after a position.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    pub(super) channel: ChannelKey,
    pub(super) position: Serial,
    pub(super) limit: u32,
    pub(super) format: Format,
}

pub(super) type Outcome = Result<Arc<FramePage>, Refusal>;
type Reading = Shared<BoxFuture<'static, Outcome>>;

/// The reads that are under way, and pages that were read a moment ago.
#[derive(Default)]
pub(crate) struct Pages(Mutex<Reads>);

#[derive(Default)]
struct Reads {
    entries: HashMap<Asked, Entry>,
    /// Pages that are kept, the oldest first; some may be forgotten already.
    kept: VecDeque<(Asked, Turn)>,
    kept_bytes: usize,
    turns: Turn,
}

/// Reads and those who ask for them, in the order in which they came.
type Turn = u64;

struct Entry {
    begun: Turn,
    reading: Reading,
    /// Of a page that is kept.
    bytes: usize,
    /// Whether it was asked for since it was looked at last, and how often it has been.
    is_wanted: bool,
    looks: u32,
}

impl Reads {
    fn next_turn(&mut self) -> Turn {
        self.turns += 1;
        self.turns
    }

    /// Keeps a page, for which the oldest make room; whether it may be.
    fn keep(&mut self, asked: &Asked, begun: Turn, bytes: usize) -> bool {
        let Some(entry) = self.entries.get_mut(asked).filter(|entry| entry.begun == begun && bytes <= KEPT_BYTES)
        else {
            return false;
        };
        entry.bytes = bytes;
        self.kept_bytes += bytes;
        self.kept.push_back((asked.clone(), begun));
        while self.kept_bytes > KEPT_BYTES
            && let Some((oldest, begun)) = self.kept.pop_front()
        {
            self.forget(&oldest, begun);
        }
        true
    }

    /// Whether a page has had its time: nobody has asked for it since the last look, or there were looks enough.
    fn is_over(&mut self, asked: &Asked, begun: Turn) -> bool {
        let Some(entry) = self.entries.get_mut(asked).filter(|entry| entry.begun == begun) else { return true };
        entry.looks += 1;
        !std::mem::take(&mut entry.is_wanted) || entry.looks > KEPT_ON
    }

    fn forget(&mut self, asked: &Asked, begun: Turn) {
        if self.entries.get(asked).is_some_and(|entry| entry.begun == begun)
            && let Some(entry) = self.entries.remove(asked)
        {
            self.kept_bytes -= entry.bytes;
        }
        while self
            .kept
            .front()
            .is_some_and(|(asked, begun)| self.entries.get(asked).is_none_or(|entry| entry.begun != *begun))
        {
            self.kept.pop_front();
        }
    }
}

impl Pages {
    /// The page, read now or shared. `read` makes a read; `suits` judges a page from before by what the caller knows of the channel.
    pub(super) async fn get<R>(
        self: &Arc<Self>,
        asked: &Asked,
        read: impl Fn() -> R,
        suits: impl Fn(&FramePage) -> bool,
    ) -> Outcome
    where
        R: Future<Output = Outcome> + Send + 'static,
    {
        let came = self.lock().next_turn();
        loop {
            let (begun, reading) = self.reading(asked, &read);
            match reading.await {
                Ok(page) if begun < came && (page.frames.is_empty() || !suits(&page)) => {
                    self.lock().forget(asked, begun)
                }
                outcome => return outcome,
            }
        }
    }

    /// A page with messages that was read a moment ago.
    pub(super) fn kept(&self, asked: &Asked) -> Option<Arc<FramePage>> {
        let mut reads = self.lock();
        let entry = reads.entries.get_mut(asked)?;
        entry.is_wanted = true;
        let page = entry.reading.peek()?.as_ref().ok()?;
        (!page.frames.is_empty()).then(|| Arc::clone(page))
    }

    /// Forgets what is kept of an app, whose rules may keep less now.
    pub(super) fn forget_app(&self, app: &AppId) {
        let mut reads = self.lock();
        let of_app = reads.entries.iter().filter(|(asked, _)| asked.channel.0 == *app);
        let all: Vec<_> = of_app.map(|(asked, entry)| (asked.clone(), entry.begun)).collect();
        for (asked, begun) in all {
            reads.forget(&asked, begun);
        }
    }

    /// The read that is under way or kept, or a new one.
    fn reading<R>(self: &Arc<Self>, asked: &Asked, read: impl Fn() -> R) -> (Turn, Reading)
    where
        R: Future<Output = Outcome> + Send + 'static,
    {
        let mut reads = self.lock();
        if let Some(entry) = reads.entries.get_mut(asked) {
            entry.is_wanted = true;
            return (entry.begun, entry.reading.clone());
        }
        let begun = reads.next_turn();
        let reading = read().boxed().shared();
        reads
            .entries
            .insert(asked.clone(), Entry { begun, reading: reading.clone(), bytes: 0, is_wanted: false, looks: 0 });
        drop(reads);
        // Driven to its end whoever goes on waiting for it.
        actix_rt::spawn(Arc::clone(self).settle(asked.clone(), begun, reading.clone()));
        (begun, reading)
    }

    /// Keeps a page with messages for its time, and forgets any other.
    async fn settle(self: Arc<Self>, asked: Asked, begun: Turn, reading: Reading) {
        let outcome = reading.await;
        let bytes = outcome.map_or(0, |page| page.bytes());
        if bytes > 0 && self.lock().keep(&asked, begun, bytes) {
            loop {
                tokio::time::sleep(KEPT).await;
                if self.lock().is_over(&asked, begun) {
                    break;
                }
            }
        }
        self.lock().forget(&asked, begun);
    }

    fn lock(&self) -> MutexGuard<'_, Reads> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use fanfare_protocol::{ChannelName, Epoch};

    use super::*;

    fn asked(position: u64) -> Asked {
        let channel = (AppId::parse("app_a").unwrap(), ChannelName::parse("room").unwrap());
        Asked { channel, position: Serial(position), limit: 10, format: Format::Native }
    }

    /// The ten messages after a position of a channel with that head, of so many bytes each.
    fn page(after: u64, head: u64, bytes: usize) -> Outcome {
        let head = Head { epoch: Epoch::new("e"), serial: Serial(head) };
        let last = (after + 10).min(head.serial.0);
        let frames = (after + 1..=last).map(|serial| (Serial(serial), Bytes::from(vec![b'x'; bytes])));
        Ok(Arc::new(FramePage { floor: Serial(0), frames: frames.collect(), head }))
    }

    /// How long a read takes.
    const READ: Duration = Duration::from_millis(20);

    /// Reads that are counted and take their time.
    fn slow(reads: &Arc<AtomicUsize>, outcome: impl Fn() -> Outcome) -> impl Fn() -> BoxFuture<'static, Outcome> {
        let reads = Arc::clone(reads);
        move || {
            let (reads, outcome) = (Arc::clone(&reads), outcome());
            async move {
                reads.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(READ).await;
                outcome
            }
            .boxed()
        }
    }

    #[actix_rt::test]
    async fn whoever_asks_for_a_page_at_once_or_later_shares_one_read() {
        let (pages, reads) = (Arc::<Pages>::default(), Arc::<AtomicUsize>::default());
        let read = slow(&reads, || page(0, 100, 1));
        let asked = asked(0);
        let all = (0..100).map(|_| pages.get(&asked, &read, |_| true));
        assert!(futures::future::join_all(all).await.into_iter().all(|page| page.unwrap().frames.len() == 10));
        pages.get(&asked, &read, |_| true).await.unwrap();
        assert_eq!(reads.load(Ordering::SeqCst), 1);
        assert!(pages.kept(&asked).is_some());
        pages.get(&asked, &read, |_| false).await.unwrap();
        assert_eq!(reads.load(Ordering::SeqCst), 2, "the caller knows of another epoch");
        pages.forget_app(&asked.channel.0);
        assert!(pages.kept(&asked).is_none());
    }

    #[actix_rt::test]
    async fn a_page_without_messages_serves_only_those_who_came_before_its_read_began() {
        let (pages, reads) = (Arc::<Pages>::default(), Arc::<AtomicUsize>::default());
        let read = slow(&reads, || page(100, 100, 1));
        let asked = asked(100);
        let all = (0..100).map(|_| pages.get(&asked, &read, |_| true));
        futures::future::join_all(all).await;
        assert_eq!(reads.load(Ordering::SeqCst), 2, "one for the first, one for all who came while it was under way");
        assert!(pages.kept(&asked).is_none());
        pages.get(&asked, &read, |_| true).await.unwrap();
        assert_eq!(reads.load(Ordering::SeqCst), 3);
    }

    #[actix_rt::test]
    async fn a_page_is_kept_for_as_long_as_it_is_asked_for_but_not_for_ever() {
        let (pages, reads) = (Arc::<Pages>::default(), Arc::<AtomicUsize>::default());
        let read = slow(&reads, || page(0, 100, 1));
        let asked = asked(0);
        pages.get(&asked, &read, |_| true).await.unwrap();
        let begun = pages.lock().entries[&asked].begun;
        let is_over = || pages.lock().is_over(&asked, begun);
        pages.get(&asked, &read, |_| true).await.unwrap();
        assert!(!is_over());
        pages.kept(&asked).unwrap();
        assert!(!is_over());
        assert!(is_over(), "nobody has asked since");
        let wanted = (0..20).take_while(|_| pages.kept(&asked).is_some() && !is_over()).count();
        assert_eq!(wanted, KEPT_ON as usize - 3);
    }

    #[actix_rt::test]
    async fn what_is_kept_is_bounded_in_bytes_and_the_oldest_goes_first() {
        let (pages, reads) = (Arc::<Pages>::default(), Arc::<AtomicUsize>::default());
        for position in 0..20 {
            let read = slow(&reads, || page(position, 1_000, KEPT_BYTES / 50));
            pages.get(&asked(position), &read, |_| true).await.unwrap();
            tokio::task::yield_now().await;
        }
        let kept: Vec<_> = (0..20).filter(|position| pages.kept(&asked(*position)).is_some()).collect();
        assert_eq!(kept, [16, 17, 18, 19]);
        assert!(pages.lock().kept_bytes <= KEPT_BYTES);
        assert!(pages.lock().kept.len() <= 5);
    }
}
