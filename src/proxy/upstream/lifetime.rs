//! [`Lifetime`] of a call in flight: the heartbeat that renews its hold, the shutdown that cuts it,
//! keep-alives of its stream, and the drain of an answer whose client has left.
//!
//! Most calls end before any of this is due. Until a call has lasted for `SHORT_CALL`, its lifetime is a
//! stored deadline in a [`LazyTimer`] and nothing more.

use crate::proxy::downstream::session::Session;
use crate::proxy::error::GatewayError;
use crate::proxy::lazy_timer::LazyTimer;
use crate::proxy::limits::in_flight::InFlight;
use crate::proxy::settlement::bill::Bill;
use crate::store::leases::Leases;
use crate::store::name::KeyName;
use crate::store::revocations::Revocations;
use crate::store::{Ledger, Outcome};
use crate::telemetry::metrics::Metrics;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::time::Sleep;

/// A call whose hold could not be renewed ends this long before the hold expires.
const EXPIRY_MARGIN: Duration = Duration::from_secs(2);
/// Pause before a failed renewal is tried again.
const RENEWAL_RETRY_PAUSE: Duration = Duration::from_millis(250);
/// Age from which a call watches for the shutdown signal (`InFlight::is_cut`).
const SHORT_CALL: Duration = Duration::from_secs(1);
/// Interval of keep-alives in a silent stream: load balancers close it after a minute or less.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(15);
/// Interval at which a stream is checked for silence.
const SILENCE_CHECKED_EVERY: Duration = Duration::from_secs(1);

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Creates the [`Lifetime`] of each call.
pub struct Lifetimes {
    pub store: Arc<dyn Ledger>,
    pub leases: Arc<Leases>,
    /// Keys that were revoked lately: their calls end.
    pub revocations: Arc<Revocations>,
    pub in_flight: Arc<InFlight>,
    pub metrics: Arc<Metrics>,
    /// `accounts.hold_ttl`: a third of it passes between two renewals.
    pub hold_ttl: Duration,
    /// `upstream.drain`.
    pub drain_timeout: Duration,
}

/// Timers of one call. One value lives as long as the call, instead of one for each wait, so a busy stream
/// never postpones a renewal.
pub struct Lifetime<'a> {
    parts: &'a Lifetimes,
    /// Key that the call came with.
    key: &'a KeyName,
    /// Moment when its hold was asked for.
    taken: Instant,
    /// Timer of the connection's `Reusables`, returned to it for its next request.
    pub(crate) timer: LazyTimer,
    expires: Instant,
    next_renewal: Instant,
    renewal: Option<(Instant, Boxed<Outcome<bool>>)>,
    shutdown: Option<Boxed<()>>,
    silence: Option<Silence>,
    /// Timeout `upstream.drain`. `Some`: the client has left, and the provider is read for its usage alone.
    drain: Option<Pin<Box<Sleep>>>,
}

/// Silence of a stream. Sending sets only `is_broken`; the clock is read when the timer fires.
struct Silence {
    since: Instant,
    is_broken: bool,
    is_due: bool,
}

impl Silence {
    fn check(&mut self, now: Instant) {
        if std::mem::take(&mut self.is_broken) {
            self.since = now;
        } else if now.duration_since(self.since) >= KEEP_ALIVE_EVERY {
            self.since = now;
            self.is_due = true;
        }
    }
}

impl Lifetimes {
    /// Starts the lifetime of a call whose hold was asked for at `taken`.
    pub(crate) fn start<'a>(
        &'a self,
        key: &'a KeyName,
        taken: Instant,
        mut timer: LazyTimer,
    ) -> Lifetime<'a> {
        let ttl = self.hold_ttl;
        timer.set_deadline(taken + SHORT_CALL.min(ttl / 3));
        Lifetime {
            parts: self,
            key,
            taken,
            timer,
            expires: taken + ttl,
            next_renewal: taken + ttl / 3,
            renewal: None,
            shutdown: None,
            silence: None,
            drain: None,
        }
    }
}

