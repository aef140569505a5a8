//! A node's book: what it counts, and what of it the others have to be told.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    ops::Bound,
};

use fanfare_protocol::ChannelName;

use super::Place;
use crate::ids::AppId;

/// What is to be told of one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The channel.
    pub place: Place,
    /// This node's subscriptions of it.
    pub count: u64,
    /// Whether the channel must be made known as occupied: it was not told before, or so long ago that it is told anew.
    pub is_new: bool,
}

/// A node's counts of subscriptions, and how far they were told.
///
/// What is taken from the book is told in that order, one lot after the other. If it is not known whether a lot arrived,
/// [`Book::tell_anew`] begins from nothing; so zeros are only ever told of what was told before. However often a count changes between two
/// lots, the last state alone is told.
#[derive(Debug, Default)]
pub struct Book {
    apps: BTreeMap<AppId, HashMap<ChannelName, Entry>>,
    /// Channels that have something to be told, each once.
    waiting: VecDeque<Place>,
}

#[derive(Debug, Default)]
struct Entry {
    count: u64,
    /// What was last told; 0 is the same as nothing.
    told: u64,
    is_waiting: bool,
    /// It is told also if it did not change.
    is_due: bool,
}

impl Book {
    /// A subscription began. Whether this is news, since nothing was to be told of the channel before.
    pub fn enter(&mut self, app: &AppId, channel: &ChannelName) -> bool {
        if !self.apps.contains_key(app) {
            self.apps.insert(app.clone(), HashMap::new());
        }
        let Some(channels) = self.apps.get_mut(app) else { return false };
        let entry = channels.entry(channel.clone()).or_default();
        entry.count += 1;
        wait(&mut self.waiting, entry, app, channel)
    }

    /// A subscription ended. Whether this is news, since nothing was to be told of the channel before.
    pub fn leave(&mut self, app: &AppId, channel: &ChannelName) -> bool {
        let entry = self.apps.get_mut(app).and_then(|channels| channels.get_mut(channel));
        let Some(entry) = entry.filter(|entry| entry.count > 0) else { return false };
        entry.count -= 1;
        wait(&mut self.waiting, entry, app, channel)
    }

    /// The next that is to be told, for at most so many channels; they count as told from now on.
    pub fn take(&mut self, most: usize) -> Vec<Word> {
        let mut words = Vec::new();
        while words.len() < most
            && let Some(place) = self.waiting.pop_front()
        {
            let Some(entry) = self.apps.get_mut(&place.0).and_then(|channels| channels.get_mut(&place.1)) else {
                continue;
            };
            entry.is_waiting = false;
            let is_due = std::mem::take(&mut entry.is_due);
            let (count, told) = (entry.count, std::mem::replace(&mut entry.told, entry.count));
            if count == 0 {
                self.forget(&place);
            }
            if count != told || (is_due && count > 0) {
                words.push(Word { place, count, is_new: count > 0 && (told == 0 || is_due) });
            }
        }
        words
    }

    /// Everything is to be told again, to those who know nothing.
    pub fn tell_anew(&mut self) {
        self.waiting.clear();
        for (app, channels) in &mut self.apps {
            channels.retain(|_, entry| entry.count > 0);
            for (channel, entry) in channels {
                *entry = Entry { count: entry.count, ..Entry::default() };
                wait(&mut self.waiting, entry, app, channel);
            }
        }
        self.apps.retain(|_, channels| !channels.is_empty());
    }

    /// Everything is to be told again, to those who know it, lest they forget.
    pub fn tell_again(&mut self) {
        for (app, channels) in &mut self.apps {
            for (channel, entry) in channels {
                entry.is_due = true;
                wait(&mut self.waiting, entry, app, channel);
            }
        }
    }

    /// The next app in their order that this node counts something of, after the last one the first again.
    pub fn app_after(&self, last: Option<&AppId>) -> Option<&AppId> {
        let after = last.map_or(Bound::Unbounded, Bound::Excluded);
        let next = self.apps.range::<AppId, _>((after, Bound::Unbounded)).next();
        next.or_else(|| self.apps.first_key_value()).map(|(app, _)| app)
    }

    /// How many channels are in the book.
    pub fn channels(&self) -> usize {
        self.apps.values().map(HashMap::len).sum()
    }

    fn forget(&mut self, (app, channel): &Place) {
        if let Some(channels) = self.apps.get_mut(app) {
            channels.remove(channel);
            if channels.is_empty() {
                self.apps.remove(app);
            }
        }
    }
}

