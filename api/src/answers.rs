//! Answers: a body and the status it comes with.

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder, Responder, body::BoxBody, cookie::Cookie, http::StatusCode,
};
use serde::Serialize;

/// A JSON body with its status, and a cookie where a session begins.
pub(crate) struct Answer<T> {
    status: StatusCode,
    body: T,
    cookie: Option<Cookie<'static>>,
}

impl<T> Answer<T> {
    /// 200.
    pub fn ok(body: T) -> Self {
        Self::with(StatusCode::OK, body)
    }

    /// 201.
    pub fn created(body: T) -> Self {
        Self::with(StatusCode::CREATED, body)
    }

    /// Any status.
    pub fn with(status: StatusCode, body: T) -> Self {
        Self { status, body, cookie: None }
    }

    /// Sets a cookie along with it.
    pub fn cookie(self, cookie: Cookie<'static>) -> Self {
        Self { cookie: Some(cookie), ..self }
    }
}

impl<T: Serialize> Responder for Answer<T> {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        let mut answer = HttpResponseBuilder::new(self.status);
        if let Some(cookie) = self.cookie {
            answer.cookie(cookie);
        }
        answer.json(self.body)
    }
}

/// 204: it is done, and there is nothing to say.
pub(crate) struct Done;

impl Responder for Done {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        HttpResponse::NoContent().finish()
    }
}

/// 204 that takes a cookie back.
pub(crate) struct Emptied(pub Cookie<'static>);

impl Responder for Emptied {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        HttpResponse::NoContent().cookie(self.0).finish()
    }
}
