//! The notebook of a node: takes notes without waiting, bounded, and puts them into the backlog in lots.

use std::{
    collections::VecDeque,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use fanfare_protocol::{ChannelName, ClientName};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::{Backlog, BacklogAway, EventKind, Note, Notes, Unreadable, events::check_version, has_members};
use crate::{directory::AppProfile, ids::AppId, metrics::Metric};

/// Hints that wait at most; what is let go is found by looking.
const MOST_HINTS: usize = 20_000;
/// Bytes of other notes that wait at most.
const MOST_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of a lot, about.
const LOT_BYTES: usize = 128 * 1024;
/// What a note costs beside its texts.
const OVERHEAD: usize = 256;

/// A note, and whose app it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// The app.
    pub app: AppId,
    /// The note.
    pub note: Note,
}

#[derive(Serialize, Deserialize)]
struct WireLot {
    v: u32,
    notes: Vec<WireNoted>,
}

#[derive(Serialize, Deserialize)]
struct WireNoted {
    app: AppId,
    #[serde(flatten)]
    note: WireNote,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum WireNote {
    Occupancy {
        channel: ChannelName,
    },
    Members {
        channel: ChannelName,
    },
    ClientEvent {
        channel: ChannelName,
        event: String,
        data: String,
        socket_id: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user_id: Option<ClientName>,
    },
    CacheMiss {
        channel: ChannelName,
    },
}

impl From<Note> for WireNote {
    fn from(note: Note) -> Self {
        match note {
            Note::Occupancy(channel) => Self::Occupancy { channel },
            Note::Members(channel) => Self::Members { channel },
            Note::CacheMiss(channel) => Self::CacheMiss { channel },
            Note::ClientEvent { channel, event, data, socket_id, user_id } => {
                Self::ClientEvent { channel, event, data, socket_id, user_id }
            }
        }
    }
}

impl From<WireNote> for Note {
    fn from(note: WireNote) -> Self {
        match note {
            WireNote::Occupancy { channel } => Self::Occupancy(channel),
            WireNote::Members { channel } => Self::Members(channel),
            WireNote::CacheMiss { channel } => Self::CacheMiss(channel),
            WireNote::ClientEvent { channel, event, data, socket_id, user_id } => {
                Self::ClientEvent { channel, event, data, socket_id, user_id }
            }
        }
    }
}

/// Reads a lot of notes back.
///
/// # Errors
/// A later version wrote it, or it is damaged.
pub fn read_notes(bytes: &[u8]) -> Result<Vec<Noted>, Unreadable> {
    check_version(bytes)?;
    let lot: WireLot = serde_json::from_slice(bytes).map_err(|error| Unreadable::Damaged(error.to_string()))?;
    Ok(lot.notes.into_iter().map(|WireNoted { app, note }| Noted { app, note: note.into() }).collect())
}

/// A node's notes that are not in the backlog yet.
#[derive(Default)]
pub struct Notebook {
    pages: Mutex<Pages>,
    written: Notify,
    /// One puts notes into the backlog at a time.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Pages {
    /// Each once, in the order of their first notes.
    hints: VecDeque<Noted>,
    known: std::collections::HashSet<(AppId, ChannelName, bool)>,
    kept: VecDeque<Noted>,
    kept_bytes: usize,
}

impl Notes for Notebook {
    fn note(&self, app: &Arc<AppProfile>, note: Note) {
        if is_wanted(app, &note) && self.pages().write(Noted { app: app.app.id.clone(), note }) {
            self.written.notify_one();
        }
    }
}

/// Whether some webhook of the app is told of what the note may lead to.
fn is_wanted(app: &AppProfile, note: &Note) -> bool {
    use EventKind::{CacheMiss, ChannelOccupied, ChannelVacated, ClientEvent, MemberAdded, MemberRemoved};
    if app.webhooks.is_empty() {
        return false;
    }
    let tells = |kinds: &[EventKind]| kinds.iter().any(|kind| app.tells(*kind));
    match note {
        Note::Occupancy(channel) if has_members(channel) => {
            tells(&[ChannelOccupied, ChannelVacated, MemberAdded, MemberRemoved])
        }
        Note::Occupancy(channel) => {
            !channel.is_of_service() && tells(&[ChannelOccupied, ChannelVacated, EventKind::SubscriptionCount])
        }
        Note::Members(channel) => has_members(channel) && tells(&[MemberAdded, MemberRemoved]),
        Note::ClientEvent { channel, .. } => !channel.is_of_service() && tells(&[ClientEvent]),
        Note::CacheMiss(channel) => !channel.is_of_service() && tells(&[CacheMiss]),
    }
}

impl Notebook {
    /// Returns once there are notes.
    pub async fn written(&self) {
        while self.pages().is_empty() {
            self.written.notified().await;
        }
    }

