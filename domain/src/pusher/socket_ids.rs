//! Socket ids: `N.N` in decimal digits, as every library checks them. They are the connection's own id in another form, so that every node knows
//! which connection is meant.

use crate::ids::ConnectionId;

/// A connection's socket id.
pub fn socket_id(connection: &ConnectionId) -> Option<String> {
    let number = connection.number()?;
    Some(format!("{}.{}", number >> 64, number & u128::from(u64::MAX)))
}

/// The connection of a socket id; `None` if the text is none.
pub fn connection_of(socket_id: &str) -> Option<ConnectionId> {
    let (high, low) = socket_id.split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(high) || !digits(low) {
        return None;
    }
    let (high, low): (u64, u64) = (high.parse().ok()?, low.parse().ok()?);
    Some(ConnectionId::of_number(u128::from(high) << 64 | u128::from(low)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_id_is_a_connections_id_in_digits() {
        for _ in 0..100 {
            let connection = ConnectionId::generate();
            let socket_id = socket_id(&connection).unwrap();
            assert!(socket_id.split('.').all(|part| part.bytes().all(|byte| byte.is_ascii_digit())), "{socket_id}");
            assert_eq!(connection_of(&socket_id).as_ref(), Some(&connection));
        }
        for bad in ["", "1", "1.", ".1", "1.2.3", "a.b", "1.-2", "+1.2", "99999999999999999999999.1"] {
            assert!(connection_of(bad).is_none(), "{bad}");
        }
    }
}
