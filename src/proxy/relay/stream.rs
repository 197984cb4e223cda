//! A streamed answer: each chunk is metered, redacted and passed on as it arrives.
//!
//! The hold is settled before the stream's last chunk leaves. A client that leaves is drained for, a provider
//! that sends more than the hold pays for is cut off.

use super::backlog::{is_drained, meter_backlog, read_to_cut};
use super::head;
use super::next::{Next, next};
use super::request::{Relay, RelayedCall};
use crate::dialect::call::Api;
use crate::dialect::{Meter, failure};
use crate::proxy::downstream::reply;
use crate::proxy::downstream::session::Session;
use crate::proxy::error::GatewayError;
use crate::proxy::exchange::Admitted;
use crate::proxy::limits::gate;
use crate::proxy::outcome::ProviderFault;
use crate::proxy::settlement::settle::TEXT_COPIES;
use crate::proxy::upstream::client::ProviderAnswer;
use crate::proxy::upstream::lifetime::Lifetime;

/// Stream that is being relayed.
struct Stream<'s, 'a> {
    relay: &'s Relay<'s>,
    asked: &'s RelayedCall<'s>,
    answer: ProviderAnswer<'a>,
    meter: Box<dyn Meter>,
    is_event_stream: bool,
}

/// Metered bytes to pass on.
struct Chunk {
    bytes: Vec<u8>,
    is_last: bool,
}

/// Outcome of one step of a [`Stream`].
enum Step {
    Pass(Chunk),
    /// Wait for the next chunk.
    Continue,
    /// The response has ended.
    Done,
}

pub(crate) async fn relay(
    relay: &Relay<'_>,
    session: &mut Session<'_>,
    call: &mut Admitted<'_, '_>,
    answer: ProviderAnswer<'_>,
    asked: &RelayedCall<'_>,
    meter: Box<dyn Meter>,
    lifetime: &mut Lifetime<'_>,
) -> Result<(), GatewayError> {
    let mut stream = Stream {
        relay,
        asked,
        is_event_stream: head::is_event_stream(&answer),
        answer,
        meter,
    };
    if !lifetime.is_draining() {
        stream.begin(session, call, lifetime).await?;
    }
    loop {
        let mut step = stream.next_chunk(session, call, lifetime).await?;
        if let Step::Pass(chunk) = step {
            step = stream.pass(session, call, lifetime, chunk).await?;
        }
        if matches!(step, Step::Done) {
            return Ok(());
        }
    }
}

impl Stream<'_, '_> {
    /// Writes the head, and flushes it at once if no byte of the body has arrived yet.
    async fn begin(
        &mut self,
        session: &mut Session<'_>,
        call: &mut Admitted<'_, '_>,
        lifetime: &mut Lifetime<'_>,
    ) -> Result<(), GatewayError> {
        head::begin(session, call.reply, &self.answer, self.asked.credentials);
        // Cannot fail: valid header values.
        let _ = session.header("cache-control", b"no-cache, no-transform");
        let _ = session.header("x-accel-buffering", b"no");
        lifetime.watch_silence();
        if !self.answer.has_unread_body() && session.flush().await.is_err() {
            if call.bill.may_be_cut() {
                return Err(GatewayError::ClientGone);
            }
            lifetime.drain();
        }
        Ok(())
    }

    /// Waits for more of the answer and meters it.
    async fn next_chunk(
        &mut self,
        session: &mut Session<'_>,
        call: &mut Admitted<'_, '_>,
        lifetime: &mut Lifetime<'_>,
    ) -> Result<Step, GatewayError> {
        let next = next(session, &mut self.answer, lifetime, call).await;
        let is_complete = call.bill.is_complete();
        let (bytes, is_last) = match next {
            Ok(Next::Bytes) => {
                let bytes = self.meter.feed(&self.answer.content);
                self.answer.content.clear();
                (bytes, false)
            }
            // The answer is complete, but the provider does not end its body: end it here.
            Ok(Next::Silence) if is_complete => (Vec::new(), true),
            Ok(Next::Silence) => (self.keep_alive().to_vec(), false),
            Ok(Next::End) => (self.meter.finish(), true),
            // A complete answer may be closed in any way, without its last chunk too.
            Err(GatewayError::ProviderFailed(..)) if is_complete => (Vec::new(), true),
            Err(error) => return self.end_early(session, call, lifetime, error).await,
        };
        Ok(Step::Pass(Chunk { bytes, is_last }))
    }

