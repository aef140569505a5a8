//! An append to SQLite: one transaction on the one connection that writes, off the asynchronous threads.

use diesel::{prelude::*, upsert::excluded};
use fanfare_domain::history::Appended;
use fanfare_protocol::Epoch;

use super::plans::{self, ChannelHead, Known, Pending, Taken};
use crate::sql::schema::{apps, channels, messages};

/// Returns when the commit is on disk.
pub(super) fn append(conn: &mut SqliteConnection, pending: &[Pending]) -> QueryResult<Vec<Appended>> {
    conn.immediate_transaction(|conn| {
        let known = look_up(conn, pending)?;
        let plan = plans::plan(pending, known);
        for row in &plan.rows {
            diesel::insert_into(messages::table).values(row).execute(conn)?;
        }
        for ((app, channel), head) in plan.heads.iter().filter(|(_, head)| head.moved) {
            diesel::insert_into(channels::table)
                .values((
                    channels::app_id.eq(app.as_str()),
                    channels::channel.eq(channel.as_str()),
                    channels::epoch.eq(head.epoch.as_str()),
                    channels::serial.eq(head.serial),
                    channels::time.eq(head.time),
                ))
                .on_conflict((channels::app_id, channels::channel))
                .do_update()
                .set((channels::serial.eq(excluded(channels::serial)), channels::time.eq(excluded(channels::time))))
                .execute(conn)?;
        }
        Ok(plan.outcomes)
    })
}

fn look_up(conn: &mut SqliteConnection, pending: &[Pending]) -> QueryResult<Known> {
    let mut known = Known::default();
    for app in plans::apps(pending) {
        let epoch = apps::table.find(app.as_str()).select(apps::epoch).first::<String>(conn).optional()?;
        known.apps.extend(epoch.map(|epoch| (app.clone(), Epoch::new(&epoch))));
    }
    for (app, channel) in plans::channels(pending) {
        let head = channels::table
            .find((app.as_str(), channel.as_str()))
            .select((channels::epoch, channels::serial, channels::time))
            .first::<(String, i64, i64)>(conn)
            .optional()?;
        known.heads.extend(head.map(|(epoch, serial, time)| {
            ((app.clone(), channel.clone()), ChannelHead { epoch: Epoch::new(&epoch), serial, time, moved: false })
        }));
    }
    for message in pending.iter().filter(|message| message.may_be_stored()) {
        let taken = messages::table
            .filter(messages::app_id.eq(message.app.as_str()))
            .filter(messages::channel.eq(message.channel.as_str()))
            .filter(messages::id.eq(message.id.as_str()))
            .order(messages::serial.desc())
            .select((messages::serial, messages::time, messages::fingerprint))
            .first::<(i64, i64, Option<Vec<u8>>)>(conn)
            .optional()?;
        known.taken.extend(taken.map(|(serial, time, fingerprint)| {
            let place = ((message.app.clone(), message.channel.clone()), message.id.clone());
            (place, Taken { serial, time, fingerprint })
        }));
    }
    Ok(known)
}
