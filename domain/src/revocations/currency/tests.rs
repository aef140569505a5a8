//! Beats, reads, silences and stops, in a table and at random.

use proptest::prelude::*;

use super::*;

/// The database's clock at the node's start.
const EPOCH: u64 = 1_700_000_000_000;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn stored(ms: u64) -> Timestamp {
    Timestamp(EPOCH + ms)
}

fn beat(revision: u64, at: u64) -> Beat {
    Beat { revision: Revision(revision), at: stored(at), is_read: true }
}

fn on_trust(revision: u64, at: u64) -> Beat {
    Beat { is_read: false, ..beat(revision, at) }
}

fn latest(revision: u64, at: u64) -> Latest {
    Latest { revision: Revision(revision), now: stored(at) }
}

/// A read from its beginning to its end.
fn read(currency: &mut Currency, latest: Latest, began: u64, now: u64) {
    currency.begin(ms(began));
    currency.end(ms(began));
    currency.read(latest.revision, latest, ms(began), ms(now));
}

/// A node that read number 3 at 1,000.
fn reader() -> Currency {
    let mut currency = Currency::default();
    assert_eq!((currency.good_until(), currency.next_read(ms(7))), (None, Some(ms(7))));
    read(&mut currency, latest(3, 1_000), 1_000, 1_000);
    currency
}

#[test]
fn a_beat_of_the_known_number_keeps_the_list_good_for_a_second_from_when_it_was_read() {
    let mut currency = reader();
    assert_eq!(currency.good_until(), Some(ms(2_000)));
    currency.heard(beat(3, 1_400), ms(1_450));
    assert_eq!(currency.good_until(), Some(ms(2_400)));
    assert_eq!(currency.next_read(ms(1_450)), Some(ms(1_900)));
}

#[test]
fn a_beat_of_a_new_number_is_read_at_once_and_confirms_nothing() {
    let mut currency = reader();
    currency.heard(beat(4, 1_400), ms(1_450));
    assert_eq!((currency.good_until(), currency.next_read(ms(1_450))), (Some(ms(2_000)), Some(ms(1_450))));
    // Nor does one that knows less.
    currency.heard(beat(3, 1_460), ms(1_460));
    assert_eq!(currency.good_until(), Some(ms(2_000)));
    read(&mut currency, latest(4, 1_470), 1_465, 1_475);
    assert_eq!(currency.good_until(), Some(ms(2_465)));
    // A read that does not show what was told is repeated, but not without a pause.
    currency.heard(beat(9, 1_500), ms(1_500));
    read(&mut currency, latest(4, 1_510), 1_505, 1_510);
    assert_eq!((currency.good_until(), currency.next_read(ms(1_511))), (Some(ms(2_465)), Some(ms(1_755))));
}

#[test]
fn without_beats_the_list_is_read_before_it_is_too_old() {
    let mut currency = reader();
    assert_eq!(currency.next_read(ms(1_001)), Some(ms(1_500)));
    read(&mut currency, latest(3, 1_610), 1_600, 1_620);
    assert_eq!(currency.good_until(), Some(ms(2_600)));
    currency.failed(ms(2_300), ms(2_300));
    assert_eq!((currency.good_until(), currency.next_read(ms(2_300))), (Some(ms(2_600)), Some(ms(2_550))));
}

#[test]
fn beats_that_lay_in_a_buffer_while_the_process_was_stopped_confirm_nothing() {
    let mut currency = reader();
    for at in [1_500, 2_000, 2_500, 10_400] {
        currency.heard(beat(3, at), ms(11_000));
    }
    // The last of them is 600 ms old; the others would not do.
    assert_eq!(currency.good_until(), Some(ms(11_400)));
    let mut currency = reader();
    currency.heard(beat(3, 9_900), ms(11_000));
    assert!(currency.good_until() < Some(ms(11_000)));
    assert!(currency.next_read(ms(11_000)) <= Some(ms(11_000)));
}

#[test]
fn a_sender_that_cannot_read_is_believed_only_by_who_cannot_either() {
    let mut currency = reader();
    currency.heard(on_trust(3, 1_500), ms(1_500));
    assert_eq!(currency.good_until(), Some(ms(2_000)));
    currency.failed(ms(1_700), ms(1_700));
    currency.heard(on_trust(3, 2_000), ms(2_010));
    assert_eq!(currency.good_until(), Some(ms(3_000)));
    currency.heard(on_trust(2, 2_500), ms(2_500));
    assert_eq!(currency.good_until(), Some(ms(3_000)));
    // Once it can be read again, trust ends.
    read(&mut currency, latest(3, 2_600), 2_600, 2_600);
    currency.heard(on_trust(3, 3_000), ms(3_000));
    assert_eq!(currency.good_until(), Some(ms(3_600)));
}

