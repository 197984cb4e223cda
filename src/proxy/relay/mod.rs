//! Relay: passes a provider's answer on, past its meter, and settles before its last byte is out.
//!
//! A stream is passed on chunk by chunk as it arrives ([`stream`]). A plain answer is read whole and settled
//! first ([`plain`]), so that its `x-resullm-tokens-left` includes its own charge.

pub mod backlog;
pub mod head;
pub mod next;
pub mod plain;
pub mod request;
pub mod stream;

use crate::dialect::Meter;
use crate::dialect::call::Reading;
use crate::proxy::downstream::session::Session;
use crate::proxy::error::GatewayError;
use crate::proxy::exchange::Admitted;
use crate::proxy::upstream::client::ProviderAnswer;
use crate::proxy::upstream::lifetime::Lifetime;
use request::{Relay, RelayedCall};

/// Relays an [`ProviderAnswer`] to its end: as a stream if it is one and succeeded, else whole.
pub(crate) async fn relay(
    relay: &Relay<'_>,
    session: &mut Session<'_>,
    call: &mut Admitted<'_, '_>,
    answer: ProviderAnswer<'_>,
    asked: &RelayedCall<'_>,
    lifetime: &mut Lifetime<'_>,
) -> Result<(), GatewayError> {
    call.outcome.retry_after = head::retry_after(&answer);
    head::check(call.reply.endpoint(), &answer).inspect_err(|_| call.bill.set_accepted(false))?;
    let is_success = answer.head.status.is_success();
    let meter: Box<dyn Meter> = match head::is_event_stream(&answer) {
        true if is_success => {
            let native = asked.dialect.stream(asked.call);
            match asked.translation {
                Some(translation) => translation.stream(native),
                None => native,
            }
        }
        // Speech is priced by the request, so its bytes are not metered.
        _ if is_success && asked.dialect.answers_with_sound() => Box::new(Unmetered::default()),
        _ => return plain::relay(relay, session, call, answer, asked, lifetime).await,
    };
    stream::relay(relay, session, call, answer, asked, meter, lifetime).await
}

/// [`Meter`] of an answer whose cost is known from the request (speech): bytes pass unchanged, and the end of
/// the body completes it.
#[derive(Default)]
struct Unmetered(Reading);

impl Meter for Unmetered {
    fn feed(&mut self, bytes: &[u8]) -> Vec<u8> {
        bytes.to_vec()
    }

    fn finish(&mut self) -> Vec<u8> {
        self.0.complete = true;
        Vec::new()
    }

    fn reading(&self) -> &Reading {
        &self.0
    }
}
