//! A call of the API, after its head and its parameters were read.
//!
//! Plain data. Parameters are the query's for `GET` and `DELETE`, and the body's for `POST`.

use crate::demo::stripe::error::StripeError;
use crate::demo::stripe::form::Form;
use crate::demo::stripe::shape::ApiShape;

pub(super) struct ApiCall<'a> {
    pub method: &'a str,
    /// Segments after `/v1/`.
    pub segments: Vec<&'a str>,
    pub form: Form,
    pub shape: ApiShape,
    /// The stand-in's own origin, for addresses in answers.
    pub origin: &'a str,
}

impl ApiCall<'_> {
    /// Error of a path or a method that is not served.
    pub(super) fn unrecognized(&self) -> StripeError {
        let path = self.segments.join("/");
        let message = format!("Unrecognized request URL ({}: /v1/{path}).", self.method);
        StripeError::invalid(message).with_status(404)
    }
}
