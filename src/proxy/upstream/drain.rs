//! Drain: reads on an answer whose client has left, for at most `upstream.drain`, so that the provider's
//! usage gives the exact charge.

use super::lifetime::Lifetime;
use crate::proxy::downstream::reply;
use crate::proxy::downstream::session::Session;
use crate::proxy::error::GatewayError;
use crate::proxy::exchange::Admitted;

/// Sends the error to the client at once, then starts the drain ([`Lifetime::drain`]).
pub(crate) async fn refuse_and_drain(
    session: &mut Session<'_>,
    call: &mut Admitted<'_, '_>,
    error: GatewayError,
    lifetime: &mut Lifetime<'_>,
) {
    call.note(&error);
    call.outcome.is_committed = true;
    session.close_after();
    // Ignored: a failed write means that the client has disconnected.
    let _ = reply::refuse(session, call.reply, error).await;
    lifetime.drain();
}
