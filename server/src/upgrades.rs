//! The direct way to the wire: sockets are taken out of the HTTP server once their handshake is answered.
//!
//! A handshake goes through the same routes as every request. If they opened a socket, the gateway gets the stream, and the HTTP server
//! forgets the connection; if not, their answer is sent and the connection ends.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use actix_codec::{Encoder, Framed};
use actix_http::{
    ConnectionType, HttpMessage, Request, Response,
    body::{BodySize, BoxBody, MessageBody},
    error::PayloadError,
    h1::{Codec, Message, SendResponse},
};
use actix_service::{Service, ServiceFactory, fn_factory, fn_service};
use actix_web::{HttpResponse, dev::ServiceResponse};
use bytes::Bytes;
use fanfare_gateway::Handover;
use tokio::io::AsyncWriteExt;
use tracing::debug;

use crate::{lingering::Lingering, public::Wire};

/// A request that asks for a WebSocket, and the connection that it came on.
type Upgrade = (Request, Framed<Wire, Codec>);

/// Serves the requests that ask for a WebSocket, by the routes that serve all others.
pub fn upgrades<F, B>(
    routes: F,
) -> impl ServiceFactory<Upgrade, Config = (), Response = (), Error = Infallible, InitError = F::InitError>
where
    F: ServiceFactory<Request, Config = (), Response = ServiceResponse<B>, Error = HttpResponse>,
    B: MessageBody + 'static,
{
    fn_factory(move || {
        let routes = routes.new_service(());
        async move {
            let routes = Rc::new(routes.await?);
            Ok(fn_service(move |(request, connection): Upgrade| {
                let routes = Rc::clone(&routes);
                async move {
                    let handover = Handover::default();
                    request.extensions_mut().insert(handover.clone());
                    let answer = match routes.call(request).await {
                        Ok(answer) => HttpResponse::from(answer.map_into_boxed_body()),
                        Err(error) => error,
                    };
                    answer_with(answer.into(), &handover, connection).await;
                    Ok(())
                }
            }))
        }
    })
}

/// Sends the answer to a handshake, or leaves that to the socket that it opened.
async fn answer_with(mut answer: Response<BoxBody>, handover: &Handover, connection: Framed<Wire, Codec>) {
    if let Some(upgraded) = handover.take() {
        let head = Message::Item((answer.drop_body(), BodySize::Stream));
        let mut parts = connection.into_parts();
        if let Err(error) = parts.codec.encode(head, &mut parts.write_buf) {
            debug!(%error, "The answer to a handshake could not be written");
            return;
        }
        // A socket's silence is watched over by its heartbeat.
        let stream = Lingering::new(parts.io.into_inner().into_inner());
        upgraded.go_on(stream, &parts.read_buf, parts.write_buf.freeze());
        return;
    }
    // What comes after a handshake that was refused is no HTTP any more.
    answer.head_mut().set_connection_type(ConnectionType::Close);
    match SendResponse::new(connection, answer.map_body(|_, body| Body(body))).await {
        // A peer that does not take the end of it is left.
        Ok(connection) => drop(connection.into_parts().io.shutdown().await),
        Err(error) => debug!(%error, "The answer to a refused handshake could not be written"),
    }
}

/// A body whose errors the HTTP library can take.
struct Body(BoxBody);

impl MessageBody for Body {
    type Error = PayloadError;

    fn size(&self) -> BodySize {
        self.0.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>> {
        let next = ready!(self.0.as_pin_mut().poll_next(context));
        Poll::Ready(next.map(|part| part.map_err(|error| PayloadError::Io(io::Error::other(error.to_string())))))
    }
}
