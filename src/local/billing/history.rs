//! Payments as an admin sees them: those of an account with their grants and reasons, and the latest events of Stripe.

use super::events::Taken;
use super::purchase;
use crate::api;
use crate::local::admin::Right;
use crate::local::answer::{Answer, Refusal, json};
use crate::local::{Local, Request, accounts, admin, named};
use crate::rules::amount::Millis;
use crate::rules::date::rfc3339;
use crate::rules::payments::Payments;
use crate::rules::payments::entry::PaymentEntry;
use crate::store::name::{AccountName, LogName};
use crate::store::tenants::Tenant;
use crate::stripe::objects::StripeEvent;
use crate::telemetry::fields::About;
use log::Level;
use serde_json::value::RawValue;

/// Events of a list.
const MAX_EVENTS: usize = 200;

/// Notes an event in the tenant's log. It is for people; what was granted stands in the account's payments.
pub(super) async fn note(local: &Local, tenant: &Tenant, event: &StripeEvent<'_>, taken: &Taken) {
    let row = match taken {
        Taken::Applied { applied, .. } => api::PaymentEvent {
            account: Some(applied.label.clone()),
            tokens: Some(purchase::moved(&applied.change)),
            group: applied.change.group.clone(),
            ..of(event)
        },
        Taken::Ignored(why) => api::PaymentEvent {
            ignored: Some((*why).to_owned()),
            ..of(event)
        },
    };
    let Ok(text) = serde_json::to_string(&row) else {
        return;
    };
    let log = LogName::payments(&tenant.id);
    if let Err(error) = local.store.record(&log, &[text]).await {
        let about = About {
            tenant: Some(tenant.id.as_str()),
            ..About::default()
        };
        let line = format_args!(
            "An event of Stripe is not in the list of events: {error}. What it has changed stands in the account"
        );
        about.log(module_path!(), Level::Warn, &[], line);
    }
}

/// Returns the row of an event without what came of it.
fn of(event: &StripeEvent<'_>) -> api::PaymentEvent {
    api::PaymentEvent {
        time: rfc3339(accounts::now()),
        event: event.id.clone(),
        kind: event.kind.clone(),
        account: None,
        tokens: None,
        group: None,
        ignored: None,
    }
}

/// Serves `GET /admin/payments`.
pub(in crate::local) async fn events(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
) -> Result<Answer, Refusal> {
    admin::authorize(local, request, &tenant.id, Right::Look).await?;
    let log = LogName::payments(&tenant.id);
    let texts = local.store.recorded(&log, Millis(0), MAX_EVENTS).await?;
    let events: Vec<&RawValue> = texts
        .iter()
        .filter_map(|text| serde_json::from_str(text).ok())
        .collect();
    Ok(json(200, &api::PaymentEvents { events }))
}

/// Serves `GET /admin/users/{user}/payments`.
pub(in crate::local) async fn of_user(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    user: &str,
) -> Result<Answer, Refusal> {
    admin::authorize(local, request, &tenant.id, Right::Look).await?;
    let account = named::user_account(local, tenant, user).await?;
    let payments = payments(local, tenant, &account).await?;
    Ok(json(200, &payments.ok_or(Refusal::NotFound)?))
}

/// Returns the payments of an account. `None`: there is no such account.
pub(in crate::local) async fn payments(
    local: &Local,
    tenant: &Tenant,
    account: &AccountName,
) -> Result<Option<api::AccountPayments>, Refusal> {
    let opened = purchase::open(local, tenant, account).await?;
    // What is kept of a deleted account is shown to nobody: without a record it cannot be told whose tenant's it is.
    let opened = opened.filter(|opened| !opened.is_deleted);
    Ok(opened.map(|opened| shown(&opened.payments)))
}

fn shown(payments: &Payments) -> api::AccountPayments {
    api::AccountPayments {
        customer: payments.customer().map(str::to_owned),
        subscriptions: payments.live_subscriptions().map(str::to_owned).collect(),
        is_blocked: payments.is_blocked(),
        payments: payments.entries().into_iter().map(entry).collect(),
    }
}

fn entry(entry: PaymentEntry) -> api::Payment {
    api::Payment {
        time: rfc3339(entry.at),
        kind: entry.kind.word().to_owned(),
        object: entry.object,
        event: entry.event,
        tokens: entry.tokens,
        taken_back: entry.taken_back,
        why: entry.why,
    }
}
