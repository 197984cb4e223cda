//! Events of Stripe: whose they are, and what they make the gateway note or ask.
//!
//! Only objects that this gateway has made for this tenant count, in the mode of the tenant's key. What an event says of
//! money or status is not believed further than that: Stripe is asked.

use super::owner::Owner;
use super::purchase::{self, Applied, Inquired, Inquiry, PurchaseFailure};
use super::tenant_account;
use crate::local::{Local, accounts};
use crate::rules::amount::Tokens;
use crate::rules::config::Mode;
use crate::rules::payments::facts::{PaidTopUp, ToldBy};
use crate::store::tenants::Tenant;
use crate::stripe::client::StripeFailure;
use crate::stripe::objects::{
    Invoice, OfPayment, StripeEvent, StripeMetadata, StripeSession, Subscription,
};
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// Outcome of an event.
#[derive(Debug)]
pub(super) enum Taken {
    Applied {
        owner: Owner,
        applied: Box<Applied>,
    },
    /// The event does nothing, for this reason.
    Ignored(&'static str),
}

/// Longest name of a top-up, as a config may have it.
const MAX_ITEM_CHARS: usize = 64;

const NOT_OURS: &str = "not bought through this tenant";
const UNREADABLE: &str = "its object cannot be read";
const GONE: &str = "the account was deleted since";
const UNKNOWN_TO_STRIPE: &str = "Stripe does not know its object";

/// Takes an event. `Err`: a repeat can help.
pub(super) async fn take(
    local: &Local,
    tenant: &Tenant,
    event: &StripeEvent<'_>,
) -> Result<Taken, PurchaseFailure> {
    let Ok(stripe) = tenant_account::stripe(tenant) else {
        return Ok(Taken::Ignored(NOT_OURS));
    };
    let mode = if event.livemode {
        Mode::Live
    } else {
        Mode::Test
    };
    let object = match &event.data {
        Some(data) if event.object == "event" => data.object,
        _ => return Ok(Taken::Ignored("no event of API v1")),
    };
    if event.account.is_some() {
        return Ok(Taken::Ignored("of a connected account"));
    }
    if stripe.mode() != Some(mode) {
        return Ok(Taken::Ignored("not of the mode of the tenant's key"));
    }
    let told = ToldBy {
        event: event.id.clone(),
        at: accounts::now(),
    };
    let at = Incoming {
        local,
        tenant,
        told,
    };
    let taken = match event.kind.as_str() {
        "checkout.session.completed" | "checkout.session.async_payment_succeeded" => {
            at.session(object).await
        }
        "invoice.paid" | "invoice.payment_succeeded" => at.invoice(object).await,
        kind if kind.starts_with("customer.subscription.") => at.subscription(object).await,
        kind if kind.starts_with("charge.dispute.") => at.dispute(object).await,
        "charge.refunded"
        | "charge.refund.updated"
        | "refund.created"
        | "refund.updated"
        | "refund.failed" => at.refund(object).await,
        _ => Ok(Taken::Ignored("of a type that changes nothing")),
    };
    match taken {
        Err(PurchaseFailure::Stripe(failure @ StripeFailure::Refused { .. })) => {
            // Logged: an event of Stripe's own is about what Stripe knows.
            let _ = tenant_account::failed(tenant, "know the object of an event", failure);
            Ok(Taken::Ignored(UNKNOWN_TO_STRIPE))
        }
        taken => taken,
    }
}

/// An event on its way in.
struct Incoming<'a> {
    local: &'a Local,
    tenant: &'a Tenant,
    told: ToldBy,
}

