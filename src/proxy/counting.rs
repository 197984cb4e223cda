//! Counts the tokens of a prompt for an endpoint whose API has no such call: the gateway answers itself, for nothing.

use crate::dialect::translate;
use crate::proxy::admission::estimate::Estimate;
use crate::proxy::admission::token_counter::{INLINE_BYTES, TokenCounter};
use crate::proxy::downstream::session::Session;
use crate::proxy::error::GatewayError;
use crate::proxy::exchange::Admitted;
use crate::proxy::settlement::settle::Settlement;
use http::StatusCode;

/// Answers a call that [`Estimate::is_counted_here`]. A long prompt is counted on the counting thread.
pub(crate) async fn answer(
    counter: &TokenCounter,
    settlement: &Settlement,
    session: &mut Session<'_>,
    call: &mut Admitted<'_, '_>,
    estimate: &Estimate<'_>,
) -> Result<(), GatewayError> {
    let (dialect, prompt) = (estimate.dialect, estimate.body.clone());
    let is_short = prompt.len() <= INLINE_BYTES;
    let count = move || translate::count(dialect, &prompt);
    let counted = match is_short {
        true => count(),
        false => {
            let counted = counter.run(call.tenant.as_str(), count).await;
            counted.ok_or(GatewayError::Overloaded)?
        }
    };
    let body = counted.ok_or(GatewayError::UnknownCall)?;
    let reading = dialect.meter(&estimate.call, body.as_bytes());
    call.bill.conclude(&reading);
    if let Some(left) = settlement.settle(call).await {
        call.reply.set_balance(left);
    }
    call.reply.set_cost(|| call.bill.cost_line());
    call.outcome.is_committed = true;
    session.begin_head(StatusCode::OK);
    // Cannot fail: the value is a valid header line.
    let _ = session.header("content-type", b"application/json");
    call.reply.write_headers(session);
    let written = session.whole(body.into()).await;
    written.map_err(|_| GatewayError::ClientGone)
}
