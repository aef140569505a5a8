//! Where the client of a stream stands in each of its channels, as its cursor says.

use fanfare_domain::cursors::CursorScope;
use fanfare_protocol::{ChannelName, Position, Serial};

use crate::wire::Mark;

/// The positions of a stream.
pub(crate) struct Positions {
    scope: CursorScope,
    /// In the order of their names.
    channels: Vec<ChannelName>,
    at: Vec<Position>,
}

impl Positions {
    /// The positions after which each channel is delivered.
    pub(super) fn new(scope: CursorScope, channels: Vec<ChannelName>, at: Vec<Position>) -> Self {
        Self { scope, channels, at }
    }

    /// Takes note of what is on its way; which channel it was.
    pub(crate) fn advance(&mut self, mark: &Mark) -> Option<usize> {
        let which = self.of(&mark.channel)?;
        self.at[which].serial = mark.serial;
        Some(which)
    }

    /// Which channel that is.
    pub(crate) fn of(&self, channel: &ChannelName) -> Option<usize> {
        self.channels.binary_search(channel).ok()
    }

    /// How far the client is in a channel.
    pub(crate) fn serial(&self, which: usize) -> Serial {
        self.at[which].serial
    }

    /// The cursor that says so.
    pub(crate) fn cursor(&self) -> String {
        self.scope.seal(&self.at)
    }
}
