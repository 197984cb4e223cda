//! Passes an answer on, past its meter, and settles before its last byte is out.
//!
//! A stream is passed on chunk by chunk as it arrives. A plain answer is read whole first, so that
//! what its client reads next, its balance included, already knows of it.

use crate::dialect::call::{Api, Call, Reading};
use crate::dialect::error::{self, Shape};
use crate::dialect::{self, Dialect, Meter, failure};
use crate::proxy::downstream::reply;
use crate::proxy::downstream::session::Session;
use crate::proxy::error::GatewayError;
use crate::proxy::exchange::{Exchange, Hold};
use crate::proxy::limits::body_memory as room;
use crate::proxy::pipeline::Pipeline;
use crate::proxy::upstream::client::Answer;
use crate::proxy::upstream::heartbeat::Ends;
use crate::rules::amount::Tokens;
use crate::rules::charge::{Basis, Charge, Doubt};
use crate::rules::strike::Credentials;
use crate::rules::tenant::TenantId;
use futures_util::task::noop_waker_ref;
use http::StatusCode;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// The longest plain answer.
const LONGEST_ANSWER: usize = 64 << 20;

/// Response headers of a provider that clients may see. Its limits, its organisation and its cookies
/// are the operator's own affair.
const PASSED: &[&str] = &[
    "content-type",
    "cache-control",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "openai-processing-ms",
    "openai-version",
];

/// Copies of an answer's text while it waits to be counted, with what its buffer has beyond its length.
const COPIES: usize = 3;

/// How much a crash may take from what is known of a stream.
const NOTE_EVERY: Duration = Duration::from_millis(100);

const EVENT_STREAM: &str = "text/event-stream";

/// What an answer is the answer to, and what its client must not read in it.
pub(in crate::proxy) struct AskedOf<'a> {
    pub dialect: &'static dyn Dialect,
    pub call: &'a Call,
    pub credentials: &'a Credentials,
    /// The provider's host, where its name is the operator's own.
    pub host: Option<&'a str>,
}

impl Pipeline {
    pub(in crate::proxy) async fn relay(
        &self,
        session: &mut Session<'_>,
        exchange: &mut Exchange,
        answer: Answer<'_>,
        asked: &AskedOf<'_>,
        ends: &mut Ends<'_>,
    ) -> Result<(), GatewayError> {
        passable(exchange, &answer).inspect_err(|_| exchange.accepted = false)?;
        let is_success = answer.head.status.is_success();
        let meter = match speaks_events(&answer) {
            true if is_success => asked.dialect.stream(asked.call),
            // What it costs is known from the call.
            _ if is_success && asked.dialect.answers_with_sound() => Box::new(Through::default()),
            _ => return self.plain(session, exchange, answer, asked, ends).await,
        };
        self.stream(session, exchange, answer, asked, meter, ends)
            .await
    }

    async fn plain(
        &self,
        session: &mut Session<'_>,
        exchange: &mut Exchange,
        mut answer: Answer<'_>,
        asked: &AskedOf<'_>,
        ends: &mut Ends<'_>,
    ) -> Result<(), GatewayError> {
        loop {
            let more = more(session, &mut answer, ends, exchange).await;
            match more {
                Ok(More::Bytes | More::Silence) => {}
                Ok(More::End) => break,
                Err(error) => {
                    exchange.accepted &= !is_nothing(&error, &answer);
                    // It may still come to its end, and say what it has cost.
                    if ends.is_draining() || !matches!(error, GatewayError::UpstreamTimeout(_)) {
                        conclude_if_whole(exchange, &answer, asked);
                        return Err(error);
                    }
                    self.refuse_and_drain(session, exchange, error, ends).await;
                }
            }
            if !self.keeps(exchange, answer.content.len()) {
                return Err(self.no_room());
            }
            if answer.content.len() > LONGEST_ANSWER {
                return Err(GatewayError::Upstream(format!(
                    "{} answered without end",
                    exchange.endpoint
                )));
            }
        }
        let mut body = answer.content.split().freeze();
        if answer.head.status == StatusCode::TOO_MANY_REQUESTS && is_out_of_credit(&body) {
            exchange.accepted = false;
            let text = format!("{} has no credit left", exchange.endpoint);
            return Err(GatewayError::UpstreamRefused(text));
        }
        if answer.head.status.is_success() {
            exchange.conclude(&dialect::meter(asked.dialect, asked.call, &body));
        } else {
            let failure = failure::read(asked.dialect, asked.call, speaks_events(&answer), &body);
            exchange.conclude(&failure.reading);
            if let Some(passed) = failure.passed {
                body = passed.into();
            }
            if answer.head.status == StatusCode::TOO_MANY_REQUESTS
                && failure.reading.delivered.is_empty()
            {
                body = limited(exchange, asked.dialect.api(), &body).into();
            }
        }
        if exchange.has_failed(answer.head.status.is_success())
            && let Some(nameless) = failure::without_names(&body, asked.host)
        {
            body = nameless.into();
        }
        if let Some(struck) = asked.credentials.strike(&body) {
            body = struck.into();
        }
        if let Some(left) = self.settle(exchange).await {
            exchange.left = Some(left);
        }
        if ends.is_draining() {
            return Err(GatewayError::ClientGone);
        }
        head(session, exchange, &answer, asked.credentials);
        session
            .whole(body)
            .await
            .map_err(|_| GatewayError::ClientGone)
    }

