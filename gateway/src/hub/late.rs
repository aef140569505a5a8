//! A part that few of its kind ever use.

use std::{cell::OnceCell, ops::Deref};

/// A part that is made when it is first used, and is one pointer until then: an idle channel is to cost little.
#[derive(Default)]
pub(super) struct Late<T>(OnceCell<Box<T>>);

impl<T> Late<T> {
    /// The part, if it was used.
    pub(super) fn if_used(&self) -> Option<&T> {
        self.0.get().map(|part| &**part)
    }
}

impl<T: Default> Deref for Late<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.get_or_init(Box::default)
    }
}
