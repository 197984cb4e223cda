//! The end of an account's subscriptions when the account is deleted: with the period that is paid.

use super::owner::Owner;
use super::purchase;
use super::tenant_account::failed;
use crate::local::Local;
use crate::local::answer::Refusal;
use crate::rules::payments::Payments;
use crate::store::name::AccountName;
use crate::store::tenants::Tenant;
use crate::stripe::client::{Called, Closing, StripeClient, StripeFailure};

/// Makes Stripe end the subscriptions of an account, and the checkout of one that is open. A 503 if Stripe does not: who
/// deletes an account must not go on paying for it.
pub(in crate::local) async fn end_subscriptions(
    local: &Local,
    tenant: &Tenant,
    account: &AccountName,
) -> Result<(), Refusal> {
    let opened = purchase::open(local, tenant, account).await?;
    let opened = opened.filter(|opened| !opened.payments.id.is_empty());
    let (Some(opened), Some(_)) = (opened, &tenant.config.auth.stripe) else {
        return Ok(());
    };
    let client = local.billing.client(tenant).await?;
    let owner = Owner {
        account: account.clone(),
        purchases: opened.payments.id.clone(),
    };
    let ended = end_all(&client, tenant, &owner, &opened.payments).await;
    ended.map_err(|failure| {
        // Stripe's own words are for the log: the person has asked nothing of Stripe.
        let _ = failed(
            tenant,
            "end what an account that is to be deleted pays for",
            failure,
        );
        Refusal::BillingUnavailable
    })
}

async fn end_all(
    client: &StripeClient,
    tenant: &Tenant,
    owner: &Owner,
    payments: &Payments,
) -> Called<()> {
    if let Some(checkout) = payments.checkout() {
        close(client, &checkout.session).await?;
    }
    for customer in payments.customers() {
        let subscriptions = match client.subscriptions(customer).await {
            Err(failure) if failure.is_missing() => continue,
            subscriptions => subscriptions?,
        };
        for subscription in subscriptions {
            if owner.owns(tenant, &subscription.metadata) {
                purchase::end(client, subscription).await?;
            }
        }
    }
    Ok(())
}

/// Closes a checkout that is open, and ends the subscription of one that was paid just now.
async fn close(client: &StripeClient, session: &str) -> Called<()> {
    let id = match client.close_session(session).await? {
        Closing::Closed => return Ok(()),
        // The next try finds its subscription.
        Closing::Changing(why) => return Err(StripeFailure::Unavailable(why)),
        Closing::Subscribed(id) => id,
    };
    match client.subscription(&id).await {
        Err(failure) if failure.is_missing() => Ok(()),
        subscription => purchase::end(client, subscription?).await.map(|_| ()),
    }
}
