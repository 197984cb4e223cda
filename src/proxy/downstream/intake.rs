//! Reads a request's body, whole and bounded.

use crate::proxy::downstream::session::{NoBody, Session};
use crate::proxy::error::GatewayError;
use crate::proxy::exchange::Exchange;
use crate::proxy::limits::body_memory as room;
use crate::proxy::pipeline::Pipeline;
use bytes::Bytes;
use futures_util::FutureExt;
use std::pin::pin;
use std::time::Instant;

impl Pipeline {
    pub(in crate::proxy) async fn intake(
        &self,
        session: &mut Session<'_>,
        exchange: &mut Exchange,
        most: u64,
    ) -> Result<Bytes, GatewayError> {
        let (share, room) = (&mut exchange.share, &self.room);
        let fits =
            |bytes| bytes <= room::FREE || share.get_or_insert_with(|| room.share()).keep(bytes);
        let mut body = pin!(session.body(most, fits));
        // The usual case: it came with its head.
        if let Some(body) = (&mut body).now_or_never() {
            return body.map_err(|why| self.no_body(why, most));
        }
        let begun = Instant::now();
        let body = tokio::select! {
            biased;
            body = body => body.map_err(|why| self.no_body(why, most)),
            () = self.traffic.is_cut() => Err(GatewayError::Ended("The gateway is shutting down")),
        };
        exchange.waited += begun.elapsed();
        body
    }

    fn no_body(&self, why: NoBody, most: u64) -> GatewayError {
        match why {
            NoBody::Gone => GatewayError::ClientGone,
            NoBody::TooSlow => GatewayError::BodyTimeout,
            NoBody::TooLong => GatewayError::BodyTooLarge { most },
            NoBody::NoRoom => self.no_room(),
            NoBody::Unframed => GatewayError::BadRequest("The body's framing is wrong".to_owned()),
        }
    }

    pub(in crate::proxy) fn no_room(&self) -> GatewayError {
        self.metrics.shed_bodies.add(1);
        GatewayError::Overloaded
    }
}
