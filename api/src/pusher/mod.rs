//! The Pusher HTTP API, for the server libraries of Pusher: `/apps/{app_id}/…`. What it has in common with Pusher's, and what not, stands in
//! `docs/pusher.md`.

use actix_web::web::ServiceConfig;

mod attributes;
mod batches;
mod channels;
mod events;
mod refusals;
mod requests;
mod users;

pub(crate) use batches::{__path_trigger_batch, trigger_batch};
pub(crate) use channels::{__path_list_channels, __path_show_channel, list_channels, show_channel};
pub(crate) use events::{__path_trigger, trigger};
pub(crate) use refusals::{PusherError, PusherProblem};
pub(crate) use users::{__path_list_users, __path_terminate_connections, list_users, terminate_connections};

/// What every path of it begins with.
pub(crate) const PREFIX: &str = "/apps/";

pub(crate) fn routes(config: &mut ServiceConfig) {
    config
        .service(trigger)
        .service(trigger_batch)
        .service(list_channels)
        .service(show_channel)
        .service(list_users)
        .service(terminate_connections)
        .service(users::terminate_without_app);
}
