//! What may end a request before its answer does: its client, its hold, the end of the gateway.

use super::error::GatewayError;
use super::exchange::Hold;
use super::pipeline::Pipeline;
use crate::rules::amount::Tokens;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A request whose hold was not renewed ends this long before the hold does.
const HOLD_MARGIN: Duration = Duration::from_secs(2);
const RENEW_PAUSE: Duration = Duration::from_millis(250);

/// What may end a request from our side.
pub type Ends<'a> = Pin<&'a mut (dyn Future<Output = GatewayError> + Send)>;

impl Pipeline {
    /// Returns when the request must end: its hold is gone or could not be renewed in time, or the
    /// gateway is shutting down. It lives as long as the request, so that nothing delays its clock.
    pub fn ends(
        &self,
        hold: &Hold,
        known: Arc<AtomicU64>,
    ) -> impl Future<Output = GatewayError> + Send + use<> {
        let (store, traffic) = (self.store.clone(), self.traffic.clone());
        let (leases, lease) = (self.settler.leases.clone(), hold.lease.clone());
        let (account, id) = (hold.account.clone(), hold.id.clone());
        let ttl = self.local.settings.accounts.hold_ttl;
        let mut covered_until = hold.taken + ttl;
        let heartbeat = async move {
            loop {
                tokio::time::sleep(ttl / 3).await;
                loop {
                    let sent = Instant::now();
                    let known = Tokens::new(known.load(Ordering::Relaxed));
                    if let Some(lease) = &lease {
                        if leases.renew(lease, &id, known) {
                            covered_until = sent + ttl;
                            break;
                        }
                        if sent + HOLD_MARGIN >= covered_until {
                            return GatewayError::Ended("The hold of this request was not renewed");
                        }
                        tokio::time::sleep(RENEW_PAUSE).await;
                        continue;
                    }
                    match store.renew(&account, &id, known, ttl.into()).await {
                        Ok(true) => {
                            covered_until = sent + ttl;
                            break;
                        }
                        Ok(false) => {
                            return GatewayError::Ended("The hold of this request has ended");
                        }
                        Err(_) if Instant::now() + HOLD_MARGIN < covered_until => {
                            tokio::time::sleep(RENEW_PAUSE).await;
                        }
                        Err(_) => {
                            return GatewayError::Ended("The hold of this request was not renewed");
                        }
                    }
                }
            }
        };
        async move {
            tokio::select! {
                ended = heartbeat => ended,
                () = traffic.is_cut() => GatewayError::Ended("The gateway is shutting down"),
            }
        }
    }
}