    /// Says what went wrong at once, and goes on reading for the provider's usage.
    pub(in crate::proxy) async fn refuse_and_drain(
        &self,
        session: &mut Session<'_>,
        exchange: &mut Exchange,
        error: GatewayError,
        ends: &mut Ends<'_>,
    ) {
        log_failure(exchange, &error);
        session.close_after();
        // Where even that fails there is no one to tell.
        let _ = reply::refuse(session, exchange, error).await;
        ends.drain();
    }

    async fn stream(
        &self,
        session: &mut Session<'_>,
        exchange: &mut Exchange,
        mut answer: Answer<'_>,
        asked: &AskedOf<'_>,
        mut meter: Box<dyn Meter>,
        ends: &mut Ends<'_>,
    ) -> Result<(), GatewayError> {
        exchange.speaks_events = speaks_events(&answer);
        if !ends.is_draining() {
            head(session, exchange, &answer, asked.credentials);
            // One line each.
            let _ = session.header("cache-control", b"no-cache, no-transform");
            let _ = session.header("x-accel-buffering", b"no");
            ends.watch_silence();
            // Nothing to send it with.
            if !answer.is_under_way() && session.flush().await.is_err() {
                self.lose_client(exchange, ends)?;
            }
        }
        loop {
            let more = more(session, &mut answer, ends, exchange).await;
            let (bytes, ended) = match more {
                Ok(More::Bytes) => {
                    let bytes = meter.feed(&answer.content);
                    answer.content.clear();
                    (bytes, false)
                }
                // It says no more, and does not close.
                Ok(More::Silence) if exchange.complete => (Vec::new(), true),
                Ok(More::Silence) => (keep_alive(exchange, asked).to_vec(), false),
                Ok(More::End) => (meter.finish(), true),
                // It said itself that it was complete; how it was closed does not matter.
                Err(GatewayError::Upstream(_)) if exchange.complete => (Vec::new(), true),
                Err(error @ GatewayError::UpstreamTimeout(_))
                    if !ends.is_draining() && !exchange.may_be_cut() =>
                {
                    self.break_off(session, exchange, error).await?;
                    ends.drain();
                    continue;
                }
                Err(error) => {
                    let is_gone = error == GatewayError::ClientGone && !ends.is_draining();
                    if is_gone && !is_all_seen(exchange, &mut answer, meter.as_mut()).await {
                        ends.drain();
                        continue;
                    }
                    take_what_came(&mut answer, meter.as_mut());
                    match error {
                        GatewayError::Upstream(_) => exchange.broke_off(meter.reading()),
                        _ => exchange.conclude(meter.reading()),
                    }
                    self.settle(exchange).await;
                    if ends.is_draining() || error == GatewayError::ClientGone {
                        return Err(GatewayError::ClientGone);
                    }
                    return self.break_off(session, exchange, error).await;
                }
            };
            // Events leave whole, so none is cut off in the middle of a credential.
            let mut bytes = asked.credentials.strike(&bytes).unwrap_or(bytes);
            if meter.reading().failed
                && let Some(nameless) = failure::without_names(&bytes, asked.host)
            {
                bytes = nameless;
            }
            exchange.observe(meter.reading());
            self.note(exchange);
            if let Some(error) = self.must_end(exchange, meter.as_mut()) {
                exchange.conclude(meter.reading());
                self.settle(exchange).await;
                return self.break_off(session, exchange, error).await;
            }
            let is_over = ended || meter.reading().overran;
            if exchange.complete {
                exchange.conclude(meter.reading());
                self.settle(exchange).await;
            } else if is_over {
                exchange.broke_off(meter.reading());
                self.settle(exchange).await;
            }
            if ends.is_draining() {
                if is_over || exchange.is_accounted_for() {
                    exchange.conclude(meter.reading());
                    self.settle(exchange).await;
                    return Err(GatewayError::ClientGone);
                }
                continue;
            }
            let is_whole = is_over && exchange.complete;
            if !bytes.is_empty() {
                ends.break_silence();
            }
            if session.stream(bytes.into(), is_whole).await.is_err() {
                if exchange.charge.is_none()
                    && !is_all_seen(exchange, &mut answer, meter.as_mut()).await
                {
                    ends.drain();
                    continue;
                }
                exchange.conclude(meter.reading());
                return Err(GatewayError::ClientGone);
            }
            if is_whole {
                return Ok(());
            }
            if is_over {
                self.metrics.truncated_streams.add(1);
                let error = GatewayError::Upstream(format!(
                    "{} ended its stream too early",
                    exchange.endpoint
                ));
                return self.break_off(session, exchange, error).await;
            }
        }
    }

