//! Intake: reads a request's body whole, within `BodyMemory` and the call's size limit.

use crate::proxy::downstream::session::{BodyError, Session};
use crate::proxy::error::GatewayError;
use crate::proxy::exchange::Exchange;
use crate::proxy::limits::gate;
use crate::proxy::limits::in_flight::InFlight;
use crate::telemetry::metrics::Metrics;
use bytes::Bytes;
use futures_util::FutureExt;
use std::pin::pin;
use std::time::Instant;

/// Reads a body of at most `max_bytes`, reserving what is long of it. Ends early when the gateway shuts down.
pub(crate) async fn intake(
    session: &mut Session<'_>,
    exchange: &mut Exchange<'_>,
    in_flight: &InFlight,
    metrics: &Metrics,
    max_bytes: u64,
) -> Result<Bytes, GatewayError> {
    let reservation = &mut exchange.body_memory;
    let fits = |bytes| reservation.grow_to(bytes);
    let refused = |why| refusal(why, metrics, max_bytes);
    let mut body = pin!(session.body(max_bytes, fits));
    // Fast path: the body has arrived with its head.
    if let Some(body) = (&mut body).now_or_never() {
        return body.map_err(refused);
    }
    let begun = Instant::now();
    let body = tokio::select! {
        biased;
        body = body => body.map_err(refused),
        () = in_flight.is_cut() => Err(GatewayError::Ended("The gateway is shutting down")),
    };
    exchange.timing.waited += begun.elapsed();
    body
}

fn refusal(why: BodyError, metrics: &Metrics, max_bytes: u64) -> GatewayError {
    match why {
        BodyError::Gone => GatewayError::ClientGone,
        BodyError::TooSlow => GatewayError::BodyTimeout,
        BodyError::TooLong => GatewayError::BodyTooLarge { max_bytes },
        BodyError::Unframed => GatewayError::BadRequest("The body's framing is wrong".to_owned()),
        BodyError::NoMemory => gate::no_memory(metrics),
    }
}
