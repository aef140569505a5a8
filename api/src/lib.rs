//! The HTTP API: the control plane, publishing, history, tokens, and the pages that explain them.
//!
//! [`routes`] answers every path that nothing before it took, so it is configured last.

mod accounts;
mod answers;
mod apps;
mod authorize;
mod batches;
mod capabilities;
mod channels;
mod config;
mod cross_origin;
mod deliveries;
mod docs;
mod extract;
mod fallback;
mod history;
mod keys;
mod limits;
mod lists;
mod messages;
mod observe;
mod openapi;
mod origins;
mod pages;
mod passwords;
mod presence;
mod problems;
mod pusher;
mod revocations;
mod rules;
mod services;
mod signers;
mod tenants;
mod tokens;
mod webhooks;

use actix_web::{middleware::from_fn, web};

pub use config::{ApiConfig, Signup};
pub use observe::observe;
pub use openapi::openapi;
pub use services::{Ports, Services};

/// Everything the API serves, for `App::configure`; called once per worker thread, after every other service.
pub fn routes(services: Services) -> impl FnOnce(&mut web::ServiceConfig) {
    move |config| {
        let api = web::scope("")
            .app_data(web::Data::new(services))
            // Routes are tried in this order, and these are by far the most wanted.
            .configure(messages::routes)
            .configure(batches::routes)
            .configure(accounts::routes)
            .configure(tenants::routes)
            .configure(apps::routes)
            .configure(keys::routes)
            .configure(signers::routes)
            .configure(webhooks::routes)
            .configure(rules::routes)
            .configure(history::routes)
            .configure(presence::routes)
            .configure(channels::routes)
            .configure(deliveries::routes)
            .configure(tokens::routes)
            .configure(authorize::routes)
            .configure(revocations::routes)
            .configure(pusher::routes)
            .configure(docs::routes)
            .configure(pages::routes)
            .default_service(web::to(fallback::refuse))
            .wrap(from_fn(cross_origin::share))
            .wrap(from_fn(observe));
        config.service(api);
    }
}