    /// The client has left before its answer began.
    fn lose_client(&self, exchange: &Exchange, ends: &mut Ends<'_>) -> Result<(), GatewayError> {
        if exchange.may_be_cut() {
            return Err(GatewayError::ClientGone);
        }
        ends.drain();
        Ok(())
    }

    /// Why a stream must not go on.
    fn must_end(&self, exchange: &mut Exchange, meter: &mut dyn Meter) -> Option<GatewayError> {
        let withheld = meter.withheld();
        if !self.keeps(exchange, withheld) {
            return Some(self.no_room());
        }
        let kept = meter.reading().delivered.kept.len();
        if !self.keeps(exchange, withheld + COPIES * kept) {
            meter.forget_text();
        }
        let sends = |what: &str| {
            Some(GatewayError::Upstream(format!(
                "{} {what}",
                exchange.endpoint
            )))
        };
        if meter.reading().overran && !exchange.complete {
            return sends("sends an event without end");
        }
        if let Some((sent, held)) = exchange.exceeds_its_hold() {
            return sends(&format!(
                "sends more than it was asked for: output worth {sent} tokens where {held} are held"
            ));
        }
        None
    }

    /// There is room to keep so much for this request.
    fn keeps(&self, exchange: &mut Exchange, bytes: usize) -> bool {
        bytes <= room::FREE
            || exchange
                .share
                .get_or_insert_with(|| self.room.share())
                .keep(bytes)
    }

    /// Tells the journal what a stream is known to have cost, now and then.
    fn note(&self, exchange: &mut Exchange) {
        if let Some(hold) = &exchange.hold
            && exchange.noted.elapsed() > NOTE_EVERY
        {
            self.settler.journal.know(&hold.id, exchange.known());
            exchange.noted = Instant::now();
        }
    }

    /// The stream's head is out, so its end has to say what went wrong.
    async fn break_off(
        &self,
        session: &mut Session<'_>,
        exchange: &mut Exchange,
        error: GatewayError,
    ) -> Result<(), GatewayError> {
        log_failure(exchange, &error);
        if !exchange.speaks_events {
            // In sound there is no place for words: without a clean end it is not taken for whole.
            return Err(GatewayError::Torn);
        }
        let written = reply::break_off(session, exchange, &error).await;
        written.map_err(|_| GatewayError::ClientGone)
    }

    /// Ends the hold, if it is still there.
    pub(in crate::proxy) async fn settle(&self, exchange: &mut Exchange) -> Option<Tokens> {
        exchange.hold.as_ref()?;
        if let Some(texts) = exchange.uncounted() {
            let fits = self.keeps(exchange, COPIES * texts.bytes());
            let tenant = exchange.tenant.as_ref().map_or("", TenantId::as_str);
            let count = move || texts.count();
            if fits && let Some(counted) = self.counter.run_patiently(tenant, count).await {
                exchange.counted(&counted);
            }
        }
        let charge = exchange.charge();
        let hold = exchange.hold.take()?;
        self.report(&charge, &hold, exchange);
        let cost = charge.cost;
        exchange.charge = Some(charge);
        self.settler.settle(hold, cost).await
    }

