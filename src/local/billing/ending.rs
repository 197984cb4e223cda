//! The end of an account's subscriptions when the account is deleted: with the period that is paid.

use super::purchase;
use super::tenant_account::failed;
use crate::local::Local;
use crate::local::answer::Refusal;
use crate::store::name::AccountName;
use crate::store::tenants::Tenant;
use crate::stripe::client::StripeFailure;

/// Makes Stripe end the subscriptions of an account. A 503 if Stripe cannot be asked: who deletes an account must not
/// go on paying for it. What Stripe refuses stops nothing.
pub(in crate::local) async fn end_subscriptions(
    local: &Local,
    tenant: &Tenant,
    account: &AccountName,
) -> Result<(), Refusal> {
    let Some(opened) = purchase::open(local, tenant, account).await? else {
        return Ok(());
    };
    let live: Vec<&str> = opened.payments.live_subscriptions().collect();
    let checkout = opened.payments.checkout();
    if (live.is_empty() && checkout.is_none()) || tenant.config.auth.stripe.is_none() {
        return Ok(());
    }
    let client = local
        .billing
        .client(&local.settings.billing, tenant)
        .await?;
    if let Some(checkout) = checkout {
        // Ignored: most have been paid or have ended long since, and any other ends within the hour.
        let _ = client.expire_session(&checkout.session).await;
    }
    for subscription in live {
        match client.cancel_at_period_end(subscription).await {
            Ok(_) => {}
            Err(failure @ (StripeFailure::Refused { .. } | StripeFailure::WrongKey)) => {
                // Logged: its merchant ends it by hand.
                let _ = failed(tenant, "end the subscription of a deleted account", failure);
            }
            Err(failure) => {
                let what = "end the subscription of an account that is to be deleted";
                return Err(failed(tenant, what, failure));
            }
        }
    }
    Ok(())
}
