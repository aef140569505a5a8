//! JSON as it is read here: strictly, and with a pointer to the field that is wrong.

use fanfare_protocol::ErrorCode;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::error::Category;
use serde_path_to_error::{Path, Segment};

use crate::problems::{ApiError, FieldProblem};

/// Why a text could not be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    /// It is not JSON.
    Malformed(String),
    /// It is, but a field is wrong, missing or unknown.
    Field(FieldProblem),
}

impl From<Unreadable> for ApiError {
    fn from(problem: Unreadable) -> Self {
        match problem {
            Unreadable::Malformed(detail) => ApiError::new(ErrorCode::Malformed, detail),
            Unreadable::Field(field) => ApiError::of_field(field),
        }
    }
}

/// Reads one JSON object. Only a text that fails is read a second time, to find out where.
pub(crate) fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Unreadable> {
    let malformed = |failure: serde_json::Error| Unreadable::Malformed(format!("the body is not JSON: {failure}"));
    if !text.trim_start().starts_with('{') {
        // An array would do for the fields of an object, in their order.
        serde_json::from_str::<IgnoredAny>(text).map_err(malformed)?;
        let detail = "an object is expected".to_owned();
        return Err(Unreadable::Field(FieldProblem { pointer: String::new(), detail }));
    }
    let failure = match serde_json::from_str(text) {
        Ok(value) => return Ok(value),
        Err(failure) => failure,
    };
    if failure.classify() != Category::Data {
        return Err(malformed(failure));
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let located: Result<T, _> = serde_path_to_error::deserialize(&mut reader);
    Err(Unreadable::Field(match located {
        Err(located) => field(located.path(), &located.inner().to_string()),
        Ok(_) => FieldProblem { pointer: String::new(), detail: without_place(&failure.to_string()).to_owned() },
    }))
}

fn field(path: &Path, message: &str) -> FieldProblem {
    let mut pointer = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
            Segment::Map { key } | Segment::Enum { variant: key } => pointer.push_str(&format!("/{}", escape(key))),
            Segment::Unknown => {}
        }
    }
    let detail = without_place(message);
    for (kind, short) in [
        ("missing field `", "is missing"),
        ("unknown field `", "is not known here"),
        ("duplicate field `", "is given twice"),
    ] {
        if let Some(name) = detail.strip_prefix(kind).and_then(|rest| rest.split('`').next()) {
            let member = format!("/{}", escape(name));
            if !pointer.ends_with(&member) {
                pointer.push_str(&member);
            }
            return FieldProblem { pointer, detail: short.to_owned() };
        }
    }
    FieldProblem { pointer, detail: detail.to_owned() }
}

/// A name as a JSON pointer writes it (RFC 6901, 3).
pub(crate) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn without_place(message: &str) -> &str {
    message.rsplit_once(" at line ").map_or(message, |(what, _)| what)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fanfare_domain::capabilities::Rights;
    use serde_json::value::RawValue;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        data: Box<RawValue>,
        #[serde(default)]
        cap: BTreeMap<String, Rights>,
    }

    fn pointer(text: &str) -> String {
        match parse::<Sample>(text) {
            Err(Unreadable::Field(field)) => field.pointer,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_wrong_field_is_pointed_at() {
        assert_eq!(pointer("{}"), "/data");
        assert_eq!(pointer(r#"{"data":1,"later":2}"#), "/later");
        assert_eq!(pointer(r#"{"data":1,"cap":7}"#), "/cap");
        assert_eq!(pointer(r#"{"data":1,"cap":{"a/b~":["dance"]}}"#), "/cap/a~1b~0/0");
        assert_eq!(pointer("[]"), "");
        assert_eq!(pointer("[1]"), "");
        assert_eq!(pointer(r#"{"data":1,"data":2}"#), "/data");
    }

    #[test]
    fn data_stays_as_it_was_sent() {
        let sample: Sample = parse(r#"{"data":{"a":1.0e400 , "b":null}}"#).unwrap();
        assert_eq!(sample.data.get(), r#"{"a":1.0e400 , "b":null}"#);
        assert!(sample.cap.is_empty());
        assert_eq!(parse::<Sample>(r#"{"data":null}"#).unwrap().data.get(), "null");
    }

    #[test]
    fn what_is_not_json_is_malformed() {
        for text in ["", "{", "nul", "{\"data\":1}x", "{\"data\":01}", "{'data':1}"] {
            assert!(matches!(parse::<Sample>(text), Err(Unreadable::Malformed(_))), "{text}");
        }
    }
}