    /// Tells the operator what a careless provider looks like.
    fn report(&self, charge: &Charge, hold: &Hold, exchange: &Exchange) {
        let metrics = &self.metrics;
        metrics
            .tokens_overrun
            .add(charge.cost.minus(hold.held).count());
        match charge.basis {
            Basis::Counted => metrics.charges_counted.add(1),
            Basis::Held => metrics.charges_held.add(1),
            Basis::Reported | Basis::Nothing => {}
        }
        let counter = match charge.doubt {
            None => return,
            Some(Doubt::Nought) => &metrics.doubted_nought,
            Some(Doubt::BelowDelivered) => &metrics.doubted_below_delivered,
            Some(Doubt::Absurd) => &metrics.doubted_absurd,
        };
        counter.add(1);
        log::debug!(
            "Usage of endpoint {} was not believed: {:?} (request {})",
            exchange.endpoint,
            charge.doubt,
            exchange.request_id
        );
    }
}

fn log_failure(exchange: &Exchange, error: &GatewayError) {
    if let Some((level, text)) = error.logged() {
        let tenant = exchange.tenant.as_ref().map_or("-", TenantId::as_str);
        let request = &exchange.request_id;
        log::log!(level, "{text} (tenant {tenant}, request {request})");
    }
}

/// What a provider says to us is not for our clients: that our key is wrong, that our credit is gone,
/// that the address has moved.
fn passable(exchange: &Exchange, answer: &Answer<'_>) -> Result<(), GatewayError> {
    let (status, endpoint) = (answer.head.status, &exchange.endpoint);
    let text = || format!("{endpoint} answered {status}");
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PAYMENT_REQUIRED => {
            Err(GatewayError::UpstreamRefused(text()))
        }
        // Nothing, or a part of what was not asked for in parts.
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::PARTIAL_CONTENT => {
            Err(GatewayError::Upstream(text()))
        }
        _ if status.is_informational() || status.is_redirection() => {
            Err(GatewayError::Upstream(text()))
        }
        _ => {
            let mut codings = answer.head.fields.all("content-encoding");
            if codings.all(|coding| coding.eq_ignore_ascii_case(b"identity")) {
                return Ok(());
            }
            Err(GatewayError::Upstream(format!(
                "{endpoint} answered in a coding it was not asked for"
            )))
        }
    }
}

fn content_type<'a>(answer: &'a Answer<'_>) -> Option<&'a str> {
    answer.head.fields.get("content-type")
}

fn speaks_events(answer: &Answer<'_>) -> bool {
    let start = content_type(answer).and_then(|kind| kind.get(..EVENT_STREAM.len()));
    start.is_some_and(|start| start.eq_ignore_ascii_case(EVENT_STREAM))
}

/// Passes bytes on as they come. Their end is their end.
#[derive(Default)]
struct Through(Reading);

