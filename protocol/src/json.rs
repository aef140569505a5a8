//! JSON as text: data stays the publisher's own text from request to frame, less the whitespace between tokens.

use serde_json::value::RawValue;

/// `value` without whitespace outside strings, so that it is one line.
///
/// Nothing else changes: numbers, escapes and the order of members stay as they were sent.
pub fn compact(value: &RawValue) -> Box<RawValue> {
    let text = value.get();
    if !text.bytes().any(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) {
        return value.to_owned();
    }
    let mut line = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    for character in text.chars() {
        if !in_string && matches!(character, ' ' | '\t' | '\r' | '\n') {
            continue;
        }
        if escaped {
            escaped = false;
        } else if in_string && character == '\\' {
            escaped = true;
        } else if character == '"' {
            in_string = !in_string;
        }
        line.push(character);
    }
    RawValue::from_string(line).expect("whitespace between tokens can be left out")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whitespace_goes_only_outside_strings() {
        let raw: Box<RawValue> = serde_json::from_str("{ \"a b\" : [1.0,\n\t\"x \\\" y\\\\\" , 1e400 ] }").unwrap();
        assert_eq!(compact(&raw).get(), r#"{"a b":[1.0,"x \" y\\",1e400]}"#);
    }
}
