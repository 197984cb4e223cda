//! [`Billing`]: how tenants' Stripe accounts are reached, by their config and the operator's settings.

use crate::dial::dialer::Reach;
use crate::fetch::Fetcher;
use crate::local::answer::Refusal;
use crate::rules::config::{BillingKind, Stripe};
use crate::store::tenants::Tenant;
use crate::stripe::client::{StripeClient, StripeFailure};
use crate::stripe::prices::PriceBook;
use crate::stripe::stand_in::{StandInPlace, StandInStripe};
use crate::tables::Secret;
use crate::telemetry::fields::About;
use crate::url::Url;
use log::Level;
use std::sync::Arc;

/// Ways to tenants' Stripe accounts, and the prices there.
pub struct Billing {
    fetcher: Arc<Fetcher>,
    /// Address of Stripe's API.
    stripe_url: Url,
    stand_in: Arc<dyn StandInStripe>,
    pub(super) prices: PriceBook,
}

impl Billing {
    pub fn new(
        fetcher: Arc<Fetcher>,
        stripe_url: Url,
        stand_in: Arc<dyn StandInStripe>,
    ) -> Billing {
        Billing {
            fetcher,
            stripe_url,
            stand_in,
            prices: PriceBook::default(),
        }
    }

    /// Returns the tenant's client. 404 where the tenant takes no payments.
    pub(super) async fn client(&self, tenant: &Tenant) -> Result<StripeClient, Refusal> {
        let stripe = stripe(tenant)?;
        let (base, key, reach) = match stripe.kind {
            BillingKind::Stripe => {
                let key = stripe.api_key.clone().ok_or(Refusal::NotFound)?;
                (self.stripe_url.clone(), key, Reach::EgressNoCleartext)
            }
            BillingKind::Demo => {
                let place = self.stand_in_place(tenant).await?;
                (place.url, place.key, Reach::Own)
            }
        };
        Ok(StripeClient {
            fetcher: self.fetcher.clone(),
            base,
            key,
            reach,
        })
    }

    /// Returns the secrets that the tenant's events are signed with.
    pub(super) async fn webhook_secrets(&self, tenant: &Tenant) -> Result<Vec<Secret>, Refusal> {
        let stripe = stripe(tenant)?;
        match stripe.kind {
            BillingKind::Stripe => Ok(stripe.webhook_secrets.clone()),
            BillingKind::Demo => Ok(vec![self.stand_in_place(tenant).await?.webhook_secret]),
        }
    }

    async fn stand_in_place(&self, tenant: &Tenant) -> Result<StandInPlace, StripeFailure> {
        let place = self.stand_in.place(tenant.id.as_str()).await;
        place.map_err(StripeFailure::Unavailable)
    }
}

/// Returns the tenant's Stripe account. 404 if it has none.
pub(super) fn stripe(tenant: &Tenant) -> Result<&Stripe, Refusal> {
    tenant.config.auth.stripe.as_ref().ok_or(Refusal::NotFound)
}

impl From<StripeFailure> for Refusal {
    fn from(failure: StripeFailure) -> Refusal {
        match failure {
            StripeFailure::Unavailable(_) | StripeFailure::WrongKey => Refusal::BillingUnavailable,
            StripeFailure::Refused { message, .. } => Refusal::BillingRefused(message),
        }
    }
}

/// Logs why a call of Stripe has failed, and returns the refusal.
pub(super) fn failed(tenant: &Tenant, what: &str, failure: StripeFailure) -> Refusal {
    let about = About {
        tenant: Some(tenant.id.as_str()),
        ..About::default()
    };
    let line = format_args!("Stripe did not {what}: {failure}");
    about.log(module_path!(), Level::Warn, &[], line);
    failure.into()
}