    /// Puts all notes into the backlog. What cannot be put there now stays.
    pub async fn put_down(&self, backlog: &dyn Backlog) -> Result<(), BacklogAway> {
        let _turn = self.turn.lock().await;
        loop {
            let lot = self.pages().tear_out();
            if lot.is_empty() {
                return Ok(());
            }
            let notes = lot.iter().cloned().map(|Noted { app, note }| WireNoted { app, note: note.into() }).collect();
            let body = serde_json::to_vec(&WireLot { v: 1, notes }).expect("notes are plain JSON");
            if let Err(away) = backlog.put(vec![body]).await {
                self.pages().put_back(lot);
                return Err(away);
            }
        }
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hint_key(noted: &Noted) -> Option<(AppId, ChannelName, bool)> {
    match &noted.note {
        Note::Occupancy(channel) => Some((noted.app.clone(), channel.clone(), false)),
        Note::Members(channel) => Some((noted.app.clone(), channel.clone(), true)),
        Note::ClientEvent { .. } | Note::CacheMiss(_) => None,
    }
}

fn size(noted: &Noted) -> usize {
    OVERHEAD
        + match &noted.note {
            Note::ClientEvent { event, data, .. } => event.len() + data.len(),
            _ => 0,
        }
}

impl Pages {
    fn is_empty(&self) -> bool {
        self.hints.is_empty() && self.kept.is_empty()
    }

    /// Whether it is there now, and was not before.
    fn write(&mut self, noted: Noted) -> bool {
        match hint_key(&noted) {
            Some(key) if self.known.contains(&key) => false,
            Some(_) if self.hints.len() >= MOST_HINTS => {
                Metric::WebhookNotesDropped.add_labelled("hints", 1);
                false
            }
            Some(key) => {
                self.known.insert(key);
                self.hints.push_back(noted);
                true
            }
            None if self.kept_bytes + size(&noted) > MOST_BYTES => {
                Metric::WebhookNotesDropped.add_labelled("events", 1);
                false
            }
            None => {
                self.kept_bytes += size(&noted);
                self.kept.push_back(noted);
                true
            }
        }
    }

    fn tear_out(&mut self) -> Vec<Noted> {
        let (mut lot, mut bytes) = (Vec::new(), 0);
        while bytes < LOT_BYTES {
            let Some(noted) = self.kept.pop_front() else { break };
            self.kept_bytes -= size(&noted);
            bytes += size(&noted);
            lot.push(noted);
        }
        while bytes < LOT_BYTES {
            let Some(noted) = self.hints.pop_front() else { break };
            if let Some(key) = hint_key(&noted) {
                self.known.remove(&key);
            }
            bytes += size(&noted);
            lot.push(noted);
        }
        lot
    }

    fn put_back(&mut self, lot: Vec<Noted>) {
        let (hints, kept): (Vec<_>, Vec<_>) = lot.into_iter().partition(|noted| hint_key(noted).is_some());
        let newer = mem::take(&mut self.kept);
        self.kept_bytes += kept.iter().map(size).sum::<usize>();
        self.kept = kept.into_iter().chain(newer).collect();
        for hint in hints {
            self.write(hint);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(note: Note) -> Noted {
        Noted { app: AppId::parse("app_a").unwrap(), note }
    }

    fn channel(name: &str) -> ChannelName {
        ChannelName::parse(name).unwrap()
    }

    fn event(data: String) -> Note {
        let (event, socket_id) = ("client-a".to_owned(), "1.2".to_owned());
        Note::ClientEvent { channel: channel("private-a"), event, data, socket_id, user_id: None }
    }

    #[test]
    fn hints_are_kept_once_and_bounded_and_events_each_for_itself_and_bounded_in_bytes() {
        let mut pages = Pages::default();
        assert!(pages.write(noted(Note::Occupancy(channel("a")))));
        assert!(!pages.write(noted(Note::Occupancy(channel("a")))));
        assert!(pages.write(noted(Note::Members(channel("a")))));
        for n in 0..2 * MOST_HINTS {
            pages.write(noted(Note::Occupancy(channel(&format!("c-{n}")))));
        }
        assert_eq!(pages.hints.len(), MOST_HINTS);
        while pages.write(noted(event("x".repeat(10_000)))) {}
        assert!(pages.kept_bytes <= MOST_BYTES && pages.kept.len() > 1_000);
        let lot = pages.tear_out();
        assert!((10..20).contains(&lot.len()), "events go first, in lots: {}", lot.len());
        let before = pages.kept.len();
        pages.put_back(lot);
        assert!(pages.kept.len() > before);
        while !pages.is_empty() {
            pages.tear_out();
        }
        assert_eq!((pages.kept_bytes, pages.known.len()), (0, 0));
    }

    #[test]
    fn notes_come_back_from_a_lot_as_they_went_in() {
        let user_id = Some(ClientName::parse("ann").unwrap());
        let (channel, data) = (channel("presence-a"), "\u{1}\"".to_owned());
        let all = [
            Note::Occupancy(channel.clone()),
            Note::Members(channel.clone()),
            Note::CacheMiss(channel.clone()),
            Note::ClientEvent { channel, event: "client-a".into(), data, socket_id: "1.2".into(), user_id },
        ];
        let notes = all.iter().cloned().map(noted).map(|noted| WireNoted { app: noted.app, note: noted.note.into() });
        let body = serde_json::to_vec(&WireLot { v: 1, notes: notes.collect() }).unwrap();
        assert_eq!(read_notes(&body).unwrap(), all.map(noted));
        assert_eq!(read_notes(br#"{"v":9}"#), Err(Unreadable::Later(9)));
    }
}
