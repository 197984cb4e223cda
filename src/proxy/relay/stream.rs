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
use crate::proxy::downstream::connection::Gone;
use crate::proxy::downstream::reply;
use crate::proxy::downstream::session::Session;
use crate::proxy::error::GatewayError;
use crate::proxy::exchange::Admitted;
use crate::proxy::limits::gate;
use crate::proxy::outcome::ProviderFault;
use crate::proxy::settlement::settle::TEXT_COPIES;
use crate::proxy::upstream::client::ProviderAnswer;
use crate::proxy::upstream::lifetime::Lifetime;
use http::StatusCode;
use std::pin::pin;
use std::time::{Duration, Instant};

/// Time for which writing to one client may keep other calls waiting for the same answer, in all.
const SLOWEST_READER: Duration = Duration::from_secs(5);
/// Interval at which a write is checked for those who wait.
const PATIENCE_STEP: Duration = Duration::from_secs(1);
/// Most bytes that are withheld while a stream has no content.
const MAX_WITHHELD_BYTES: usize = 64 << 10;

/// Stream that is being relayed.
struct Stream<'s, 'a> {
    relay: &'s Relay<'s>,
    asked: &'s RelayedCall<'s>,
    answer: ProviderAnswer<'a>,
    meter: Box<dyn Meter>,
    is_event_stream: bool,
    /// Bytes that are passed on with the first content. `Some` as long as another attempt may follow.
    withheld: Option<Vec<u8>>,
    /// Events as they came, for the cache. `None`: they are not to be kept.
    tapped: Option<Vec<u8>>,
    has_told_cost: bool,
    /// Time for which writing has kept other calls waiting.
    kept_waiting: Duration,
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
        withheld: asked.next.may_begin(false).then(Vec::new),
        tapped: asked.tap.map(|_| Vec::new()),
        has_told_cost: false,
        kept_waiting: Duration::ZERO,
    };
    if stream.withheld.is_some() {
        lifetime.watch_silence();
    } else if !lifetime.is_draining() {
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
    /// Writes the head, unless a keep-alive has begun the stream already, and flushes it at once if no byte of the body
    /// has arrived yet.
    async fn begin(
        &mut self,
        session: &mut Session<'_>,
        call: &mut Admitted<'_, '_>,
        lifetime: &mut Lifetime<'_>,
    ) -> Result<(), GatewayError> {
        if self.withheld.is_none() {
            call.outcome.is_committed = true;
        }
        if session.answered().is_some() {
            return Ok(());
        }
        head::begin(session, call.reply, &self.answer, self.asked.credentials);
        head::write_stream_headers(session);
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
                let content = self.answer.content.split();
                let bytes = self.meter.feed(&content);
                // The cache has the provider's own events, or those that they were translated to.
                match self.asked.translation {
                    Some(_) => self.tap(call, &bytes),
                    None => self.tap(call, &content),
                }
                (bytes, false)
            }
            // The answer is complete, but the provider does not end its body: end it here.
            Ok(Next::Silence) if is_complete => (Vec::new(), true),
            Ok(Next::Silence) if self.withheld.is_some() => {
                return self.keep_waiting(session, call, lifetime).await;
            }
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
        if self.withheld.is_some() && self.may_fail(lifetime) && error.is_providers() {
            call.bill.observe(self.meter.reading());
            return Err(error);
        }
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

    /// Puts a comment with the cost before the last events of a stream, if the client wants it: the head is gone already.
    fn with_cost(&mut self, call: &Admitted<'_, '_>, bytes: Vec<u8>, is_complete: bool) -> Vec<u8> {
        if !is_complete || !self.is_event_stream || !call.reply.wants_cost || self.has_told_cost {
            return bytes;
        }
        self.has_told_cost = true;
        let mut told = format!(": x-resullm-cost: {}\n\n", call.bill.cost_line()).into_bytes();
        told.extend(bytes);
        told
    }

    /// Copies the bytes that have just arrived for the cache, while they are few enough.
    fn tap(&mut self, call: &mut Admitted<'_, '_>, bytes: &[u8]) {
        let (Some(tap), Some(tapped)) = (self.asked.tap, &mut self.tapped) else {
            return;
        };
        let length = tapped.len() + bytes.len();
        let others = self.meter.withheld() + self.withheld.as_ref().map_or(0, Vec::len);
        let fits = length <= tap.most_stream_bytes();
        if fits && call.body_memory.grow_to_spare(length + others) {
            tapped.extend_from_slice(bytes);
        } else {
            self.tapped = None;
            tap.give_up();
        }
    }

    /// Offers the answer to the cache, once, after it has ended well.
    fn offer(&mut self, call: &Admitted<'_, '_>) {
        let reading = self.meter.reading();
        let is_well =
            self.answer.head.status == StatusCode::OK && !reading.failed && !reading.overran;
        if let (Some(tap), Some(tapped), Some(ended)) =
            (self.asked.tap, self.tapped.take(), call.bill.ended())
            && is_well
        {
            let events = self.asked.credentials.redact(&tapped).unwrap_or(tapped);
            tap.take_stream(&events, self.asked.credentials, &ended);
        }
    }

    /// Writes to the client. A client that reads too slowly is left while other calls wait for this answer.
    async fn write(
        &mut self,
        session: &mut Session<'_>,
        call: &Admitted<'_, '_>,
        bytes: Vec<u8>,
        is_whole: bool,
    ) -> Result<(), Gone> {
        let mut written = pin!(session.stream(bytes.into(), is_whole));
        if self.tapped.is_none() {
            return written.await;
        }
        loop {
            let begun = Instant::now();
            let done = tokio::time::timeout(PATIENCE_STEP, written.as_mut()).await;
            if call.bill.is_awaited() {
                self.kept_waiting += begun.elapsed();
            }
            match done {
                Ok(written) => return written,
                Err(_) if self.kept_waiting > SLOWEST_READER => return Err(Gone),
                Err(_) => {}
            }
        }
    }

    /// Whether the present attempt may be given up for another one.
    fn may_fail(&self, lifetime: &Lifetime<'_>) -> bool {
        self.asked.next.may_begin(false) && !lifetime.is_draining()
    }

    /// Sends a keep-alive in a stream that has no content yet. Another attempt may still follow, in the same stream.
    async fn keep_waiting(
        &mut self,
        session: &mut Session<'_>,
        call: &mut Admitted<'_, '_>,
        lifetime: &mut Lifetime<'_>,
    ) -> Result<Step, GatewayError> {
        let keep_alive = self.keep_alive();
        if keep_alive.is_empty() {
            return Ok(Step::Continue);
        }
        self.begin(session, call, lifetime).await?;
        match session.stream(keep_alive.into(), false).await {
            Ok(()) => Ok(Step::Continue),
            Err(_) => self.lose_client(call, lifetime).await,
        }
    }

    /// Withholds a chunk while the stream has no content. Returns all that is to be passed on now; fails if the stream
    /// has ended, or is malformed, before its first content.
    async fn withhold(
        &mut self,
        session: &mut Session<'_>,
        call: &mut Admitted<'_, '_>,
        lifetime: &mut Lifetime<'_>,
        chunk: Vec<u8>,
        is_last: bool,
    ) -> Result<Option<Vec<u8>>, GatewayError> {
        let Some(mut withheld) = self.withheld.take() else {
            return Ok(Some(chunk));
        };
        withheld.extend(chunk);
        if self.may_fail(lifetime)
            && let Some(error) = self.failure_before_content(call.reply.endpoint(), is_last)
        {
            self.withheld = Some(withheld);
            return Err(error);
        }
        let reading = self.meter.reading();
        let has_content = match self.is_event_stream {
            true => !reading.delivered.is_empty() || reading.delivered.unsure > 0,
            false => !withheld.is_empty(),
        };
        let is_over = is_last || reading.complete || reading.overran;
        if !has_content && !is_over && withheld.len() <= MAX_WITHHELD_BYTES {
            self.withheld = Some(withheld);
            return Ok(None);
        }
        if !lifetime.is_draining() {
            // The request will not be sent again.
            call.body_memory.release();
            self.begin(session, call, lifetime).await?;
        }
        Ok(Some(withheld))
    }

    /// Failure of a stream that has had no content: an error, an event that cannot be read, an early end.
    fn failure_before_content(&self, endpoint: &str, is_last: bool) -> Option<GatewayError> {
        let reading = self.meter.reading();
        let failed = |fault, what| {
            let why = format!("{endpoint} {what} before any content");
            Some(GatewayError::ProviderFailed(fault, why))
        };
        if reading.delivered.is_malformed {
            return failed(ProviderFault::Invalid, "sent an event that cannot be read");
        }
        if !reading.delivered.is_empty() || reading.delivered.unsure > 0 {
            return None;
        }
        match () {
            () if reading.failed => failed(ProviderFault::Invalid, "reported an error"),
            () if reading.overran => failed(ProviderFault::Excess, "sent an event without end"),
            () if is_last && !reading.complete => failed(ProviderFault::Broken, "ended its stream"),
            () => None,
        }
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
        let Some(bytes) = self
            .withhold(session, call, lifetime, bytes, chunk.is_last)
            .await?
        else {
            return match self.reason_to_abort(call) {
                Some(error) => Err(error),
                None => Ok(Step::Continue),
            };
        };
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
            self.offer(call);
        } else if is_over {
            call.bill.broke_off(self.meter.reading());
            self.relay.settlement.settle(call).await;
        }
        if lifetime.is_draining() {
            if is_over || call.bill.is_accounted_for() {
                call.bill.conclude(self.meter.reading());
                self.relay.settlement.settle(call).await;
                self.offer(call);
                return Err(GatewayError::ClientGone);
            }
            return Ok(Step::Continue);
        }
        let bytes = self.with_cost(call, bytes, is_complete);
        let is_whole = is_over && is_complete;
        if !bytes.is_empty() {
            lifetime.break_silence();
        }
        if self.write(session, call, bytes, is_whole).await.is_err() {
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
        let buffers = [&self.withheld, &self.tapped].into_iter().flatten();
        let withheld = self.meter.withheld() + buffers.map(Vec::len).sum::<usize>();
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
        if session.answered().is_none() {
            return Err(error);
        }
        call.outcome.is_committed = true;
        call.note(&error);
        if !self.is_event_stream {
            // Sound has no error events. Without a clean end the client sees it as truncated.
            return Err(GatewayError::BrokenOff);
        }
        let written = reply::break_off(session, call.reply, &error).await;
        written.map_err(|_| GatewayError::ClientGone)
    }

    /// Returns the keep-alive of a silent stream. Sound has none.
    fn keep_alive(&self) -> &'static [u8] {
        match self.is_event_stream {
            true => keep_alive(self.asked.api),
            false => b"",
        }
    }
}

/// Returns the keep-alive of a silent stream of events: a comment (OpenAI), a `ping` event (Anthropic), or an empty line
/// (Gemini, whose SDKs take a comment for content).
pub(crate) fn keep_alive(api: Api) -> &'static [u8] {
    match api {
        Api::OpenAi => b": keep-alive\n\n",
        Api::Gemini => b"\n\n",
        Api::Anthropic => b"event: ping\ndata: {\"type\": \"ping\"}\n\n",
    }
}