impl Incoming<'_> {
    async fn session(self, object: &RawValue) -> Result<Taken, PurchaseFailure> {
        let Some(session) = read::<StripeSession>(object) else {
            return Ok(Taken::Ignored(UNREADABLE));
        };
        let Some(owner) = Owner::of(self.tenant, &session.metadata) else {
            return Ok(Taken::Ignored(NOT_OURS));
        };
        let told = self.told.clone();
        let inquiry = match (session.mode.as_str(), session.subscription) {
            ("subscription", Some(id)) => Inquiry::Subscription { id, told },
            ("payment", None) => {
                if session.payment_status != "paid" {
                    return Ok(Taken::Ignored("not paid yet"));
                }
                let grant = session.metadata.get("grant").map(str::parse::<u64>);
                let Some(Ok(tokens)) = grant else {
                    return Ok(Taken::Ignored("without a number of tokens"));
                };
                let paid = PaidTopUp {
                    session: session.id,
                    item: item(&session.metadata),
                    tokens: Tokens::new(tokens),
                    amount: session.amount_total.unwrap_or(0),
                    intent: session.payment_intent,
                    told,
                };
                Inquiry::TopUp {
                    paid,
                    customer: session.customer,
                }
            }
            _ => return Ok(Taken::Ignored("of a mode that changes nothing")),
        };
        self.apply(&owner, &inquiry).await
    }

    async fn subscription(self, object: &RawValue) -> Result<Taken, PurchaseFailure> {
        let Some(subscription) = read::<Subscription>(object) else {
            return Ok(Taken::Ignored(UNREADABLE));
        };
        let Some(owner) = Owner::of(self.tenant, &subscription.metadata) else {
            return Ok(Taken::Ignored(NOT_OURS));
        };
        let inquiry = Inquiry::Subscription {
            id: subscription.id,
            told: self.told.clone(),
        };
        self.apply(&owner, &inquiry).await
    }

    async fn invoice(self, object: &RawValue) -> Result<Taken, PurchaseFailure> {
        let Some(invoice) = read::<Invoice>(object) else {
            return Ok(Taken::Ignored(UNREADABLE));
        };
        let metadata = invoice.metadata();
        let owner = metadata.and_then(|metadata| Owner::of(self.tenant, metadata));
        let (Some(owner), Some(id)) = (owner, invoice.subscription()) else {
            return Ok(Taken::Ignored(NOT_OURS));
        };
        let inquiry = Inquiry::Subscription {
            id: id.to_owned(),
            told: self.told.clone(),
        };
        self.apply(&owner, &inquiry).await
    }

    async fn refund(self, object: &RawValue) -> Result<Taken, PurchaseFailure> {
        let Some(intent) = read::<OfPayment>(object).and_then(|of| of.payment_intent) else {
            return Ok(Taken::Ignored("of no payment intent"));
        };
        match self.owner_of(&intent).await? {
            Some(owner) => self.apply(&owner, &Inquiry::Refunds { intent }).await,
            None => Ok(Taken::Ignored(NOT_OURS)),
        }
    }

    async fn dispute(self, object: &RawValue) -> Result<Taken, PurchaseFailure> {
        let Some(of) = read::<OfPayment>(object) else {
            return Ok(Taken::Ignored(UNREADABLE));
        };
        let Some(intent) = of.payment_intent else {
            return Ok(Taken::Ignored("of no payment intent"));
        };
        match self.owner_of(&intent).await? {
            Some(owner) => self.apply(&owner, &Inquiry::Dispute { id: of.id }).await,
            None => Ok(Taken::Ignored(NOT_OURS)),
        }
    }

    /// Asks Stripe who has paid with an intent. `None`: nobody through this tenant.
    async fn owner_of(&self, intent: &str) -> Result<Option<Owner>, PurchaseFailure> {
        let client = purchase::client(self.local, self.tenant).await?;
        let known = client.intent(intent).await?;
        if let Some(owner) = Owner::of(self.tenant, &known.metadata) {
            return Ok(Some(owner));
        }
        let mut invoices: Vec<String> = known.invoice.into_iter().collect();
        if invoices.is_empty() {
            let paid = client.invoices_of_intent(intent).await?;
            invoices.extend(paid.into_iter().filter_map(|paid| paid.invoice));
        }
        for invoice in invoices {
            let invoice = client.invoice(&invoice).await?;
            let metadata = invoice.metadata();
            if let Some(owner) = metadata.and_then(|metadata| Owner::of(self.tenant, metadata)) {
                return Ok(Some(owner));
            }
        }
        Ok(None)
    }

    async fn apply(&self, owner: &Owner, inquiry: &Inquiry) -> Result<Taken, PurchaseFailure> {
        Ok(
            match purchase::apply(self.local, self.tenant, owner, inquiry).await? {
                Inquired::Done(applied) if applied.is_deleted => Taken::Ignored(GONE),
                Inquired::Done(applied) => Taken::Applied {
                    owner: owner.clone(),
                    applied,
                },
                Inquired::Gone => Taken::Ignored(GONE),
                Inquired::NotTheirs => Taken::Ignored(NOT_OURS),
            },
        )
    }
}

/// Returns the name of a top-up, as far as it is noted.
fn item(metadata: &StripeMetadata) -> String {
    let name = metadata.get("item").unwrap_or_default();
    name.chars().take(MAX_ITEM_CHARS).collect()
}

fn read<T: DeserializeOwned>(object: &RawValue) -> Option<T> {
    serde_json::from_str(object.get()).ok()
}
