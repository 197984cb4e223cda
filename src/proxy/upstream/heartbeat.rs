//! What may end a request before its answer does: its hold, the end of the gateway.
//!
//! Most requests are over before any of this matters, so nothing is set up until one has lasted a
//! while: until then it costs a number.

use crate::proxy::downstream::session::Session;
use crate::proxy::error::GatewayError;
use crate::proxy::exchange::Exchange;
use crate::proxy::lazy_timer::Patience;
use crate::proxy::pipeline::Pipeline;
use crate::store::Outcome;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// A request whose hold was not renewed ends this long before the hold does.
const HOLD_MARGIN: Duration = Duration::from_secs(2);
const RENEW_PAUSE: Duration = Duration::from_millis(250);
/// A request that lasts longer hears at once when the gateway ends.
const SHORT: Duration = Duration::from_secs(1);
/// Interval between keep-alives of a stream that is silent: load balancers cut it off after a minute or less.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);
/// Interval at which a stream is looked at for silence.
const SILENCE_CHECKED_EVERY: Duration = Duration::from_secs(1);

type Waiting<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What may end a request from our side. It lives as long as the request, so that nothing delays its
/// clock.
pub struct Ends<'a> {
    pipeline: &'a Pipeline,
    /// Taken from the connection, which keeps it from request to request.
    pub patience: Patience,
    ttl: Duration,
    covered_until: Instant,
    next_beat: Instant,
    renewal: Option<(Instant, Waiting<Outcome<bool>>)>,
    cut: Option<Waiting<()>>,
    silence: Option<Silence>,
    /// The client has left, and the provider is read on for its usage until then.
    drain: Option<Pin<Box<Sleep>>>,
}

/// Silence of a stream whose client waits for more. Noticing what is sent costs a flag.
struct Silence {
    since: Instant,
    is_broken: bool,
    is_due: bool,
}

impl Pipeline {
    /// Of a request whose hold was asked for at `taken`.
    pub fn ends(&self, taken: Instant, mut patience: Patience) -> Ends<'_> {
        let ttl = self.local.settings.accounts.hold_ttl;
        patience.end_at(taken + SHORT.min(ttl / 3));
        Ends {
            pipeline: self,
            patience,
            ttl,
            covered_until: taken + ttl,
            next_beat: taken + ttl / 3,
            renewal: None,
            cut: None,
            silence: None,
            drain: None,
        }
    }
}

impl Silence {
    fn look(&mut self, now: Instant) {
        if std::mem::take(&mut self.is_broken) {
            self.since = now;
        } else if now.duration_since(self.since) >= KEEP_ALIVE_EVERY {
            self.since = now;
            self.is_due = true;
        }
    }
}

impl Ends<'_> {
    /// Nobody reads the answer any more.
    pub fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    /// The client reads a stream from now on.
    pub fn watch_silence(&mut self) {
        self.silence = Some(Silence {
            since: Instant::now(),
            is_broken: false,
            is_due: false,
        });
    }

    /// Something was sent to the client.
    pub fn break_silence(&mut self) {
        if let Some(silence) = &mut self.silence {
            silence.is_broken = true;
        }
    }

    /// Whether a keep-alive is due, once for each time that it is.
    pub fn takes_keep_alive(&mut self) -> bool {
        let silence = self.silence.as_mut().filter(|_| self.drain.is_none());
        silence.is_some_and(|silence| std::mem::take(&mut silence.is_due))
    }

    /// The answer has lost its reader: from now on the provider is read for its usage alone.
    pub fn drain(&mut self) {
        if self.drain.is_none() {
            self.pipeline.metrics.answers_drained.add(1);
            let span = self.pipeline.local.settings.upstream.drain;
            self.drain = Some(Box::pin(tokio::time::sleep(span)));
        }
    }

    /// Ready when nobody reads the answer and the provider need not be read on, or not any longer.
    pub fn poll_unread(
        &mut self,
        cx: &mut Context<'_>,
        exchange: &Exchange,
        session: &mut Session<'_>,
    ) -> Poll<()> {
        if self.drain.is_none() {
            ready!(session.poll_leaves(cx));
            if exchange.may_be_cut() {
                return Poll::Ready(());
            }
            self.drain();
        }
        match &mut self.drain {
            Some(drain) => drain.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }

    /// Ready when the request must end: its hold is gone or could not be renewed in time, or the
    /// gateway is shutting down.
    pub fn poll(&mut self, cx: &mut Context<'_>, exchange: &Exchange) -> Poll<GatewayError> {
        loop {
            if let Some((sent, renewal)) = &mut self.renewal
                && let Poll::Ready(renewed) = renewal.as_mut().poll(cx)
            {
                let sent = *sent;
                self.renewal = None;
                if let Some(ended) = self.renewed(sent, renewed) {
                    return Poll::Ready(ended);
                }
            }
            if self.patience.poll_over(cx).is_pending() {
                break;
            }
            if let Some(ended) = self.beat(exchange) {
                return Poll::Ready(ended);
            }
        }
        match &mut self.cut {
            Some(cut) => cut
                .as_mut()
                .poll(cx)
                .map(|()| GatewayError::Ended("The gateway is shutting down")),
            None => Poll::Pending,
        }
    }

    fn beat(&mut self, exchange: &Exchange) -> Option<GatewayError> {
        if self.cut.is_none() {
            let traffic = self.pipeline.traffic.clone();
            self.cut = Some(Box::pin(async move { traffic.is_cut().await }));
        }
        let now = Instant::now();
        let longest = match &mut self.silence {
            Some(silence) => {
                silence.look(now);
                SILENCE_CHECKED_EVERY
            }
            None => self.ttl,
        };
        if now < self.next_beat || self.renewal.is_some() {
            let wait = self.next_beat.saturating_duration_since(now);
            self.patience.set(wait.max(RENEW_PAUSE).min(longest));
            return None;
        }
        self.next_beat = now + self.ttl / 3;
        self.patience.set((self.ttl / 3).min(longest));
        let hold = exchange.hold.as_ref()?;
        if let Some(lease) = &hold.lease {
            let leases = &self.pipeline.settler.leases;
            if leases.renew(lease, &hold.id) {
                return self.renewed(now, Ok(true));
            }
            // Its purse may be out of touch for a moment.
            return self.again();
        }
        let (store, account, id) = (
            self.pipeline.store.clone(),
            hold.account.clone(),
            hold.id.clone(),
        );
        let (known, ttl) = (exchange.known(), self.ttl.into());
        let renewal = async move { store.renew(&account, &id, known, ttl).await };
        self.renewal = Some((now, Box::pin(renewal)));
        None
    }

    fn renewed(&mut self, sent: Instant, renewed: Outcome<bool>) -> Option<GatewayError> {
        match renewed {
            Ok(true) => {
                self.covered_until = sent + self.ttl;
                None
            }
            Ok(false) => Some(GatewayError::Ended("The hold of this request has ended")),
            Err(_) => self.again(),
        }
    }

    /// Tries once more in a moment, while the hold lasts.
    fn again(&mut self) -> Option<GatewayError> {
        let now = Instant::now();
        if now + HOLD_MARGIN >= self.covered_until {
            return Some(GatewayError::Ended(
                "The hold of this request was not renewed",
            ));
        }
        self.next_beat = now + RENEW_PAUSE;
        self.patience.set(RENEW_PAUSE);
        None
    }
}
