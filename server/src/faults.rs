//! `POST /test/faults` on the operations listener: faults on purpose, and where they may be made.

use std::net::SocketAddr;

use actix_web::{
    HttpResponse, post,
    web::{Bytes, Data},
};
use fanfare_gateway::{Fault, Faults};
use fanfare_protocol::{ErrorCode, errors::Problem as WireProblem};

use crate::{config::Config, problem::Problem};

/// Refuses a server whose faults others could make, or that others could be hurt by.
///
/// # Errors
/// A listener can be reached from other machines.
pub fn require_loopback(config: &Config) -> Result<(), Problem> {
    let listeners: [(&str, Option<SocketAddr>); 3] = [
        ("`listen` (FANFARE_LISTEN)", Some(config.listen)),
        ("`ops_listen` (FANFARE_OPS_LISTEN)", Some(config.ops_listen)),
        ("`redirect_listen` (FANFARE_REDIRECT_LISTEN)", config.redirect_listen),
    ];
    for (name, address) in listeners {
        if let Some(address) = address.filter(|address| !address.ip().is_loopback()) {
            return Err(Problem::new(
                format!("--faults is for tests on one machine, but {name} is {address}, which others can reach"),
                "Listen on loopback, as on 127.0.0.1, or leave out --faults.",
            ));
        }
    }
    Ok(())
}

/// Makes a fault, or arms it.
#[post("/test/faults")]
pub async fn make(faults: Data<Faults>, body: Bytes) -> HttpResponse {
    match serde_json::from_slice::<Fault>(&body) {
        Ok(fault) => {
            tracing::info!(?fault, "A fault was made on purpose");
            faults.make(fault);
            HttpResponse::NoContent().finish()
        }
        Err(error) => {
            let why = format!("this is no fault: {error}");
            let problem = WireProblem::new(ErrorCode::InvalidBody, &why);
            HttpResponse::UnprocessableEntity().content_type("application/problem+json").body(problem.to_json())
        }
    }
}