    /// Ends a stream whose provider broke off or whose client has left, or starts its drain
    /// ([`Lifetime::drain`]).
    async fn end_early(
        &mut self,
        session: &mut Session<'_>,
        call: &mut Admitted<'_, '_>,
        lifetime: &mut Lifetime<'_>,
        error: GatewayError,
    ) -> Result<Step, GatewayError> {
        let is_draining = lifetime.is_draining();
        let is_timeout = matches!(error, GatewayError::ProviderTimeout(_));
        if is_timeout && !is_draining && !call.bill.may_be_cut() {
            self.break_off(session, call, error).await?;
            lifetime.drain();
            return Ok(Step::Continue);
        }
        let is_gone = error == GatewayError::ClientGone && !is_draining;
        if is_gone && !is_drained(call.bill, &mut self.answer, self.meter.as_mut()).await {
            lifetime.drain();
            return Ok(Step::Continue);
        }
        if is_draining && error == GatewayError::ClientGone && call.bill.may_be_cut() {
            // The drain is over and the provider still speaks: what it has on its way is charged too.
            read_to_cut(&mut self.answer, self.meter.as_mut()).await;
        }
        meter_backlog(&mut self.answer, self.meter.as_mut());
        match error {
            GatewayError::ProviderFailed(..) => {
                self.relay.metrics.truncated_streams.add(1);
                call.bill.broke_off(self.meter.reading());
            }
            _ => call.bill.conclude(self.meter.reading()),
        }
        self.relay.settlement.settle(call).await;
        if is_draining || error == GatewayError::ClientGone {
            return Err(GatewayError::ClientGone);
        }
        self.break_off(session, call, error).await?;
        Ok(Step::Done)
    }

    /// Passes a [`Chunk`] on; settles first if the answer is complete.
    async fn pass(
        &mut self,
        session: &mut Session<'_>,
        call: &mut Admitted<'_, '_>,
        lifetime: &mut Lifetime<'_>,
        chunk: Chunk,
    ) -> Result<Step, GatewayError> {
        let bytes = self.redact(chunk.bytes);
        call.bill.observe(self.meter.reading());
        self.relay.settlement.note(call.bill);
        if let Some(error) = self.reason_to_abort(call) {
            call.bill.conclude(self.meter.reading());
            self.relay.settlement.settle(call).await;
            self.break_off(session, call, error).await?;
            return Ok(Step::Done);
        }
        let is_over = chunk.is_last || self.meter.reading().overran;
        let is_complete = call.bill.is_complete();
        if is_complete {
            call.bill.conclude(self.meter.reading());
            self.relay.settlement.settle(call).await;
        } else if is_over {
            call.bill.broke_off(self.meter.reading());
            self.relay.settlement.settle(call).await;
        }
        if lifetime.is_draining() {
            if is_over || call.bill.is_accounted_for() {
                call.bill.conclude(self.meter.reading());
                self.relay.settlement.settle(call).await;
                return Err(GatewayError::ClientGone);
            }
            return Ok(Step::Continue);
        }
        let is_whole = is_over && is_complete;
        if !bytes.is_empty() {
            lifetime.break_silence();
        }
        if session.stream(bytes.into(), is_whole).await.is_err() {
            return self.lose_client(call, lifetime).await;
        }
        match is_over {
            false => Ok(Step::Continue),
            true if is_whole => Ok(Step::Done),
            true => self.end_truncated(session, call).await,
        }
    }

