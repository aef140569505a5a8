//! What one subscriber received of the numbered streams that it follows: what is missing, doubled or out of order.

use std::ops::AddAssign;

use serde::Serialize;

use super::stamps::StreamId;

/// What was found wrong; all 0 is what everyone hopes for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Faults {
    /// Messages that never came.
    pub gaps: u64,
    /// Messages that came again.
    pub doubles: u64,
    /// Messages that came after a later one.
    pub late: u64,
}

impl AddAssign for Faults {
    fn add_assign(&mut self, other: Self) {
        self.gaps += other.gaps;
        self.doubles += other.doubles;
        self.late += other.late;
    }
}

/// Where one stream stands.
#[derive(Debug)]
struct Track {
    stream: StreamId,
    /// The number that comes next.
    next: u32,
    /// Numbers that were passed over and have not come yet.
    missing: Vec<u32>,
}

/// Checks the streams that one subscriber follows; there are few, so they are searched one after the other.
#[derive(Debug, Default)]
pub struct Sequences {
    tracks: Vec<Track>,
    faults: Faults,
}

impl Sequences {
    /// A message came.
    pub fn came(&mut self, stream: StreamId, number: u32) {
        let track = match self.tracks.iter_mut().position(|track| track.stream == stream) {
            Some(at) => &mut self.tracks[at],
            None => {
                self.tracks.push(Track { stream, next: 0, missing: Vec::new() });
                let last = self.tracks.len() - 1;
                &mut self.tracks[last]
            }
        };
        if number >= track.next {
            track.missing.extend(track.next..number);
            track.next = number + 1;
        } else if let Some(at) = track.missing.iter().position(|missing| *missing == number) {
            track.missing.swap_remove(at);
            self.faults.late += 1;
        } else {
            self.faults.doubles += 1;
        }
    }

    /// What was wrong, where these streams had so many messages in all.
    pub fn faults(&self, published: impl IntoIterator<Item = (StreamId, u32)>) -> Faults {
        let mut faults = self.faults;
        for (stream, messages) in published {
            let missing = match self.tracks.iter().find(|track| track.stream == stream) {
                Some(track) => track.missing.len() as u64 + u64::from(messages.saturating_sub(track.next)),
                None => u64::from(messages),
            };
            faults.gaps += missing;
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(numbers: &[u32], published: u32) -> Faults {
        let stream = StreamId::new(4, 1);
        let mut sequences = Sequences::default();
        for number in numbers {
            sequences.came(stream, *number);
        }
        sequences.faults([(stream, published)])
    }

    #[test]
    fn all_in_order_is_no_fault() {
        assert_eq!(faults(&[0, 1, 2, 3], 4), Faults::default());
        assert_eq!(faults(&[], 0), Faults::default());
    }

    #[test]
    fn what_did_not_come_is_missing_at_the_begin_in_the_middle_and_at_the_end() {
        assert_eq!(faults(&[1, 2, 5], 8), Faults { gaps: 5, ..Faults::default() });
        assert_eq!(faults(&[], 8), Faults { gaps: 8, ..Faults::default() });
    }

    #[test]
    fn what_came_again_is_a_double_and_what_came_late_is_not_missing() {
        assert_eq!(faults(&[0, 0, 1], 2), Faults { doubles: 1, ..Faults::default() });
        assert_eq!(faults(&[0, 2, 1, 1, 3], 4), Faults { late: 1, doubles: 1, ..Faults::default() });
    }

    #[test]
    fn streams_are_told_apart() {
        let (one, other) = (StreamId::new(4, 0), StreamId::new(4, 1));
        let mut sequences = Sequences::default();
        sequences.came(one, 0);
        sequences.came(other, 0);
        sequences.came(one, 1);
        assert_eq!(sequences.faults([(one, 2), (other, 3)]), Faults { gaps: 2, ..Faults::default() });
    }
}
