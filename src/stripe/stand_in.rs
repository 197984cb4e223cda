//! [`StandInStripe`]: who plays Stripe for tenants of `auth.stripe.kind: demo`.

use crate::tables::Secret;
use crate::url::Url;
use async_trait::async_trait;

/// Address of a tenant's stand-in, and its secrets.
pub struct StandInPlace {
    pub url: Url,
    pub key: Secret,
    /// Secret that it signs its events with.
    pub webhook_secret: Secret,
}

/// Plays Stripe. The error says why it cannot, for the log.
#[async_trait]
pub trait StandInStripe: Send + Sync {
    async fn place(&self, tenant: &str) -> Result<StandInPlace, String>;
}

/// A gateway without a stand-in.
pub struct NoStandIn;

#[async_trait]
impl StandInStripe for NoStandIn {
    async fn place(&self, _tenant: &str) -> Result<StandInPlace, String> {
        Err("there is no stand-in for Stripe here".to_owned())
    }
}
