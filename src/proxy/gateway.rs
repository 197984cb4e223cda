//! The gateway as Pingora's proxy service sees it: every request, on every protocol, passes `request_filter`.
//!
//! Local answers and provider calls end there. A panic anywhere in the pipeline ends its request and no other: the hold
//! is settled, the caller hears a 500, the log an error.

use crate::http1::head::{Refused, Request};
use crate::proxy::downstream::http1::HeadFault;
use crate::proxy::downstream::reply;
use crate::proxy::downstream::session::{Limits, Session};
use crate::proxy::downstream::tally;
use crate::proxy::error::GatewayError;
use crate::proxy::exchange::Exchange;
use crate::proxy::pipeline::Pipeline;
use crate::proxy::scratch;
use crate::rules::tenant::TenantId;
use crate::telemetry::panics;
use async_trait::async_trait;
use futures_util::FutureExt;
use pingora::modules::http::HttpModules;
use pingora::proxy::{ProxyHttp, Session as Downstream};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

const LONGEST_REQUEST_ID: usize = 128;

/// Audience of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Public,
    /// The operator's own.
    Ops,
}

pub struct Gateway {
    pub pipeline: Arc<Pipeline>,
    pub side: Side,
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = ();

    fn new_ctx(&self) {}

    /// None: nothing that passes is compressed here, or anything else.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn request_filter(&self, down: &mut Downstream, (): &mut ()) -> pingora::Result<bool> {
        let pipeline: &Pipeline = &self.pipeline;
        let mut session = Session::new(down.as_downstream_mut(), pipeline.limits());
        if pipeline.traffic.is_draining() {
            session.close_after();
        }
        match (session.fault, self.side) {
            (None, Side::Public) => pipeline.serve(&mut session).await,
            (None, Side::Ops) => pipeline.serve_ops(&mut session).await,
            (Some(fault), _) => pipeline.refuse(&mut session, fault.into()).await,
        }
        session.end().await;
        Ok(true)
    }

    /// Without the target: a path may hold a key.
    fn request_summary(&self, down: &Downstream, (): &()) -> String {
        down.req_header().method.to_string()
    }

    /// Only what `request_filter` leaves unanswered gets here, and it leaves nothing.
    async fn upstream_peer(
        &self,
        _: &mut Downstream,
        (): &mut (),
    ) -> pingora::Result<Box<HttpPeer>> {
        Err(Error::new(ErrorType::InternalError))
    }
}

impl From<HeadFault> for GatewayError {
    fn from(fault: HeadFault) -> GatewayError {
        match fault {
            HeadFault::Refused(refused) => refused.into(),
            HeadFault::TooSlow => GatewayError::HeadTimeout,
        }
    }
}

impl From<Refused> for GatewayError {
    fn from(refused: Refused) -> GatewayError {
        match refused {
            Refused::Bad(why) => GatewayError::BadRequest(why.to_owned()),
            Refused::TooLarge => GatewayError::HeadTooLarge,
            Refused::UnknownCoding => GatewayError::UnknownCoding,
            Refused::UnknownExpectation => GatewayError::UnknownExpectation,
        }
    }
}

impl Pipeline {
    fn limits(&self) -> Limits {
        Limits {
            body_rate: self.local.settings.server.body_rate,
            write: self.write_timeout(),
        }
    }

    /// Time that a write to a client may be blocked: behind it no hold is renewed, so it ends well before one does.
    pub(in crate::proxy) fn write_timeout(&self) -> Duration {
        self.local.settings.accounts.hold_ttl / 4
    }

    /// What cannot be read as a request is told so.
    async fn refuse(&self, session: &mut Session<'_>, error: GatewayError) {
        session.close_after();
        let mut exchange = Exchange::new(scratch::new_id().to_string());
        // Where even that fails there is no one to tell.
        let _ = reply::refuse(session, &mut exchange, error).await;
        self.metrics.answered(exchange.status);
    }

    async fn serve(&self, session: &mut Session<'_>) {
        let _crossing = self.traffic.cross();
        let mut exchange = Exchange::new(request_id(session.request()));
        let run = AssertUnwindSafe(self.run(session, &mut exchange)).catch_unwind();
        let outcome = run.await.unwrap_or_else(|panic| {
            self.metrics.panics.add(1);
            Err(GatewayError::Panic(panics::words(&*panic).to_owned()))
        });
        self.settle(&mut exchange).await;
        if let Err(error) = outcome {
            if let Some((level, text)) = error.logged() {
                let (id, tenant) = (
                    &exchange.request_id,
                    exchange.tenant.as_ref().map_or("-", TenantId::as_str),
                );
                log::log!(level, "{text} (tenant {tenant}, request {id})");
            }
            if error == GatewayError::ClientGone {
                self.metrics.clients_gone.add(1);
                tally::note_abandoned();
                session.tear();
            } else if session.answered().is_none() {
                // Where even that fails there is no one to tell.
                let _ = reply::refuse(session, &mut exchange, error).await;
            } else {
                session.tear();
            }
        }
        self.metrics.answered(exchange.status);
        if exchange.status == 401 {
            self.strangers.failed(self.address(session), Instant::now());
        }
        if let Some(charge) = &exchange.charge {
            let lasted = exchange.started.elapsed();
            self.metrics
                .own_time
                .took(lasted.saturating_sub(exchange.waited));
            self.recorder.record(&exchange, charge, lasted);
        }
        log::debug!(
            "Answered {} in {:?} (tenant {}, request {})",
            exchange.status,
            exchange.started.elapsed(),
            exchange.tenant.as_ref().map_or("-", TenantId::as_str),
            exchange.request_id
        );
    }
}

/// The caller's own ID where it is fit to be echoed, else a new one.
fn request_id(request: &Request) -> String {
    let given = request.fields.get("x-request-id");
    let fit = |id: &&str| {
        !id.is_empty()
            && id.len() <= LONGEST_REQUEST_ID
            && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    given
        .filter(fit)
        .map_or_else(|| scratch::new_id().to_string(), str::to_owned)
}
