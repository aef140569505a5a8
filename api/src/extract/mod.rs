//! Extractors: who is calling, what they may reach, and the bodies they send, read in that order.

use std::{future::Future, pin::Pin};

use actix_web::{Error, FromRequest, HttpRequest, dev::Payload};

mod allowed;
mod bodies;
mod callers;
mod json;
mod queries;
mod sessions;

pub(crate) use allowed::{Allowed, ManageApps, ManageKeys, ManageRules, ManageTenant, View};
pub(crate) use bodies::{Body, Text, Valid, collect};
pub(crate) use callers::{Caller, OnChannel, named_credential};
pub(crate) use json::{Unreadable, escape, parse};
pub(crate) use queries::Query;
pub(crate) use sessions::{SESSION_COOKIES, SignedIn, Stranger, set_cookie, take_cookie};

/// What an extractor's future looks like.
pub(crate) type Extracting<T> = Pin<Box<dyn Future<Output = Result<T, Error>>>>;

/// Extracts one thing and then another: the body of a caller who is not allowed is never read.
pub(crate) struct Then<A, B>(pub A, pub B);

impl<A, B> FromRequest for Then<A, B>
where
    A: FromRequest + 'static,
    B: FromRequest + 'static,
{
    type Error = Error;
    type Future = Extracting<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (request, mut payload) = (request.clone(), payload.take());
        Box::pin(async move {
            let first = A::from_request(&request, &mut payload).await.map_err(Into::into)?;
            let second = B::from_request(&request, &mut payload).await.map_err(Into::into)?;
            Ok(Then(first, second))
        })
    }
}
