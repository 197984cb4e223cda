//! A connection's life: one request in, one reply out, whatever happens between, and the next one.
//!
//! A panic anywhere in the pipeline ends its request and no other: the hold is settled, the caller
//! hears a 500, the log an error.

use super::error::GatewayError;
use super::exchange::Exchange;
use super::pipeline::Pipeline;
use super::reply;
use super::scratch;
use super::session::{Limits, NoRequest, Session};
use crate::http1::head::{Refused, Request};
use crate::rules::tenant::TenantId;
use crate::telemetry::panics;
use async_trait::async_trait;
use futures_util::FutureExt;
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

const LONGEST_REQUEST_ID: usize = 128;

pub struct Shell(pub Arc<Pipeline>);

#[async_trait]
impl ServerApp for Shell {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let pipeline = &self.0;
        let peer = stream
            .get_socket_digest()
            .and_then(|digest| digest.peer_addr().and_then(|peer| peer.as_inet().copied()));
        // Behind a blocked write no hold is renewed, so it must end well before one does.
        let settings = &pipeline.local.settings;
        let limits = Limits {
            head: settings.server.header_timeout,
            body_rate: settings.server.body_rate,
            write: settings.accounts.hold_ttl / 4,
        };
        let mut session = Session::new(stream, peer, limits);
        let mut shutdown = shutdown.clone();
        let mut draining = pin!(async move {
            let _ = shutdown.wait_for(|draining| *draining).await;
        });
        let mut is_draining = false;
        loop {
            let next = tokio::select! {
                biased;
                next = session.next(pipeline.places.is_crowded()) => next,
                () = &mut draining, if !is_draining => {
                    is_draining = true;
                    continue;
                }
                // A connection that waits for a next request may close; one that has begun it may not.
                () = std::future::ready(()), if is_draining && session.is_idle() => break,
            };
            match next {
                Ok(()) => {
                    if pipeline.traffic.is_draining() {
                        session.close_after();
                    }
                    pipeline.serve(&mut session).await;
                    if session.keeps() {
                        continue;
                    }
                }
                Err(NoRequest::Gone) => {}
                Err(NoRequest::TooSlow) => {
                    pipeline
                        .refuse(&mut session, GatewayError::HeadTimeout)
                        .await;
                }
                Err(NoRequest::Refused(refused)) => {
                    pipeline.refuse(&mut session, refused.into()).await;
                    session.linger().await;
                }
            }
            break;
        }
        session.close().await;
        None
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
    /// What cannot be read as a request is told so.
    async fn refuse(&self, session: &mut Session, error: GatewayError) {
        let mut exchange = Exchange::new(scratch::new_id().to_string());
        // Where even that fails there is no one to tell.
        let _ = reply::refuse(session, &mut exchange, error).await;
        self.metrics.answered(exchange.status);
    }

    async fn serve(&self, session: &mut Session) {
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
                session.close_after();
            } else if session.answered().is_none() {
                // Where even that fails there is no one to tell.
                let _ = reply::refuse(session, &mut exchange, error).await;
            } else {
                session.close_after();
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
