//! Waits for the next bytes of an answer, or for an event that ends the call first.

use crate::proxy::downstream::session::Session;
use crate::proxy::error::GatewayError;
use crate::proxy::exchange::Admitted;
use crate::proxy::upstream::client::ProviderAnswer;
use crate::proxy::upstream::lifetime::Lifetime;
use std::future::poll_fn;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

/// Event of an answer that is being relayed.
pub enum Next {
    /// More bytes are in [`ProviderAnswer::content`].
    Bytes,
    End,
    /// A keep-alive is due ([`Lifetime::takes_keep_alive`]).
    Silence,
}

/// Waits for more of the answer. Fails when the hold ends, the gateway shuts down, the provider breaks off or
/// times out, or the client has left and nothing more need be read ([`GatewayError::ClientGone`]).
pub(crate) async fn next(
    session: &mut Session<'_>,
    answer: &mut ProviderAnswer<'_>,
    lifetime: &mut Lifetime<'_>,
    call: &mut Admitted<'_, '_>,
) -> Result<Next, GatewayError> {
    let mut begun = None;
    let next = poll_fn(|cx| {
        if let Poll::Ready(ended) = lifetime.poll_ended(cx, call.bill) {
            return Poll::Ready(Err(ended));
        }
        if let Poll::Ready(more) = answer.poll_more(cx) {
            let more = more.map_err(GatewayError::from);
            return Poll::Ready(more.map(|more| if more { Next::Bytes } else { Next::End }));
        }
        if lifetime.takes_keep_alive() {
            return Poll::Ready(Ok(Next::Silence));
        }
        begun.get_or_insert_with(Instant::now);
        ready!(lifetime.poll_abandoned(cx, call.bill, session));
        Poll::Ready(Err(GatewayError::ClientGone))
    })
    .await;
    call.timing.waited += begun.map_or(Duration::ZERO, |begun| begun.elapsed());
    next
}