    /// Redacts [`RelayedCall::credentials`], and in failures [`RelayedCall::host`]. Events are passed whole, so no key is
    /// split between chunks.
    fn redact(&self, bytes: Vec<u8>) -> Vec<u8> {
        let bytes = self.asked.credentials.redact(&bytes).unwrap_or(bytes);
        if !self.meter.reading().failed {
            return bytes;
        }
        failure::redact_account_names(&bytes, self.asked.host).unwrap_or(bytes)
    }

    /// Handles a failed write to the client: cuts the provider off if [`is_drained`], else starts the drain.
    async fn lose_client(
        &mut self,
        call: &mut Admitted<'_, '_>,
        lifetime: &mut Lifetime<'_>,
    ) -> Result<Step, GatewayError> {
        if call.bill.decided().is_none()
            && !is_drained(call.bill, &mut self.answer, self.meter.as_mut()).await
        {
            lifetime.drain();
            return Ok(Step::Continue);
        }
        call.bill.conclude(self.meter.reading());
        Err(GatewayError::ClientGone)
    }

    /// Handles a stream that the provider ended before its answer was complete: counts it in
    /// `truncated_streams` and breaks off.
    async fn end_truncated(
        &mut self,
        session: &mut Session<'_>,
        call: &mut Admitted<'_, '_>,
    ) -> Result<Step, GatewayError> {
        self.relay.metrics.truncated_streams.add(1);
        let endpoint = call.reply.endpoint();
        let why = format!("{endpoint} ended its stream too early");
        let error = GatewayError::ProviderFailed(ProviderFault::Broken, why);
        self.break_off(session, call, error).await?;
        Ok(Step::Done)
    }

    /// Reason for which the gateway must end the stream: memory, an event without end, output beyond the
    /// hold.
    fn reason_to_abort(&mut self, call: &mut Admitted<'_, '_>) -> Option<GatewayError> {
        let withheld = self.meter.withheld();
        if !call.body_memory.grow_to(withheld) {
            return Some(gate::no_memory(self.relay.metrics));
        }
        let kept = self.meter.reading().delivered.kept.len();
        if !call.body_memory.grow_to(withheld + TEXT_COPIES * kept) {
            self.meter.drop_kept_text();
        }
        let endpoint = call.reply.endpoint();
        if self.meter.reading().overran && !call.bill.is_complete() {
            let why = format!("{endpoint} sends an event without end");
            return Some(GatewayError::ProviderFailed(ProviderFault::Excess, why));
        }
        let (sent, held) = call.bill.exceeds_its_hold()?;
        let why = format!(
            "{endpoint} sends more than it was asked for: output worth {sent} tokens where {held} are held, so the \
             stream was cut"
        );
        Some(GatewayError::ProviderFailed(ProviderFault::Excess, why))
    }

    /// Sends an error as an event ([`reply::break_off`]), because the head has been sent already.
    async fn break_off(
        &mut self,
        session: &mut Session<'_>,
        call: &mut Admitted<'_, '_>,
        error: GatewayError,
    ) -> Result<(), GatewayError> {
        call.note(&error);
        if !self.is_event_stream {
            // Sound has no error events. Without a clean end the client sees it as truncated.
            return Err(GatewayError::BrokenOff);
        }
        let written = reply::break_off(session, call.reply, &error).await;
        written.map_err(|_| GatewayError::ClientGone)
    }

    /// Returns the keep-alive of a silent stream: a comment (OpenAI) or a `ping` event (Anthropic). Sound has
    /// none.
    fn keep_alive(&self) -> &'static [u8] {
        match self.asked.dialect.api() {
            _ if !self.is_event_stream => b"",
            Api::OpenAi => b": keep-alive\n\n",
            Api::Anthropic => b"event: ping\ndata: {\"type\": \"ping\"}\n\n",
        }
    }
}
