//! The operator's own listener: metrics, health, readiness. Never for the public.

use crate::local::answer::{Answer, Refusal};
use crate::local::root;
use crate::proxy::downstream::reply;
use crate::proxy::downstream::session::Session;
use crate::proxy::error::GatewayError;
use crate::proxy::exchange::Exchange;
use crate::proxy::pipeline::Pipeline;
use crate::proxy::scratch;
use crate::telemetry::metrics::Levels;
use futures_util::FutureExt;
use http::{HeaderValue, Method, Response, header};
use std::panic::AssertUnwindSafe;

impl Pipeline {
    /// Answers the operator. What is asked here is not counted as a request.
    pub(in crate::proxy) async fn serve_ops(&self, session: &mut Session<'_>) {
        let mut exchange = Exchange::new(scratch::new_id().to_string());
        let answer = AssertUnwindSafe(self.ops_answer(session))
            .catch_unwind()
            .await;
        let answer = answer.unwrap_or_else(|_| {
            self.metrics.panics.add(1);
            Err(GatewayError::Panic("while telling the operator".to_owned()))
        });
        // Where even that fails there is no one to tell.
        let _ = match answer {
            Ok(answer) => reply::send(session, &mut exchange, answer).await,
            Err(error) => reply::refuse(session, &mut exchange, error).await,
        };
    }

    async fn ops_answer(&self, session: &Session<'_>) -> Result<Answer, GatewayError> {
        let request = session.request();
        let answer = match request.path() {
            _ if !matches!(request.method, Method::GET | Method::HEAD) => {
                return Err(GatewayError::OtherMethods("GET, HEAD".to_owned()));
            }
            b"/metrics" => self.metrics_answer(),
            b"/healthz" => root::health(),
            b"/readyz" => root::ready(&self.local).await?,
            _ => return Err(Refusal::NotFound.into()),
        };
        Ok(answer)
    }

    fn metrics_answer(&self) -> Answer {
        let levels = Levels {
            requests: self.traffic.in_flight(),
            connections: self.places.taken(),
            buffered: self.room.taken(),
            store_up: self.store.is_up(),
        };
        let mut answer = Response::new(self.metrics.render(levels).into());
        let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
        answer
    }
}