impl Meter for Through {
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

/// Providers say with the status of "too fast" that the operator's credit with them is gone. The
/// caller must not take that for its own balance, nor try again.
fn is_out_of_credit(body: &[u8]) -> bool {
    const CODES: [&str; 5] = [
        "insufficient_quota",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
    ];
    let text = String::from_utf8_lossy(body);
    CODES
        .iter()
        .any(|code| text.contains(&format!("\"{code}\"")))
}

/// A sign of life between two events, as the API that was asked has it. In sound there is room for none.
fn keep_alive(exchange: &Exchange, asked: &AskedOf<'_>) -> &'static [u8] {
    match asked.dialect.api() {
        _ if !exchange.speaks_events => b"",
        Api::OpenAi => b": keep-alive\n\n",
        Api::Anthropic => b"event: ping\ndata: {\"type\": \"ping\"}\n\n",
    }
}

/// A rate limit of the operator's at the provider, which is not the caller's own.
fn limited(exchange: &Exchange, api: Api, body: &[u8]) -> String {
    let said = failure::message(body).unwrap_or_default();
    let message = format!("The provider is asked too much by this gateway. {said}");
    let error = Shape {
        status: StatusCode::TOO_MANY_REQUESTS.as_u16(),
        code: "provider_rate_limited",
        message: message.trim_end(),
        request_id: &exchange.request_id,
    };
    error::body(api, error)
}

fn head(
    session: &mut Session<'_>,
    exchange: &mut Exchange,
    answer: &Answer<'_>,
    credentials: &Credentials,
) {
    exchange.status = answer.head.status.as_u16();
    session.begin_head(answer.head.status);
    for name in PASSED {
        let values = answer.head.fields.all(name);
        for value in values.filter(|value| !credentials.are_in(value)) {
            // It was one line when it came.
            let _ = session.header(name, value);
        }
    }
    reply::tell(session, exchange);
}

/// Where all of a body has come but the end of its frames, what it says of itself counts.
fn conclude_if_whole(exchange: &mut Exchange, answer: &Answer<'_>, asked: &AskedOf<'_>) {
    if !answer.head.status.is_success() || asked.dialect.answers_with_sound() {
        return;
    }
    let reading = dialect::meter(asked.dialect, asked.call, &answer.content);
    if reading.complete && reading.claim.output.is_some() {
        exchange.conclude(&reading);
    }
}

/// The provider broke off before a byte of its answer.
fn is_nothing(error: &GatewayError, answer: &Answer<'_>) -> bool {
    matches!(error, GatewayError::Upstream(_)) && answer.content.is_empty()
}

/// A provider is not cut off in the middle of what it is saying: once it is silent for so long, all that is
/// under way is here.
const SILENCE: Duration = Duration::from_millis(25);
/// One that says more for so long is read to its end.
const LONGEST_WORD: Duration = Duration::from_millis(500);

/// Whether the provider can be cut off, and nothing was generated that is not here.
async fn is_all_seen(exchange: &Exchange, answer: &mut Answer<'_>, meter: &mut dyn Meter) -> bool {
    if !exchange.may_be_cut() {
        return false;
    }
    match take_what_came(answer, meter) {
        Backlog::ToTheEnd => return true,
        // Where something waited here, something else waits further back, and is paid for.
        Backlog::Behind => return false,
        Backlog::Nothing => {}
    }
    let begun = Instant::now();
    while begun.elapsed() < LONGEST_WORD {
        let more = poll_fn(|cx| answer.poll_more(cx));
        let Ok(more) = tokio::time::timeout(SILENCE, more).await else {
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

/// Whether something had come and was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Backlog {
    Nothing,
    /// The gateway was behind its provider.
    Behind,
    /// The answer is over.
    ToTheEnd,
}

/// Takes in what has come and was not read: a client that reads slowly must not hide it.
fn take_what_came(answer: &mut Answer<'_>, meter: &mut dyn Meter) -> Backlog {
    let mut cx = Context::from_waker(noop_waker_ref());
    let mut backlog = Backlog::Nothing;
    loop {
        let polled = answer.poll_more(&mut cx);
        meter.feed(&answer.content);
        answer.content.clear();
        match polled {
            Poll::Ready(Ok(true)) => backlog = Backlog::Behind,
            Poll::Ready(_) => return Backlog::ToTheEnd,
            Poll::Pending => return backlog,
        }
    }
}

enum More {
    Bytes,
    End,
    /// A stream has been silent for so long that its client must hear something.
    Silence,
}

/// Waits for more of the answer, unless something ends the request first.
async fn more(
    session: &mut Session<'_>,
    answer: &mut Answer<'_>,
    ends: &mut Ends<'_>,
    exchange: &mut Exchange,
) -> Result<More, GatewayError> {
    let mut begun = None;
    let more = poll_fn(|cx| {
        if let Poll::Ready(ended) = ends.poll(cx, exchange) {
            return Poll::Ready(Err(ended));
        }
        if let Poll::Ready(more) = answer.poll_more(cx) {
            let more = more.map_err(GatewayError::from);
            return Poll::Ready(more.map(|more| if more { More::Bytes } else { More::End }));
        }
        if ends.takes_keep_alive() {
            return Poll::Ready(Ok(More::Silence));
        }
        begun.get_or_insert_with(Instant::now);
        ready!(ends.poll_unread(cx, exchange, session));
        Poll::Ready(Err(GatewayError::ClientGone))
    })
    .await;
    exchange.waited += begun.map_or(Duration::ZERO, |begun| begun.elapsed());
    more
}
