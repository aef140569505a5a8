//! From workers back to whoever waits: what became of each message of a queued envelope.

use fanfare_domain::{history::Appended, publishing::IntakeError};
use fanfare_protocol::{Epoch, Serial};
use serde::{Deserialize, Serialize};

use super::{EnvelopeError, Form, VERSION, read, write};

#[derive(Serialize, Deserialize)]
struct AnsweredForm {
    v: u32,
    answers: Vec<AnswerForm>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AnswerForm {
    Place(Epoch, Serial),
    Conflict,
    NoApp,
    Rejected,
}

impl Form for AnsweredForm {
    fn version(&self) -> u32 {
        self.v
    }
}

/// An envelope with what became of each message, in their order.
pub fn encode(outcomes: &[Appended]) -> Vec<u8> {
    let answers = outcomes.iter().map(|outcome| match outcome {
        Appended::Stored { epoch, serial, .. } | Appended::Repeated { epoch, serial, .. } => {
            AnswerForm::Place(epoch.clone(), *serial)
        }
        Appended::Conflict => AnswerForm::Conflict,
        Appended::NoApp => AnswerForm::NoApp,
        Appended::Rejected => AnswerForm::Rejected,
    });
    write(&AnsweredForm { v: VERSION, answers: answers.collect() })
}

/// Each message's place, or why it has none.
pub type Answers = Vec<Result<(Epoch, Serial), IntakeError>>;

/// The answers of an envelope, in the messages' order.
pub fn decode(text: &[u8]) -> Result<Answers, EnvelopeError> {
    let form: AnsweredForm = read(text)?;
    let answers = form.answers.into_iter().map(|answer| match answer {
        AnswerForm::Place(epoch, serial) => Ok((epoch, serial)),
        AnswerForm::Conflict => Err(IntakeError::Conflict),
        AnswerForm::NoApp => Err(IntakeError::NoApp),
        AnswerForm::Rejected => Err(IntakeError::Rejected),
    });
    Ok(answers.collect())
}

#[cfg(test)]
mod tests {
    use fanfare_domain::Timestamp;

    use super::*;

    #[test]
    fn the_first_version_is_written_and_read_letter_by_letter() {
        let text = r#"{"v":1,"answers":[{"place":["e1",7]},{"place":["e1",3]},"conflict","no_app","rejected"]}"#;
        let (epoch, time) = (Epoch::new("e1"), Timestamp(1));
        let outcomes = [
            Appended::Stored { epoch: epoch.clone(), serial: Serial(7), time },
            Appended::Repeated { epoch: epoch.clone(), serial: Serial(3), time },
            Appended::Conflict,
            Appended::NoApp,
            Appended::Rejected,
        ];
        assert_eq!(String::from_utf8(encode(&outcomes)).unwrap(), text);
        let expected = vec![
            Ok((epoch.clone(), Serial(7))),
            Ok((epoch, Serial(3))),
            Err(IntakeError::Conflict),
            Err(IntakeError::NoApp),
            Err(IntakeError::Rejected),
        ];
        assert_eq!(decode(text.as_bytes()), Ok(expected));
    }

    #[test]
    fn an_answer_that_this_version_does_not_know_is_not_guessed() {
        assert!(matches!(decode(br#"{"v":1,"answers":["later"]}"#), Err(EnvelopeError::Malformed(_))));
        assert_eq!(decode(br#"{"v":2,"answers":["later"]}"#), Err(EnvelopeError::Newer(2)));
    }
}
