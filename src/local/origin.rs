//! CSRF protection for requests that change state without a key or token: checks the `Origin` header.
//!
//! A browser sends a simple POST to any site without a preflight. Without this check, any web page could make
//! its visitors mint keys at `/auth/anonymous`.

use super::Request;
use super::answer::Refusal;
use crate::rules::config::Cors;
use crate::rules::origin::WebOrigin;
use crate::settings::Server;
use http::header;

/// Accepts requests without `Origin` (not from a page), from the gateway's own origin, and from the tenant's
/// `cors.origins`; others get 403.
pub fn check(request: &Request<'_>, server: &Server, cors: Option<&Cors>) -> Result<(), Refusal> {
    let mut origins = request.headers.get_all(header::ORIGIN).iter();
    let Some(text) = origins.next() else {
        return Ok(());
    };
    let origin = text.to_str().ok().and_then(WebOrigin::parse);
    let own = server.public_url.as_ref();
    let own = own.and_then(|url| WebOrigin::parse(&url.origin));
    let is_welcome = |origin: &WebOrigin| {
        request
            .asked
            .as_ref()
            .is_some_and(|asked| origin.is_of(asked))
            || own.as_ref() == Some(origin)
            || cors.is_some_and(|cors| cors.allows(origin))
    };
    let is_any = cors.is_some_and(Cors::is_any);
    if origins.next().is_none() && (is_any || origin.as_ref().is_some_and(is_welcome)) {
        return Ok(());
    }
    let why = "A page of this origin may not do that: it is not in the tenant's cors.origins";
    Err(Refusal::Forbidden(why.to_owned()))
}
