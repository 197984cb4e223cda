//! The gateway as Pingora's proxy service sees it: every request, of every protocol and listener, passes
//! `request_filter`, and ends there.

use crate::http1::head::Refused;
use crate::proxy::call::{self, Proxy};
use crate::proxy::downstream::http1::HeadFault;
use crate::proxy::downstream::reply::{self, ReplyContext};
use crate::proxy::downstream::session::{Session, SessionLimits};
use crate::proxy::error::GatewayError;
use crate::proxy::side::Side;
use crate::proxy::{ops, request_id};
use async_trait::async_trait;
use pingora::modules::http::HttpModules;
use pingora::proxy::{ProxyHttp, Session as Downstream};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};
use std::sync::Arc;

pub struct Gateway {
    pub proxy: Arc<Proxy>,
    pub side: Side,
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = ();

    fn new_ctx(&self) {}

    /// Registers no `HttpModules`: responses are not compressed here.
    fn init_downstream_modules(&self, _: &mut HttpModules) {}

    async fn request_filter(&self, down: &mut Downstream, (): &mut ()) -> pingora::Result<bool> {
        let proxy: &Proxy = &self.proxy;
        let limits = SessionLimits::of(&proxy.local.settings);
        let mut session = Session::new(down.as_downstream_mut(), limits, self.side);
        if proxy.limits.in_flight.is_draining() {
            session.close_after();
        }
        match (session.fault, self.side) {
            (None, Side::Ops) => ops::serve(proxy, &mut session).await,
            (None, _) => call::serve(proxy, &mut session).await,
            (Some(fault), _) => refuse(proxy, &mut session, fault.into()).await,
        }
        session.end().await;
        Ok(true)
    }

    /// Returns the method without the path, which may contain an API key.
    fn request_summary(&self, down: &Downstream, (): &()) -> String {
        down.req_header().method.to_string()
    }

    /// Reached only by requests that `request_filter` leaves unanswered, and it leaves none.
    async fn upstream_peer(
        &self,
        _: &mut Downstream,
        (): &mut (),
    ) -> pingora::Result<Box<HttpPeer>> {
        Err(Error::new(ErrorType::InternalError))
    }
}

/// Answers a head that could not be parsed ([`Session::fault`]).
async fn refuse(proxy: &Proxy, session: &mut Session<'_>, error: GatewayError) {
    session.close_after();
    let context = ReplyContext::new(request_id::new_id().to_string());
    if let Some(refused) = error.refused() {
        proxy
            .tenants
            .count_error(None, refused.code, refused.status);
    }
    // A client that is gone by now needs no answer.
    let _ = reply::refuse(session, &context, error).await;
    proxy.metrics.count_response(session.status());
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
