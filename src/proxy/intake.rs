//! Reads a request's body, whole and bounded.

use super::error::GatewayError;
use super::exchange::Exchange;
use super::pipeline::Pipeline;
use super::session::{NoBody, Session};
use bytes::Bytes;
use std::time::Instant;

impl Pipeline {
    pub(super) async fn intake(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        most: u64,
    ) -> Result<Bytes, GatewayError> {
        if session.is_body_here() {
            // The usual case: it came with its head.
            return session.body(most).await.map_err(|why| refused(why, most));
        }
        let begun = Instant::now();
        let body = tokio::select! {
            biased;
            body = session.body(most) => body.map_err(|why| refused(why, most)),
            () = self.traffic.is_cut() => Err(GatewayError::Ended("The gateway is shutting down")),
        };
        exchange.waited += begun.elapsed();
        body
    }
}

fn refused(why: NoBody, most: u64) -> GatewayError {
    match why {
        NoBody::Gone => GatewayError::ClientGone,
        NoBody::TooSlow => GatewayError::BodyTimeout,
        NoBody::TooLong => GatewayError::BodyTooLarge { most },
        NoBody::Unframed => GatewayError::BadRequest("The body's framing is wrong".to_owned()),
    }
}
