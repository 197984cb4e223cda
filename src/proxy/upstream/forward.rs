//! Forward: sends an admitted call to its provider and waits for the head of the answer.

use super::client::{Destination, ProviderAnswer, ProviderClient, SendFailure, Timeouts};
use super::connection::{Progress, ProviderRequest};
use super::drain::refuse_and_drain;
use super::lifetime::Lifetime;
use crate::demo::{self, Demo};
use crate::proxy::downstream::session::Session;
use crate::proxy::error::GatewayError;
use crate::proxy::exchange::Admitted;
use crate::proxy::outcome::ProviderFault;
use crate::proxy::relay::request::NextAttempt;
use crate::rules::config::Endpoint;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::{Poll, ready};
use std::time::Instant;
use tokio::sync::OnceCell;

impl From<SendFailure> for GatewayError {
    fn from(failure: SendFailure) -> GatewayError {
        match failure.is_timeout {
            true => GatewayError::ProviderTimeout(failure.why),
            false => GatewayError::ProviderFailed(failure.fault, failure.why),
        }
    }
}

/// Sends calls to providers.
pub struct Forward {
    pub client: ProviderClient,
    /// Built-in `demo` provider, started by the first call to an endpoint without `url`.
    pub demo: OnceCell<Demo>,
}

/// Request of one attempt, as it leaves.
pub(crate) struct Outgoing {
    pub to: Destination,
    pub request: ProviderRequest,
    pub timeouts: Timeouts,
    /// Attempt that may follow, so that a timeout is not told to the client.
    pub next: NextAttempt,
}

/// Event that ends the wait for the answer's head.
enum Waited<'a> {
    Answered(Box<Result<ProviderAnswer<'a>, GatewayError>>),
    /// The first-byte timeout has passed.
    Late,
    Ended(GatewayError),
}

impl Forward {
    /// Returns the address of an endpoint's `url`, or of the built-in `demo` provider.
    pub(crate) async fn destination(
        &self,
        endpoint: &Endpoint,
    ) -> Result<Destination, GatewayError> {
        if let Some(url) = &endpoint.url {
            return Ok(Destination {
                https: url.https,
                host: url.host.clone(),
                port: url.port,
                is_demo: false,
            });
        }
        let demo = self.demo.get_or_try_init(demo::start).await;
        let failed = |error| {
            let why = format!("the demo provider: {error}");
            GatewayError::ProviderFailed(ProviderFault::ConnectFailed, why)
        };
        let address = demo.map_err(failed)?.address();
        Ok(Destination {
            https: false,
            host: address.ip().to_string(),
            port: address.port(),
            is_demo: true,
        })
    }

    /// Sends a request, and returns its [`ProviderAnswer`] once the head has been read.
    pub(crate) async fn send(
        &self,
        session: &mut Session<'_>,
        call: &mut Admitted<'_, '_>,
        outgoing: Outgoing,
        lifetime: &mut Lifetime<'_>,
    ) -> Result<ProviderAnswer<'_>, GatewayError> {
        let waited = call.timing.waited;
        let next = outgoing.next;
        let answer = self.wait(session, call, outgoing, lifetime).await?;
        let answer = answer.map_err(|error| {
            // A provider that breaks off before its answer has shown no work, so the call is free.
            if !matches!(error, GatewayError::ProviderTimeout(_)) {
                call.bill.set_accepted(false);
            }
            match lifetime.is_draining() {
                true => GatewayError::ClientGone,
                false => error,
            }
        })?;
        call.bill.set_accepted(true);
        call.outcome.provider_status = Some(answer.head.status);
        call.outcome.first_byte = Some(call.timing.waited.saturating_sub(waited));
        if !next.exists() {
            // The request's body has been sent and freed.
            call.body_memory.release();
        }
        Ok(answer)
    }

    async fn wait(
        &self,
        session: &mut Session<'_>,
        call: &mut Admitted<'_, '_>,
        outgoing: Outgoing,
        lifetime: &mut Lifetime<'_>,
    ) -> Result<Result<ProviderAnswer<'_>, GatewayError>, GatewayError> {
        let Outgoing {
            to,
            request,
            timeouts,
            next,
        } = outgoing;
        let progress = Progress::default();
        let mut answer = pin!(self.client.send(to, &request, timeouts, &progress));
        loop {
            let is_refused = lifetime.is_draining();
            let begun = Instant::now();
            let bill = &mut *call.bill;
            let waited = poll_fn(|cx| {
                if let Poll::Ready(ended) = lifetime.poll_ended(cx, bill) {
                    return Poll::Ready(Waited::Ended(ended));
                }
                if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                    let answer = answer.map_err(GatewayError::from);
                    return Poll::Ready(Waited::Answered(Box::new(answer)));
                }
                bill.set_accepted(progress.is_sent.load(Ordering::Relaxed));
                if progress.is_late.load(Ordering::Relaxed) && !is_refused {
                    return Poll::Ready(Waited::Late);
                }
                ready!(lifetime.poll_abandoned(cx, bill, session));
                Poll::Ready(Waited::Ended(GatewayError::ClientGone))
            });
            let waited = waited.await;
            call.timing.waited += begun.elapsed();
            match waited {
                Waited::Answered(answer) => return Ok(*answer),
                Waited::Ended(error) => return Err(error),
                Waited::Late => {
                    let (endpoint, timeout) = (call.reply.endpoint(), timeouts.first_byte);
                    let why = format!("no answer from {endpoint} within {timeout:?}");
                    let error = GatewayError::ProviderTimeout(why);
                    if next.may_begin(false) {
                        return Err(error);
                    }
                    refuse_and_drain(session, call, error, lifetime).await;
                }
            }
        }
    }
}