/// Puts a channel among those that wait, unless it is there; whether it was not.
fn wait(waiting: &mut VecDeque<Place>, entry: &mut Entry, app: &AppId, channel: &ChannelName) -> bool {
    let is_news = !std::mem::replace(&mut entry.is_waiting, true);
    if is_news {
        waiting.push_back((app.clone(), channel.clone()));
    }
    is_news
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn app(name: &str) -> AppId {
        AppId::parse(&format!("app_{name}")).unwrap()
    }

    fn channel(name: &str) -> ChannelName {
        ChannelName::parse(name).unwrap()
    }

    fn told(words: &[Word]) -> Vec<(&str, u64, bool)> {
        words.iter().map(|word| (word.place.1.as_str(), word.count, word.is_new)).collect()
    }

    #[test]
    fn what_changes_between_two_lots_is_told_once() {
        let (mut book, app, room) = (Book::default(), app("a"), channel("room"));
        assert!(book.enter(&app, &room));
        assert!(!book.enter(&app, &room) && !book.enter(&app, &room) && !book.leave(&app, &room));
        assert_eq!(told(&book.take(9)), [("room", 2, true)]);
        assert!(book.take(9).is_empty());
        assert!(book.leave(&app, &room) && !book.enter(&app, &room));
        assert!(book.take(9).is_empty(), "it is as it was told");
        book.enter(&app, &room);
        assert_eq!(told(&book.take(9)), [("room", 3, false)]);
    }

    #[test]
    fn a_channel_that_was_left_is_told_and_forgotten() {
        let (mut book, app, room) = (Book::default(), app("a"), channel("room"));
        book.enter(&app, &room);
        book.take(9);
        book.leave(&app, &room);
        assert_eq!(told(&book.take(9)), [("room", 0, false)]);
        assert_eq!((book.channels(), book.app_after(None)), (0, None));
        book.enter(&app, &room);
        book.leave(&app, &room);
        assert!(book.take(9).is_empty(), "nobody ever heard of it");
        assert!(!book.leave(&app, &room), "less than nothing is nothing");
        assert_eq!(book.channels(), 0);
    }

    #[test]
    fn a_lot_is_bounded_and_the_rest_follows_in_order() {
        let (mut book, app) = (Book::default(), app("a"));
        for name in ["a", "b", "c"] {
            book.enter(&app, &channel(name));
        }
        assert_eq!(told(&book.take(2)), [("a", 1, true), ("b", 1, true)]);
        assert_eq!(told(&book.take(2)), [("c", 1, true)]);
    }

    #[test]
    fn told_anew_begins_from_nothing_and_told_again_does_not() {
        let (mut book, app, room, left) = (Book::default(), app("a"), channel("room"), channel("left"));
        book.enter(&app, &room);
        book.enter(&app, &left);
        book.take(9);
        book.leave(&app, &left);
        book.tell_anew();
        assert_eq!(told(&book.take(9)), [("room", 1, true)], "a zero needs no telling");
        book.tell_again();
        assert_eq!(told(&book.take(9)), [("room", 1, true)]);
        book.tell_again();
        book.leave(&app, &room);
        assert_eq!(told(&book.take(9)), [("room", 0, false)], "what was told must be taken back");
        assert_eq!(book.channels(), 0);
    }

    #[test]
    fn apps_are_visited_in_turn() {
        let (mut book, room) = (Book::default(), channel("room"));
        let (a, b) = (app("a"), app("b"));
        for app in [&a, &b] {
            book.enter(app, &room);
        }
        assert_eq!(book.app_after(None), Some(&a));
        assert_eq!(book.app_after(Some(&a)), Some(&b));
        assert_eq!(book.app_after(Some(&b)), Some(&a));
    }

    #[derive(Debug, Clone)]
    enum Step {
        Enter(u8),
        Leave(u8),
        Take(u8),
        Again,
        Lost,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..4u8).prop_map(Step::Enter),
            6 => (0..4u8).prop_map(Step::Leave),
            4 => (1..3u8).prop_map(Step::Take),
            1 => Just(Step::Again),
            1 => Just(Step::Lost),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_happens_the_others_know_the_counts_once_all_is_told(steps in prop::collection::vec(step(), 1..80)) {
            let (mut book, app) = (Book::default(), app("a"));
            let (mut counts, mut known) = (HashMap::<String, u64>::new(), HashMap::<String, u64>::new());
            let take = |book: &mut Book, most: usize, known: &mut HashMap<String, u64>| {
                let words = book.take(most);
                for word in &words {
                    let name = word.place.1.to_string();
                    if word.count == 0 { known.remove(&name) } else { known.insert(name, word.count) };
                }
                words.len()
            };
            for step in steps {
                match step {
                    Step::Enter(n) => {
                        book.enter(&app, &channel(&n.to_string()));
                        *counts.entry(n.to_string()).or_default() += 1;
                    }
                    Step::Leave(n) => {
                        book.leave(&app, &channel(&n.to_string()));
                        let count = counts.entry(n.to_string()).or_default();
                        *count = count.saturating_sub(1);
                    }
                    Step::Take(most) => {
                        take(&mut book, most.into(), &mut known);
                    }
                    Step::Again => book.tell_again(),
                    Step::Lost => {
                        known.clear();
                        book.tell_anew();
                    }
                }
            }
            while take(&mut book, 3, &mut known) > 0 {}
            counts.retain(|_, count| *count > 0);
            prop_assert_eq!(known, counts.clone());
            prop_assert_eq!(book.channels(), counts.len());
        }
    }
}
