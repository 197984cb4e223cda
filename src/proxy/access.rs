//! The access log (`log.access`): one line for each public request.
//!
//! A line has the route's pattern and never the path or its query, which may hold a key.

use crate::proxy::downstream::session::Session;
use crate::proxy::exchange::Exchange;
use crate::telemetry::log::ACCESS;
use http::Method;
use log::Level;
use std::time::Duration;

/// Methods that are logged by their name; a client can invent others.
const METHODS: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// Logs a request after its answer. Nothing is formatted where the access log is off.
pub(crate) fn log(session: &Session<'_>, exchange: &Exchange<'_>, status: u16, lasted: Duration) {
    if !log::log_enabled!(target: ACCESS, Level::Info) {
        return;
    }
    let method = METHODS
        .iter()
        .find(|known| **known == session.request().method);
    let method = method.map_or("other", Method::as_str);
    let route = exchange.outcome.route.to_string();
    let millis = u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX);
    let charge = exchange.bill.as_ref().and_then(|bill| bill.decided());
    let tokens = charge.map(|charge| charge.cost.count());
    let fields = [
        ("method", method.into()),
        ("route", route.as_str().into()),
        ("status", status.into()),
        ("ms", millis.into()),
        ("tokens", tokens.unwrap_or_default().into()),
    ];
    let mut about = exchange.about();
    // That of the answer, which may be the provider's or a stream's that broke off later.
    about.status = None;
    let line = format_args!("{method} {route} {status} in {millis} ms");
    about.log(ACCESS, Level::Info, &fields, line);
}
