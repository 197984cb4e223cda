//! Pingora's phases around the pipeline: one request in, one reply out, whatever happens between.
//!
//! A panic anywhere in the pipeline ends its request and no other: the hold is settled, the caller
//! hears a 500, the log an error.

use super::error::GatewayError;
use super::exchange::Exchange;
use super::pipeline::Pipeline;
use super::reply;
use async_trait::async_trait;
use futures_util::FutureExt;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

/// How long a kept connection may wait for its next request.
const IDLE_SECONDS: u64 = 75;
/// A client that reads nothing for so long has left.
const UNREAD: Duration = Duration::from_secs(30);
const LONGEST_REQUEST_ID: usize = 128;

pub struct Shell(pub Arc<Pipeline>);

#[async_trait]
impl ProxyHttp for Shell {
    type CTX = ();

    fn new_ctx(&self) {}

    fn init_downstream_modules(&self, _: &mut pingora::modules::http::HttpModules) {}

    /// Every request is answered here; `true` says so.
    async fn request_filter(&self, session: &mut Session, (): &mut ()) -> pingora::Result<bool> {
        let pipeline = &self.0;
        let _passage = pipeline.traffic.enter();
        let session = &mut session.downstream_session;
        if pipeline.traffic.is_draining() {
            session.set_keepalive(None);
        } else if session.get_keepalive().is_some() {
            session.set_keepalive(Some(IDLE_SECONDS));
        }
        // Behind a blocked write no hold is renewed, so it must end well before one does.
        let renewal = pipeline.local.settings.accounts.hold_ttl / 4;
        session.set_write_timeout(Some(UNREAD.min(renewal)));
        let mut exchange = Exchange::new(request_id(session));
        let run = AssertUnwindSafe(pipeline.run(session, &mut exchange)).catch_unwind();
        let outcome = run.await.unwrap_or_else(|panic| {
            pipeline.metrics.panics.add(1);
            Err(GatewayError::Panic(describe(&*panic)))
        });
        pipeline.settle(&mut exchange).await;
        if let Err(error) = outcome {
            if let Some((level, text)) = error.logged() {
                let (id, tenant) = (
                    &exchange.request_id,
                    exchange.tenant.as_deref().unwrap_or("-"),
                );
                log::log!(level, "{text} (tenant {tenant}, request {id})");
            }
            if error == GatewayError::ClientGone {
                pipeline.metrics.clients_gone.add(1);
                session.set_keepalive(None);
            } else if session
                .response_written()
                .is_none_or(|head| head.status.is_informational())
            {
                // Where even that fails there is no one to tell.
                let _ = reply::refuse(session, &mut exchange, error).await;
            } else {
                session.set_keepalive(None);
                session.shutdown().await;
            }
        }
        pipeline.metrics.answered(exchange.status);
        if let Some(cost) = exchange.cost {
            pipeline.recorder.record(&exchange, cost);
        }
        log::debug!(
            "Answered {} in {:?} (tenant {}, request {})",
            exchange.status,
            exchange.started.elapsed(),
            exchange.tenant.as_deref().unwrap_or("-"),
            exchange.request_id
        );
        Ok(true)
    }

    /// Never reached: nothing is left for Pingora to forward.
    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        pingora::Error::e_explain(
            pingora::ErrorType::InternalError,
            "no request is forwarded from here",
        )
    }

    async fn fail_to_proxy(
        &self,
        _: &mut Session,
        error: &pingora::Error,
        (): &mut (),
    ) -> FailToProxy {
        log::error!("Unexpected end of a request: {error}");
        FailToProxy {
            error_code: 500,
            can_reuse_downstream: false,
        }
    }
}

/// The caller's own ID where it is fit to be echoed, else a new one.
fn request_id(session: &pingora::protocols::http::ServerSession) -> String {
    let given = session
        .req_header()
        .headers
        .get("x-request-id")
        .and_then(|id| id.to_str().ok());
    let fit = |id: &&str| {
        !id.is_empty()
            && id.len() <= LONGEST_REQUEST_ID
            && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    given
        .filter(fit)
        .map_or_else(|| uuid::Uuid::now_v7().to_string(), str::to_owned)
}

fn describe(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}
