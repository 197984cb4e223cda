//! The operator's own listener: metrics, health, readiness. Never for the public.

use super::pipeline::Pipeline;
use crate::local::root;
use crate::telemetry::metrics::Levels;
use async_trait::async_trait;
use http::{HeaderValue, Response, header};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use std::sync::Arc;

const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

pub struct Ops(pub Arc<Pipeline>);

#[async_trait]
impl ServeHttp for Ops {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let pipeline: &Pipeline = &self.0;
        let answer = match session.req_header().uri.path() {
            "/metrics" => {
                let levels = Levels {
                    requests: pipeline.traffic.in_flight(),
                    connections: pipeline.places.taken(),
                    buffered: pipeline.room.taken(),
                    store_up: pipeline.store.is_up(),
                };
                return plain(pipeline.metrics.render(levels));
            }
            "/healthz" => root::health(),
            "/readyz" => root::ready(&pipeline.local)
                .await
                .unwrap_or_else(crate::local::answer::Refusal::into_answer),
            _ => crate::local::answer::Refusal::NotFound.into_answer(),
        };
        let (mut head, body) = answer.into_parts();
        head.headers
            .insert(header::CONTENT_LENGTH, body.len().into());
        head.headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        Response::from_parts(head, body.to_vec())
    }
}

fn plain(text: String) -> Response<Vec<u8>> {
    let mut response = Response::new(text.into_bytes());
    let length = response.body().len();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_LENGTH, length.into());
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    response
}
