//! Where a channel stands.

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use fanfare_domain::{StoreError, history::Head, ids::AppId};
use fanfare_protocol::{ChannelName, Epoch, Serial};

use crate::sql::{
    db::{Conn, on_dialect},
    schema::{apps, channels},
};

/// A channel's head, and how far it was swept.
pub(super) struct Found {
    pub head: Head,
    /// The highest serial that was removed.
    pub swept: u64,
}

/// A serial as it was stored.
pub(super) fn serial(stored: i64) -> u64 {
    u64::try_from(stored).unwrap_or(0)
}

/// A serial as it is stored.
pub(super) fn stored_serial(serial: u64) -> i64 {
    i64::try_from(serial).unwrap_or(i64::MAX)
}

/// A channel without a row has its app's epoch and serial 0; `None` if the app is gone.
pub(super) async fn find(conn: &mut Conn, app: &AppId, channel: &ChannelName) -> Result<Option<Found>, StoreError> {
    let row = on_dialect!(conn, |c| apps::table
        .left_join(channels::table.on(channels::app_id.eq(apps::id).and(channels::channel.eq(channel.as_str()))))
        .filter(apps::id.eq(app.as_str()))
        .select((apps::epoch, (channels::epoch, channels::serial, channels::swept).nullable()))
        .first::<(String, Option<(String, i64, i64)>)>(c)
        .await
        .optional())?;
    Ok(row.map(|(app_epoch, channel)| match channel {
        Some((epoch, head, swept)) => {
            Found { head: Head { epoch: Epoch::new(&epoch), serial: Serial(serial(head)) }, swept: serial(swept) }
        }
        None => Found { head: Head { epoch: Epoch::new(&app_epoch), serial: Serial(0) }, swept: 0 },
    }))
}
