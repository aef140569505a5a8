//! Cursors: where a page of members ended, as clients give it back.

use fanfare_protocol::ClientName;

/// The cursor of what follows a client.
pub fn write(after: &ClientName) -> String {
    after.as_str().bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// The client of a cursor; `None` if it is not one.
pub fn read(cursor: &str) -> Option<ClientName> {
    let digits = cursor.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let byte = |at: usize| u8::from_str_radix(&cursor[at..at + 2], 16).ok();
    let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
    ClientName::parse(&String::from_utf8(bytes?).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_anything_else_does_not() {
        let client = ClientName::parse("ann ü 🙂").unwrap();
        assert_eq!(read(&write(&client)), Some(client));
        for bad in ["", "6", "zz", "+1", "ff", "00", "ä1"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
