//! `POST /billing/stripe`: Stripe's webhook. An event counts with a signature of this tenant's secrets over its bytes.

use super::events::{self, Taken};
use super::history;
use super::purchase::{self, Applied, PurchaseFailure};
use super::tenant_account;
use super::told;
use crate::api;
use crate::local::answer::{Answer, Refusal, json};
use crate::local::{Local, Request, accounts};
use crate::store::tenants::Tenant;
use crate::stripe::objects::StripeEvent;
use crate::stripe::signature::{self, WrongSignature};
use crate::tables::Secret;
use crate::telemetry::fields::About;
use crate::telemetry::throttle::Throttle;
use log::Level;

/// Header of the signature.
const SIGNATURE: &str = "stripe-signature";

/// Serves `POST /billing/stripe`.
pub(in crate::local) async fn take(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
) -> Result<Answer, Refusal> {
    tenant_account::stripe(tenant)?;
    check(local, request, tenant).await?;
    let event = serde_json::from_slice::<StripeEvent<'_>>(&request.body).ok();
    let event = event.filter(StripeEvent::is_plain);
    let event = event.ok_or_else(|| Refusal::Bad("The body is no event of Stripe's".to_owned()))?;
    let taken = events::take(local, tenant, &event).await;
    let about = About {
        tenant: Some(tenant.id.as_str()),
        request: Some(request.id),
        ..About::default()
    };
    let metrics = &local.metrics;
    match taken {
        Ok(taken) => {
            metrics.payment_events.add(1);
            log_taken(&about, &event, &taken);
            if let Taken::Applied { owner, applied } = &taken {
                told::tell(local, tenant, owner, applied, &event.id);
            }
            history::note(local, tenant, &event, &taken).await;
            Ok(json(200, &answer(&taken)))
        }
        Err(failure) => {
            metrics.payment_events_failed.add(1);
            let why = match &failure {
                PurchaseFailure::Store(error) => error.to_string(),
                PurchaseFailure::Stripe(failure) => failure.to_string(),
                PurchaseFailure::Contended => "other events of the account were quicker".to_owned(),
            };
            let line = format_args!(
                "Event {} ({}) of Stripe was not taken: {why}. Stripe sends it again",
                event.id, event.kind
            );
            about.log(module_path!(), Level::Warn, &[], line);
            Err(match failure {
                PurchaseFailure::Store(error) => Refusal::Store(error),
                PurchaseFailure::Stripe(_) | PurchaseFailure::Contended => {
                    Refusal::BillingUnavailable
                }
            })
        }
    }
}

/// Checks the signature of a request.
async fn check(local: &Local, request: &Request<'_>, tenant: &Tenant) -> Result<(), Refusal> {
    let secrets = local.billing.webhook_secrets(tenant).await?;
    let mut headers = request.headers.get_all(SIGNATURE).iter();
    let header = headers.next().and_then(|header| header.to_str().ok());
    let header = header
        .filter(|_| headers.next().is_none())
        .unwrap_or_default();
    let secrets = secrets.iter().map(Secret::expose);
    let now_seconds = accounts::now().0 / 1000;
    let checked = signature::check(header, &request.body, secrets, now_seconds);
    checked.map_err(|wrong| {
        log_wrong(request, tenant, wrong);
        Refusal::Bad(wrong.sentence().to_owned())
    })
}

/// Logs a wrong signature, one line a second.
fn log_wrong(request: &Request<'_>, tenant: &Tenant, wrong: WrongSignature) {
    static LINES: Throttle = Throttle::new();
    let about = About {
        tenant: Some(tenant.id.as_str()),
        request: Some(request.id),
        ..About::default()
    };
    about.log_throttled(
        &LINES,
        module_path!(),
        Level::Warn,
        &[],
        format_args!("A webhook was refused: {}", wrong.sentence()),
    );
}

fn log_taken(about: &About<'_>, event: &StripeEvent<'_>, taken: &Taken) {
    let (id, kind) = (&event.id, &event.kind);
    match taken {
        Taken::Ignored(why) => {
            let line = format_args!("Event {id} ({kind}) of Stripe is ignored: {why}");
            about.log(module_path!(), Level::Debug, &[], line);
        }
        Taken::Applied { applied, .. } => {
            let Applied {
                change,
                left,
                label,
                ..
            } = &**applied;
            let about = About {
                account: Some(label.as_str()),
                ..*about
            };
            let gain = purchase::moved(change);
            let group = change.group.as_deref().unwrap_or("the same");
            let line = format_args!(
                "Event {id} ({kind}) of Stripe changed a balance by {gain} tokens to {left}; the group is {group}"
            );
            let gain = gain.into();
            let is_news = purchase::moved(change) != 0 || change.group.is_some();
            let level = if is_news { Level::Info } else { Level::Debug };
            about.log(module_path!(), level, &[("tokens", gain)], line);
        }
    }
}

fn answer(taken: &Taken) -> api::WebhookTaken {
    match taken {
        Taken::Applied { applied, .. } => api::WebhookTaken {
            received: true,
            ignored: None,
            tokens: Some(purchase::moved(&applied.change)),
            group: applied.change.group.clone(),
        },
        Taken::Ignored(why) => api::WebhookTaken {
            received: true,
            ignored: Some((*why).to_owned()),
            tokens: None,
            group: None,
        },
    }
}
