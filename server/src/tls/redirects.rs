//! The plain listener that only sends to the TLS one.

use std::{io, net::TcpListener};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    dev::Server,
    http::{
        Uri,
        header::{self, HeaderValue},
        uri::Authority,
    },
    web,
};

/// Connections that may wait for their request at once.
const MOST: usize = 4_096;
const HTTPS: u16 = 443;

/// Answers every request with 308 to the same address over `https`, on that port.
///
/// # Errors
/// The listener cannot be served.
pub fn redirect(listener: TcpListener, port: u16) -> io::Result<Server> {
    let app =
        move || App::new().default_service(web::to(move |request: HttpRequest| async move { answer(&request, port) }));
    let server = HttpServer::new(app).workers(1).max_connections(MOST).keep_alive(None).disable_signals();
    Ok(server.listen(listener)?.run())
}

fn answer(request: &HttpRequest, port: u16) -> HttpResponse {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let location = host.and_then(|host| location(host, request.uri(), port));
    match location {
        Some(location) => HttpResponse::PermanentRedirect().insert_header((header::LOCATION, location)).finish(),
        None => HttpResponse::BadRequest().content_type("text/plain; charset=utf-8").body("Use https://.\n"),
    }
}

fn location(host: &str, uri: &Uri, port: u16) -> Option<HeaderValue> {
    let authority: Authority = host.parse().ok()?;
    let name = authority.host();
    // A name with a user before it, or no name, is nobody's address.
    if name.is_empty() || host.contains('@') {
        return None;
    }
    let port = if port == HTTPS { String::new() } else { format!(":{port}") };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    HeaderValue::from_str(&format!("https://{name}{port}{path}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_that_was_asked_for_is_kept_and_its_port_is_not() {
        let to = |host: &str, uri: &str, port| {
            location(host, &uri.parse().unwrap(), port).map(|to| to.to_str().unwrap().to_owned())
        };
        assert_eq!(to("example.com", "/a?b=c", 443).unwrap(), "https://example.com/a?b=c");
        assert_eq!(to("example.com:80", "/", 8443).unwrap(), "https://example.com:8443/");
        assert_eq!(to("[::1]:80", "/", 443).unwrap(), "https://[::1]/");
        for bad in ["", "a b", "user@example.com", "/", ":80"] {
            assert_eq!(to(bad, "/", 443), None, "{bad}");
        }
    }
}
