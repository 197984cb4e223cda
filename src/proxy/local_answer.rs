//! Answers a request of a local route: root, health, sign-in, admin. No provider is asked.

use crate::local::dispatch::{self, Scope};
use crate::local::route::{Matched, is_private};
use crate::local::{Channel, Local, Request};
use crate::proxy::downstream::client_address;
use crate::proxy::downstream::hosts::RequestedHost;
use crate::proxy::downstream::intake::intake;
use crate::proxy::downstream::reply;
use crate::proxy::downstream::session::Session;
use crate::proxy::error::GatewayError;
use crate::proxy::exchange::Exchange;
use crate::proxy::limits::Limits;
use crate::proxy::outcome::Route;
use crate::telemetry::metrics::Metrics;
use http::Method;

/// Longest body that a local route reads.
const MAX_LOCAL_BODY_BYTES: u64 = 1 << 20;

pub(crate) struct LocalAnswers<'a> {
    pub local: &'a Local,
    pub limits: &'a Limits,
    pub metrics: &'a Metrics,
}

impl LocalAnswers<'_> {
    pub async fn answer(
        &self,
        session: &mut Session<'_>,
        exchange: &mut Exchange<'_>,
        method: &Method,
        matched: &Matched<'_>,
        at: Scope,
    ) -> Result<(), GatewayError> {
        self.metrics.requests_local.add(1);
        exchange.outcome.route = Route::Local(matched.route);
        exchange.reply.set_private(is_private(matched.route));
        let Limits { in_flight, .. } = self.limits;
        let body = intake(
            session,
            exchange,
            in_flight,
            self.metrics,
            MAX_LOCAL_BODY_BYTES,
        )
        .await?;
        let trusted = &self.local.settings.server.trusted_proxies;
        let address = client_address::of_session(session, trusted);
        let asked = RequestedHost::of(session.request(), session.peer, trusted).host();
        let is_https = client_address::is_https(session, trusted);
        let request = session.request();
        let headers = request.headers();
        let request = Request {
            method,
            query: request.query().unwrap_or_default(),
            headers: &headers,
            body,
            address,
            channel: Channel::Http,
            id: exchange.reply.request_id(),
            asked,
            is_https,
        };
        let answer = dispatch::answer(self.local, matched, at, request).await?;
        let written = reply::send(session, &exchange.reply, answer).await;
        written.map_err(|_| GatewayError::ClientGone)
    }
}
