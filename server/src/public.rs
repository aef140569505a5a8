//! The public listener: the gateway, the API and the pages on one port.

use std::{io, net::TcpListener, time::Duration};

use crate::{compose::Node, idling::Idling, lingering::Lingering};
use actix_http::{HttpService, KeepAlive, error::DispatchError};
use actix_service::{IntoServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::{
    App, Error,
    dev::{AppConfig, Server},
    middleware::from_fn,
    rt::net::TcpStream,
};

/// How long an idle HTTP connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How much longer nothing may move on any connection than what is known to be idle may last.
const MARGIN: Duration = Duration::from_secs(15);
/// How long requests that are being answered may take once the process is asked to end, in seconds.
const FINISH_S: u64 = 1;
/// Connections that one thread may hold; the limit of open files is the one that counts.
const MANY: usize = 1 << 20;

/// Serves a node on a listener; an open socket may be silent for `silence`.
///
/// # Errors
/// The listener cannot be served.
pub fn serve(node: &Node, listener: TcpListener, threads: usize, silence: Duration) -> io::Result<Server> {
    let (gateway, services) = (node.gateway.clone(), node.services.clone());
    let idle = KEEP_ALIVE.max(silence) + MARGIN;
    let builder = Server::build();
    let signal = builder.graceful_shutdown_signal();
    let http = move || {
        let app = App::new()
            .wrap(from_fn(fanfare_api::observe))
            .configure(gateway.routes())
            .configure(fanfare_api::routes(services.clone()));
        let app = app.into_factory().map_err(|error: Error| error.error_response());
        let signal = signal.clone();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let signal = signal.clone();
                async move { signal.notified().await }
            })
            .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
            // Connections linger by themselves, with their end told.
            .client_disconnect_timeout(Duration::ZERO)
            .h1(map_config(app, |()| AppConfig::default()));
        fn_service(move |stream: TcpStream| async move {
            let peer = stream.peer_addr().ok();
            fanfare_gateway::tune(&stream);
            Ok::<_, DispatchError>((Lingering::new(Idling::new(stream, idle)), peer))
        })
        .and_then(http)
    };
    let server = builder
        .workers(threads)
        .max_concurrent_connections(MANY)
        .shutdown_timeout(FINISH_S)
        .disable_signals()
        .listen("public", listener, http)?
        .run();
    Ok(server)
}