#[test]
fn a_read_that_began_before_somebody_asked_does_not_do_for_them() {
    let mut currency = reader();
    currency.demand(ms(1_105));
    read(&mut currency, latest(3, 1_110), 1_100, 1_120);
    assert_eq!(currency.next_read(ms(1_121)), Some(ms(1_121)));
    read(&mut currency, latest(3, 1_130), 1_125, 1_135);
    assert_eq!(currency.next_read(ms(1_136)), Some(ms(1_625)));
}

#[test]
fn a_read_that_is_not_answered_does_not_keep_others_from_beginning() {
    let mut currency = reader();
    let mut now = 1_500;
    for began in [1_500, 1_700, 1_900, 2_100] {
        assert_eq!(currency.next_read(ms(now)), Some(ms(began)));
        currency.begin(ms(began));
        now = began + 1;
    }
    assert_eq!(currency.next_read(ms(2_101)), None, "enough are under way");
    // Whoever asks meanwhile is served by one that begins later, as soon as there is room.
    currency.demand(ms(2_400));
    currency.end(ms(1_500));
    assert_eq!(currency.next_read(ms(2_400)), Some(ms(2_400)));
    currency.begin(ms(2_400));
    currency.end(ms(2_400));
    currency.read(Revision(3), latest(3, 2_410), ms(2_400), ms(2_420));
    assert_eq!(currency.good_until(), Some(ms(3_400)));
    // What the others bring later takes nothing back.
    currency.end(ms(1_700));
    currency.read(Revision(3), latest(3, 1_710), ms(1_700), ms(2_500));
    assert_eq!(currency.good_until(), Some(ms(3_400)));
}

#[test]
fn a_list_that_one_read_does_not_bring_whole_is_read_on_at_once() {
    let mut currency = Currency::default();
    currency.read(Revision(10), latest(25, 100), ms(100), ms(110));
    assert_eq!(currency.good_until(), None, "it is not complete, also not in a process's first second");
    assert_eq!(currency.next_read(ms(111)), Some(ms(111)));
    currency.read(Revision(25), latest(25, 120), ms(115), ms(130));
    assert_eq!(currency.good_until(), Some(ms(1_115)));
}

#[test]
fn who_makes_every_revocation_itself_reads_when_there_is_one_and_seldom_else() {
    let mut currency = Currency::default();
    assert_eq!(currency.next_read_alone(Revision(0), ms(5)), Some(ms(5)));
    read(&mut currency, latest(3, 1_000), 1_000, 1_000);
    assert_eq!(currency.next_read_alone(Revision(0), ms(1_100)), Some(ms(31_000)));
    assert_eq!(currency.next_read_alone(Revision(4), ms(1_100)), Some(ms(1_100)));
    currency.failed(ms(1_150), ms(1_150));
    assert_eq!(currency.next_read_alone(Revision(4), ms(1_160)), Some(ms(1_400)));
}

#[test]
fn a_database_whose_clock_jumps_is_read_again() {
    let mut currency = reader();
    currency.heard(beat(3, 60_000), ms(1_400));
    assert_eq!((currency.good_until(), currency.next_read(ms(1_400))), (Some(ms(2_000)), Some(ms(1_400))));
    read(&mut currency, latest(3, 60_010), 1_410, 1_410);
    currency.heard(beat(3, 60_300), ms(1_700));
    assert_eq!(currency.good_until(), Some(ms(2_700)));
}

proptest! {
    /// Whatever is delayed, dropped or refused: at a time at which the list is good, every revocation of more than a second before is known.
    #[test]
    fn a_good_list_lacks_nothing_that_is_older_than_the_bound(
        revocations in proptest::collection::btree_set(0_u64..20_000, 0..12),
        steps in proptest::collection::vec((0_u8..5, 1_u64..1_500, 0_u64..3_000), 1..80),
    ) {
        let number_at = |time: u64| 1 + revocations.iter().filter(|at| **at <= time).count() as u64;
        let (mut currency, mut known, mut now) = (Currency::default(), 0, 0_u64);
        for (what, pause, delay) in steps {
            now += pause;
            let then = now.saturating_sub(delay);
            match what {
                0 | 1 => currency.heard(beat(number_at(then), then), ms(now)),
                2 => {
                    // A read sees some moment of its time; others may have begun and ended meanwhile.
                    let began = now.saturating_sub(delay / 4);
                    let seen = began + (now - began) / 2;
                    known = number_at(seen).max(known);
                    read(&mut currency, latest(number_at(seen), seen), began, now);
                }
                3 => currency.demand(ms(now)),
                _ => {}
            }
            if currency.good_until().is_some_and(|until| ms(now) < until) {
                prop_assert!(known >= number_at(now.saturating_sub(1_000)), "at {now}: {known}");
            }
        }
    }
}
