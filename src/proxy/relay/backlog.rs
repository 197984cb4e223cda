//! Decides whether a provider can be cut off without losing count of generated tokens ([`is_drained`]).
//!
//! Output that the provider has already sent must be charged, even if the client has left or reads slowly.

use crate::dialect::Meter;
use crate::proxy::settlement::bill::Bill;
use crate::proxy::upstream::client::ProviderAnswer;
use futures_util::task::noop_waker_ref;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Silence after which nothing is in transit, for a provider that does not react to the half-close.
const SILENCE_BEFORE_CUT: Duration = Duration::from_millis(250);
/// Time after which a provider that is never silent is read to its end instead.
const MAX_WAIT_FOR_SILENCE: Duration = Duration::from_millis(500);

/// Reads what has arrived into the meter. True: nothing was generated that the meter has not seen, so the
/// provider can be cut off.
pub(crate) async fn is_drained(
    bill: &Bill,
    answer: &mut ProviderAnswer<'_>,
    meter: &mut dyn Meter,
) -> bool {
    if !bill.may_be_cut() {
        return false;
    }
    match meter_backlog(answer, meter) {
        Backlog::Ended => return true,
        // Unread bytes here mean that more waits in the socket or at the provider, and is charged by it.
        Backlog::Some => return false,
        Backlog::None => {}
    }
    read_to_cut(answer, meter).await
}

/// Half-closes the connection and reads what the provider still sends. True: it has ended or is silent.
///
/// A provider that notices stops, and closes its side after the last byte that it has generated: its end of the
/// stream proves that nothing is in transit. A silent one proves it only in practice.
pub(crate) async fn read_to_cut(answer: &mut ProviderAnswer<'_>, meter: &mut dyn Meter) -> bool {
    let begun = Instant::now();
    let half_close = poll_fn(|cx| answer.poll_half_close(cx));
    // A timeout is ignored: silence decides then.
    let _ = tokio::time::timeout(SILENCE_BEFORE_CUT, half_close).await;
    while begun.elapsed() < MAX_WAIT_FOR_SILENCE {
        let more = poll_fn(|cx| answer.poll_more(cx));
        let Ok(more) = tokio::time::timeout(SILENCE_BEFORE_CUT, more).await else {
            return true;
        };
        meter.feed(&answer.content);
        answer.content.clear();
        if !matches!(more, Ok(true)) {
            return true;
        }
    }
    false
}

/// Result of [`meter_backlog`]: whether bytes of the answer had arrived unread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backlog {
    None,
    /// Unread bytes: the gateway was slower than its provider.
    Some,
    /// The answer is over.
    Ended,
}

/// Feeds the [`Meter`] all bytes that have arrived, without waiting for more.
pub(crate) fn meter_backlog(answer: &mut ProviderAnswer<'_>, meter: &mut dyn Meter) -> Backlog {
    let mut cx = Context::from_waker(noop_waker_ref());
    let mut backlog = Backlog::None;
    loop {
        let polled = answer.poll_more(&mut cx);
        meter.feed(&answer.content);
        answer.content.clear();
        match polled {
            Poll::Ready(Ok(true)) => backlog = Backlog::Some,
            Poll::Ready(_) => return Backlog::Ended,
            Poll::Pending => return backlog,
        }
    }
}
