//! Close codes: what a stock client does next is decided by their range.

use crate::ErrorCode;

/// A code that a Pusher connection is closed with, or that an error on it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// Only TLS is accepted.
    pub const TLS_ONLY: Self = Self(4000);
    /// There is no such app, or it does not speak Pusher.
    pub const NO_APP: Self = Self(4001);
    /// The app is disabled.
    pub const APP_DISABLED: Self = Self(4003);
    /// The app has as many connections as it may.
    pub const OVER_QUOTA: Self = Self(4004);
    /// The path is none that Pusher has.
    pub const PATH_NOT_FOUND: Self = Self(4005);
    /// The protocol's version is no number.
    pub const BAD_VERSION: Self = Self(4006);
    /// The protocol's version is not spoken here.
    pub const UNSUPPORTED_VERSION: Self = Self(4007);
    /// No version was given.
    pub const NO_VERSION: Self = Self(4008);
    /// The connection may not be here, or not do what it asked for.
    pub const UNAUTHORIZED: Self = Self(4009);
    /// Come back after a pause.
    pub const OVER_CAPACITY: Self = Self(4100);
    /// Come back at once, to another node.
    pub const RECONNECT: Self = Self(4200);
    /// No answer to a ping.
    pub const NO_PONG: Self = Self(4201);
    /// A client event was refused; the connection stays.
    pub const CLIENT_EVENT_REFUSED: Self = Self(4301);
    /// A watchlist was too long; the connection stays.
    pub const WATCHLIST_LIMIT: Self = Self(4302);

    /// The code of whatever ends a connection for Fanfare's reasons.
    pub fn of(code: ErrorCode) -> Self {
        match code {
            ErrorCode::TlsRequired => Self::TLS_ONLY,
            ErrorCode::AppDisabled => Self::APP_DISABLED,
            ErrorCode::ConnectionLimit => Self::OVER_QUOTA,
            ErrorCode::BadKey
            | ErrorCode::Revoked
            | ErrorCode::Disconnected
            | ErrorCode::OriginNotAllowed
            | ErrorCode::BadToken
            | ErrorCode::Forbidden => Self::UNAUTHORIZED,
            ErrorCode::Draining => Self::RECONNECT,
            ErrorCode::NoPong => Self::NO_PONG,
            _ => Self::OVER_CAPACITY,
        }
    }
}