impl Lifetime<'_> {
    /// Whether [`Lifetime::drain`] was called: the client has left.
    pub(crate) fn is_draining(&self) -> bool {
        self.drain.is_some()
    }

    /// Starts keep-alives, every `KEEP_ALIVE_EVERY` of silence: the client reads a stream from now on.
    pub(crate) fn watch_silence(&mut self) {
        self.silence.get_or_insert_with(|| Silence {
            since: Instant::now(),
            is_broken: false,
            is_due: false,
        });
    }

    /// Notes that something was sent to the client.
    pub(crate) fn break_silence(&mut self) {
        if let Some(silence) = &mut self.silence {
            silence.is_broken = true;
        }
    }

    /// Whether a keep-alive is due; resets it. The caller must send one if true.
    pub(crate) fn takes_keep_alive(&mut self) -> bool {
        let silence = self.silence.as_mut().filter(|_| self.drain.is_none());
        silence.is_some_and(|silence| std::mem::take(&mut silence.is_due))
    }

    /// Starts the drain: the provider is read for its usage alone, for at most `upstream.drain`.
    pub fn drain(&mut self) {
        if self.drain.is_none() {
            self.parts.metrics.answers_drained.add(1);
            let timeout = tokio::time::sleep(self.parts.drain_timeout);
            self.drain = Some(Box::pin(timeout));
        }
    }

    /// Ready when the client has left and the provider need not be read on, or not any longer.
    pub(crate) fn poll_abandoned(
        &mut self,
        cx: &mut Context<'_>,
        bill: &Bill,
        session: &mut Session<'_>,
    ) -> Poll<()> {
        if self.drain.is_none() {
            ready!(session.poll_closed(cx));
            if bill.may_be_cut() {
                return Poll::Ready(());
            }
            self.drain();
        }
        match &mut self.drain {
            // Other calls wait for this answer, whoever has left.
            Some(_) if bill.is_awaited() => Poll::Pending,
            Some(drain) => drain.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }

    /// Ready when the call must end: its hold is gone or could not be renewed in time, or the gateway shuts
    /// down.
    pub(crate) fn poll_ended(&mut self, cx: &mut Context<'_>, bill: &Bill) -> Poll<GatewayError> {
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
            if self.timer.poll_elapsed(cx).is_pending() {
                break;
            }
            if let Some(ended) = self.tick(bill) {
                return Poll::Ready(ended);
            }
        }
        match &mut self.shutdown {
            Some(shutdown) => shutdown
                .as_mut()
                .poll(cx)
                .map(|()| GatewayError::Ended("The gateway is shutting down")),
            None => Poll::Pending,
        }
    }

    /// Runs when the timer fires: sets up the shutdown signal, checks the key, checks for silence, starts a renewal that is
    /// due.
    fn tick(&mut self, bill: &Bill) -> Option<GatewayError> {
        if self.shutdown.is_none() {
            let in_flight = self.parts.in_flight.clone();
            self.shutdown = Some(Box::pin(async move { in_flight.is_cut().await }));
        }
        if self.parts.revocations.has_since(self.key, self.taken) {
            return Some(GatewayError::Ended(
                "The key of this request was revoked or suspended",
            ));
        }
        let now = Instant::now();
        let ttl = self.parts.hold_ttl;
        let longest = match &mut self.silence {
            Some(silence) => {
                silence.check(now);
                SILENCE_CHECKED_EVERY
            }
            None => ttl,
        };
        if now < self.next_renewal || self.renewal.is_some() {
            let wait = self.next_renewal.saturating_duration_since(now);
            self.timer.set(wait.max(RENEWAL_RETRY_PAUSE).min(longest));
            return None;
        }
        self.next_renewal = now + ttl / 3;
        self.timer.set((ttl / 3).min(longest));
        self.renew(bill, now)
    }

    fn renew(&mut self, bill: &Bill, now: Instant) -> Option<GatewayError> {
        let hold = bill.hold()?;
        if let Some(lease) = &hold.lease {
            if self.parts.leases.renew(lease, &hold.id) {
                return self.renewed(now, Ok(true));
            }
            // The lease's own renewal at the store may be failing for a moment.
            return self.retry();
        }
        let store = self.parts.store.clone();
        let (account, id) = (hold.account.clone(), hold.id.clone());
        let (known, ttl) = (bill.known_cost(), self.parts.hold_ttl.into());
        let renewal = async move { store.renew(&account, &id, known, ttl).await };
        self.renewal = Some((now, Box::pin(renewal)));
        None
    }

    fn renewed(&mut self, sent: Instant, renewed: Outcome<bool>) -> Option<GatewayError> {
        match renewed {
            Ok(true) => {
                self.expires = sent + self.parts.hold_ttl;
                None
            }
            Ok(false) => Some(GatewayError::Ended("The hold of this request has ended")),
            Err(_) => self.retry(),
        }
    }

    /// Schedules another renewal after [`RENEWAL_RETRY_PAUSE`], while the hold lasts.
    fn retry(&mut self) -> Option<GatewayError> {
        let now = Instant::now();
        if now + EXPIRY_MARGIN >= self.expires {
            return Some(GatewayError::Ended(
                "The hold of this request was not renewed",
            ));
        }
        self.next_renewal = now + RENEWAL_RETRY_PAUSE;
        self.timer.set(RENEWAL_RETRY_PAUSE);
        None
    }
}
