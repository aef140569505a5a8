//! The public listener: the gateway, the API and the pages on one port, or those of them that the role has.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use actix_http::{HttpService, KeepAlive, Protocol, Request, body::MessageBody, error::DispatchError};
use actix_service::{IntoServiceFactory, Service, ServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::{
    App, Error, HttpRequest, HttpResponse,
    dev::{AppConfig, Server, ServiceResponse},
    middleware::from_fn,
    rt::net::TcpStream,
    web::{self, ServiceConfig},
};
use fanfare_api::Services;
use fanfare_gateway::Gateway;
use fanfare_protocol::{ErrorCode, errors::Problem};

use crate::{
    arrivals::Arrivals,
    config::{Config, WireKind},
    idling::Idling,
    lingering::Lingering,
    tls::{Stream, Tls},
    upgrades::upgrades,
};

/// How long an idle HTTP connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How much longer nothing may move on any connection than what is known to be idle may last.
const MARGIN: Duration = Duration::from_secs(15);
/// How long requests that are being answered may take once the process is asked to end, in seconds.
const FINISH_S: u64 = 1;
/// Connections that one thread may hold; the limit of open files is the one that counts.
const MANY: usize = 1 << 20;

/// Serves the gateway and the API on a listener, or one of them.
///
/// # Errors
/// The listener cannot be served.
pub fn serve(
    gateway: Option<Gateway>,
    services: Option<Services>,
    listener: TcpListener,
    config: &Config,
    tls: Option<Tls>,
    arrivals: &Arrivals,
) -> io::Result<Server> {
    let heartbeat = &config.gateway.connection;
    let pusher = &config.gateway.pusher;
    let silence = heartbeat.ping_interval + heartbeat.pong_timeout;
    let idle = KEEP_ALIVE.max(silence).max(pusher.activity_timeout + pusher.pong_timeout) + MARGIN;
    let builder = Server::build();
    let signal = builder.graceful_shutdown_signal();
    let arrivals = arrivals.clone();
    let wire = config.wire;
    let http = move || {
        let tls = tls.clone();
        let gateway = gateway.as_ref().map(Gateway::routes);
        let app = || routes(gateway.clone(), services.clone(), arrivals.clone());
        let direct = (wire == WireKind::Direct).then(|| upgrades(app()));
        let signal = signal.clone();
        let http = HttpService::build()
            .graceful_shutdown_signal(move || {
                let signal = signal.clone();
                async move { signal.notified().await }
            })
            .keep_alive(KeepAlive::Timeout(KEEP_ALIVE))
            // A client that has ended its side is gone: a stream or a waiting poll of its ends at once, and gives its place back.
            .h1_allow_half_closed(false)
            // Connections linger by themselves, with their end told.
            .client_disconnect_timeout(Duration::ZERO)
            .finish(app())
            .upgrade(direct);
        fn_service(move |connection: TcpStream| begin(connection, tls.clone(), idle)).and_then(http)
    };
    let server = builder
        .workers(config.worker_threads())
        .max_concurrent_connections(MANY)
        .shutdown_timeout(FINISH_S)
        .disable_signals()
        .listen("public", listener, http)?
        .run();
    Ok(server)
}

/// Everything that is served on a thread.
fn routes(
    gateway: Option<impl Fn(&mut ServiceConfig)>,
    services: Option<Services>,
    arrivals: Arrivals,
) -> impl ServiceFactory<
    Request,
    Config = (),
    Response = ServiceResponse<impl MessageBody>,
    Error = HttpResponse,
    InitError = (),
> {
    let mut app = App::new().wrap(from_fn(fanfare_api::observe)).wrap_fn(move |request, inner| {
        arrivals.note(&request);
        let arrivals = arrivals.clone();
        let answer = inner.call(request);
        async move {
            let mut answer = answer.await?;
            arrivals.complete(&mut answer);
            Ok(answer)
        }
    });
    if let Some(gateway) = gateway {
        app = app.configure(gateway);
    }
    app = match services {
        Some(services) => app.configure(fanfare_api::routes(services)),
        None => app.default_service(web::to(not_here)),
    };
    map_config(app.into_factory().map_err(|error: Error| error.error_response()), |()| AppConfig::default())
}

/// A connection as the HTTP server reads and writes it.
pub type Wire = Lingering<Idling<Stream>>;

/// Makes an accepted connection ready for HTTP; one whose handshake came to nothing is counted and over.
async fn begin(
    connection: TcpStream,
    tls: Option<Tls>,
    idle: Duration,
) -> Result<(Wire, Protocol, Option<SocketAddr>), DispatchError> {
    let peer = connection.peer_addr().ok();
    fanfare_gateway::tune(&connection);
    let no_handshake = || DispatchError::Io(io::ErrorKind::ConnectionAborted.into());
    let (stream, protocol) = match tls {
        Some(tls) => tls.accept(connection).await.ok_or_else(no_handshake)?,
        None => (Stream::Plain(connection), Protocol::Http1),
    };
    Ok((Lingering::new(Idling::new(stream, idle)), protocol, peer))
}

/// What a process without the API answers at every address that is not the gateway's.
async fn not_here(request: HttpRequest) -> HttpResponse {
    let id = request.headers().get("x-request-id").and_then(|id| id.to_str().ok());
    let problem = Problem::new(ErrorCode::NotFound, "this process serves clients' sockets only");
    let mut answer = HttpResponse::NotFound();
    answer.content_type("application/problem+json").body(problem.of_request(id).to_json())
}
