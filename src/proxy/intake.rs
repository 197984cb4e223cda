//! Reads a request's body, whole and bounded.

use super::error::GatewayError;
use super::pipeline::Pipeline;
use super::session::{NoBody, Session};
use bytes::Bytes;

impl Pipeline {
    pub(super) async fn intake(
        &self,
        session: &mut Session,
        most: u64,
    ) -> Result<Bytes, GatewayError> {
        if session.is_body_here() {
            // The usual case: it came with its head.
            return session.body(most).await.map_err(|why| refused(why, most));
        }
        tokio::select! {
            biased;
            body = session.body(most) => body.map_err(|why| refused(why, most)),
            () = self.traffic.is_cut() => Err(GatewayError::Ended("The gateway is shutting down")),
        }
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
