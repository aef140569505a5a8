//! Data: Pusher publishes a string, which mostly is JSON encoded once more; elsewhere in Fanfare data is JSON.
//!
//! A string that is JSON other than a string, on one line, is that JSON for everybody else. Any other is a JSON string. So there is one
//! way back, and it gives the publisher's string again, byte for byte.

use std::borrow::Cow;

use serde_json::value::RawValue;

/// The JSON that a publisher's string is for everybody else.
pub fn data_of(text: &str) -> Box<RawValue> {
    // What leaves as events of a stream must stay on one line.
    let is_one_line = !text.bytes().any(|byte| matches!(byte, b'\n' | b'\r'));
    if is_one_line
        && !text.starts_with('"')
        && let Ok(json) = RawValue::from_string(text.to_owned())
        && json.get() == text
    {
        return json;
    }
    serde_json::value::to_raw_value(text).expect("a string is JSON")
}

/// The string that Pusher's clients get for some JSON: of a JSON string what it says, of everything else its text.
pub fn text_of(data: &RawValue) -> Cow<'_, str> {
    match data.get().starts_with('"') {
        true => serde_json::from_str::<String>(data.get()).map_or(Cow::Borrowed(data.get()), Cow::Owned),
        false => Cow::Borrowed(data.get()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn json_is_json_for_everybody_else() {
        for (text, json) in [
            (r#"{"a":1}"#, r#"{"a":1}"#),
            (r#"{"a": 1.50, "b": "\u00e9"}"#, r#"{"a": 1.50, "b": "\u00e9"}"#),
            ("1", "1"),
            ("null", "null"),
            ("hello", r#""hello""#),
            (r#""hello""#, r#""\"hello\"""#),
            ("", r#""""#),
            (" 1", r#"" 1""#),
            ("{\n}", r#""{\n}""#),
            ("{", r#""{""#),
        ] {
            assert_eq!(data_of(text).get(), json, "{text}");
            let data = data_of(text);
            assert_eq!(text_of(&data), text);
        }
    }

    proptest! {
        #[test]
        fn every_string_comes_back_byte_for_byte(text in any::<String>()) {
            let data = data_of(&text);
            prop_assert_eq!(text_of(&data), text);
        }
    }
}
