//! One followed channel: where the reader stands in it, what it asks for next, and what it prints.

use fanfare_protocol::{ChannelName, Position, Serial, events::Subscribed, requests::Start};
use serde_json::{Value, json};

/// A channel and the place up to which everything was printed or told.
#[derive(Debug)]
pub(super) struct Follow {
    pub(super) channel: ChannelName,
    first: Start,
    position: Option<Position>,
}

/// What to do with a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the next one.
    Print,
    /// It was printed before.
    Repeated,
    /// Something should have come before it.
    Hole {
        /// The first serial that did not come.
        from: Serial,
        /// The last one.
        to: Serial,
    },
}

impl Follow {
    /// A channel to be followed from `first` on.
    pub(super) fn new(channel: ChannelName, first: Start) -> Self {
        Self { channel, first, position: None }
    }

    /// Whether the next subscribe goes on from a place that was reached here.
    pub(super) fn is_resuming(&self) -> bool {
        self.position.is_some()
    }

    /// The request to subscribe.
    pub(super) fn request(&self, id: u32) -> String {
        let mut request = json!({"id": id, "op": "subscribe", "channel": self.channel});
        match (&self.position, &self.first) {
            (Some(position), _) | (None, Start::Since(position)) => request["since"] = json!(position),
            (None, Start::RewindMessages(messages)) => request["rewind"] = json!({"messages": messages}),
            (None, Start::RewindSeconds(seconds)) => request["rewind"] = json!({"seconds": seconds}),
            (None, Start::Live) => {}
        }
        Value::to_string(&request)
    }

    /// Takes the answer to that request; what a person should know of it.
    pub(super) fn subscribed(&mut self, answer: &Subscribed) -> String {
        let kept = match (&self.position, &self.first) {
            (Some(position), _) | (None, Start::Since(position)) => Some(position.clone()),
            _ => None,
        };
        let position = match (kept, &answer.lost) {
            (Some(position), _) if answer.resumed == Some(true) => position,
            (_, Some(lost)) if lost.to.is_some() => {
                Position { epoch: answer.epoch.clone(), serial: lost.to.unwrap_or_default() }
            }
            _ => {
                Position { epoch: answer.epoch.clone(), serial: Serial(answer.serial.0.saturating_sub(answer.backlog)) }
            }
        };
        let told = match &answer.lost {
            Some(lost) => match lost.to {
                Some(to) => format!("lost: serials {} to {to} are past retention", lost.from),
                None => format!(
                    "lost: the position is void, so what came from serial {} on is not known; following live",
                    lost.from
                ),
            },
            None => format!("following from serial {}, {} to catch up with", position.serial.next(), answer.backlog),
        };
        self.position = Some(position);
        format!("{}: {told}", self.channel)
    }

    /// Takes a message's serial; ephemeral messages have none.
    pub(super) fn message(&mut self, serial: Option<Serial>) -> Verdict {
        let (Some(serial), Some(position)) = (serial, &mut self.position) else { return Verdict::Print };
        if serial <= position.serial {
            return Verdict::Repeated;
        }
        let wanted = position.serial.next();
        position.serial = serial;
        if serial == wanted { Verdict::Print } else { Verdict::Hole { from: wanted, to: Serial(serial.0 - 1) } }
    }

    /// Moves past serials that will not come.
    pub(super) fn pass(&mut self, to: Serial) {
        if let Some(position) = &mut self.position {
            position.serial = position.serial.max(to);
        }
    }

    /// Lets the place go: the next subscribe is live.
    pub(super) fn forget(&mut self) {
        self.position = None;
        self.first = Start::Live;
    }

    /// The place, as `--since` takes it.
    pub(super) fn place(&self) -> Option<String> {
        self.position.as_ref().map(|position| format!("{}:{}", position.epoch, position.serial))
    }
}

#[cfg(test)]
mod tests {
    use fanfare_protocol::{Epoch, events::Lost};

    use super::*;

    fn follow(first: Start) -> Follow {
        Follow::new(ChannelName::parse("a").unwrap(), first)
    }

    fn answer(serial: u64, backlog: u64, resumed: Option<bool>, lost: Option<Lost>) -> Subscribed {
        Subscribed {
            channel: ChannelName::parse("a").unwrap(),
            epoch: Epoch::new("e2"),
            serial: Serial(serial),
            resumed,
            backlog,
            lost,
        }
    }

    fn at(serial: u64) -> Position {
        Position { epoch: Epoch::new("e1"), serial: Serial(serial) }
    }

    #[test]
    fn the_first_request_is_what_was_asked_for_and_later_ones_resume() {
        assert_eq!(follow(Start::Live).request(1), r#"{"channel":"a","id":1,"op":"subscribe"}"#);
        assert!(follow(Start::RewindMessages(5)).request(1).contains(r#""rewind":{"messages":5}"#));
        assert!(follow(Start::Since(at(4))).request(1).contains(r#""since":{"epoch":"e1","serial":4}"#));
        let mut live = follow(Start::Live);
        live.subscribed(&answer(7, 0, None, None));
        assert_eq!(live.message(Some(Serial(8))), Verdict::Print);
        assert!(live.request(2).contains(r#""since":{"epoch":"e2","serial":8}"#));
    }

    #[test]
    fn a_rewind_stands_before_its_backlog_until_that_has_come() {
        let mut rewound = follow(Start::RewindMessages(3));
        rewound.subscribed(&answer(10, 3, None, None));
        assert_eq!(rewound.place().unwrap(), "e2:7");
        assert_eq!(rewound.message(Some(Serial(8))), Verdict::Print);
    }

    #[test]
    fn a_serial_is_printed_once_and_a_hole_is_told() {
        let mut follow = follow(Start::Since(at(4)));
        follow.subscribed(&answer(6, 2, Some(true), None));
        assert_eq!(follow.message(Some(Serial(5))), Verdict::Print);
        assert_eq!(follow.message(Some(Serial(5))), Verdict::Repeated);
        assert_eq!(follow.message(None), Verdict::Print);
        assert_eq!(follow.message(Some(Serial(8))), Verdict::Hole { from: Serial(6), to: Serial(7) });
        follow.pass(Serial(11));
        assert_eq!(follow.message(Some(Serial(12))), Verdict::Print);
    }

    #[test]
    fn what_is_lost_is_told_and_passed_over() {
        let mut some = follow(Start::Since(at(4)));
        let told = some.subscribed(&answer(20, 10, Some(false), Some(Lost { from: Serial(5), to: Some(Serial(10)) })));
        assert!(told.contains("5 to 10"), "{told}");
        assert_eq!(some.message(Some(Serial(11))), Verdict::Print);
        let mut all = follow(Start::Since(at(4)));
        let told = all.subscribed(&answer(2, 0, Some(false), Some(Lost { from: Serial(5), to: None })));
        assert!(told.contains("void"), "{told}");
        assert_eq!(all.place().unwrap(), "e2:2");
    }
}
