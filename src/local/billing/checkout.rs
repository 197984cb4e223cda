//! `POST /billing/checkout`: a page of Stripe's on which a person pays for a plan or a top-up.

use super::owner::Owner;
use super::purchase::{self, Inquiry, PurchaseFailure};
use super::tenant_account::{self, failed};
use super::{catalogue, pages};
use crate::api;
use crate::local::answer::{self, Answer, Refusal, json};
use crate::local::{Local, Request, accounts, caller};
use crate::rules::amount::Millis;
use crate::rules::digest;
use crate::rules::payments::facts::{SubscriptionStanding, ToldBy};
use crate::rules::payments::{Checkout, Payments};
use crate::rules::window::Window;
use crate::store::Counted;
use crate::store::name::AccountName;
use crate::store::tenants::Tenant;
use crate::stripe::client::{Closing, StripeClient, StripeFailure};
use crate::stripe::objects::StripeSession;

/// Most checkouts that an account begins within [`SPAN`].
const MAX_CHECKOUTS: u64 = 10;
/// Likewise visits to the portal.
const MAX_PORTALS: u64 = 30;
const SPAN: Millis = Millis(3_600_000);

/// Life of a session: what it promises was priced when it was made.
const SESSION_LIFE_SECONDS: u64 = 3_660;

/// Plan or top-up that is bought.
struct BoughtItem<'a> {
    price: &'a str,
    /// Grant of the payment: a group, or a number of tokens as they are priced now.
    grant: String,
    kind: ItemKind<'a>,
}

enum ItemKind<'a> {
    Plan { trial_days: Option<u64> },
    TopUp { name: &'a str },
}

/// Serves `POST /billing/checkout`.
pub(in crate::local) async fn open(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
) -> Result<Answer, Refusal> {
    let (_, found) = caller::manager(local, request, tenant).await?;
    tenant_account::stripe(tenant)?;
    let call: api::Checkout = answer::body(&request.body)?;
    let item = item(tenant, &call)?;
    pages::check(&tenant.config, "successUrl", &call.success_url)?;
    if let Some(page) = &call.cancel_url {
        pages::check(&tenant.config, "cancelUrl", page)?;
    }
    let client = local.billing.client(tenant).await?;
    if local.billing.webhook_secrets(tenant).await?.is_empty() {
        let why = "This tenant's payments are not set up: auth.stripe.webhook_secrets is missing";
        return Err(Refusal::Forbidden(why.to_owned()));
    }
    let account = &found.account;
    let payments = begun(local, tenant, account).await?;
    refuse_blocked(&payments)?;
    count(local, tenant, account, "checkout", MAX_CHECKOUTS).await?;
    if matches!(item.kind, ItemKind::Plan { .. }) {
        refuse_subscribed(local, tenant, account, &payments).await?;
    }
    let buying = Buying {
        tenant,
        account,
        item: &item,
        call: &call,
        payments: &payments,
        minute: accounts::now().0 / 60_000,
    };
    let key = buying.idempotency_key();
    if let ItemKind::Plan { .. } = item.kind {
        close_earlier(tenant, &client, &payments, &key).await?;
    }
    let session = buying.session(&client, &key).await?;
    if let ItemKind::Plan { .. } = item.kind {
        note(local, tenant, account, &client, &session.id, key).await?;
    }
    let is_page = |url: &String| url.starts_with("https://") || url.starts_with("http://");
    let url = session
        .url
        .filter(is_page)
        .ok_or(Refusal::BillingUnavailable)?;
    Ok(json(200, &api::CheckoutPage { url }))
}

/// Returns what is asked for, or a 400 that says what there is.
fn item<'a>(tenant: &'a Tenant, call: &'a api::Checkout) -> Result<BoughtItem<'a>, Refusal> {
    match (&call.group, &call.top_up) {
        (Some(group), None) => plan(tenant, group, call.price.as_deref()),
        (None, Some(name)) if call.price.is_none() => {
            let sold = catalogue::top_up(&tenant.config, name);
            let sold = sold.ok_or_else(|| {
                Refusal::Bad("There is no such top-up; see billing/plans".to_owned())
            })?;
            Ok(BoughtItem {
                price: &sold.price,
                grant: sold.tokens.to_string(),
                kind: ItemKind::TopUp { name },
            })
        }
        _ => Err(Refusal::Bad(
            "The body must name either a group, with a price of it or without, or a topUp"
                .to_owned(),
        )),
    }
}

fn plan<'a>(
    tenant: &'a Tenant,
    group: &str,
    price: Option<&'a str>,
) -> Result<BoughtItem<'a>, Refusal> {
    let unknown = || Refusal::Bad("This group is not for sale; see billing/plans".to_owned());
    let mut sold = catalogue::sold_groups(&tenant.config);
    let (name, sold, usual) = sold.find(|(name, ..)| *name == group).ok_or_else(unknown)?;
    let price = price.unwrap_or(usual);
    if catalogue::tokens_of(sold, price).is_none() {
        let why = "This price is not one of the group's; see billing/plans";
        return Err(Refusal::Bad(why.to_owned()));
    }
    Ok(BoughtItem {
        price,
        grant: name.to_owned(),
        kind: ItemKind::Plan {
            trial_days: sold.trial_days,
        },
    })
}

/// Returns the account's payments. Before its first purchase they are begun.
async fn begun(local: &Local, tenant: &Tenant, account: &AccountName) -> Result<Payments, Refusal> {
    let opened = purchase::open(local, tenant, account).await?;
    let opened = opened.ok_or(Refusal::UnknownKey)?;
    if !opened.payments.id.is_empty() {
        return Ok(opened.payments);
    }
    let id = uuid::Uuid::new_v4().simple().to_string();
    let begun = purchase::edit(local, tenant, account, |payments| {
        // Another instance may have begun them meanwhile.
        if payments.id.is_empty() {
            *payments = Payments::new(id.clone());
        }
    });
    let begun = begun.await.map_err(refusal)?;
    Ok(begun.ok_or(Refusal::UnknownKey)?.payments)
}

fn refuse_blocked(payments: &Payments) -> Result<(), Refusal> {
    if payments.is_blocked() {
        let why = "A payment of this account is in dispute; it buys nothing until that is over";
        return Err(Refusal::Forbidden(why.to_owned()));
    }
    if payments.is_full() {
        let why = "This account has more payments than are kept; it buys nothing further";
        return Err(Refusal::Conflict(why.to_owned()));
    }
    Ok(())
}

/// Refuses who has a subscription. Stripe is asked first: its end may not have been heard of.
async fn refuse_subscribed(
    local: &Local,
    tenant: &Tenant,
    account: &AccountName,
    payments: &Payments,
) -> Result<(), Refusal> {
    let live: Vec<String> = payments.live_subscriptions().map(str::to_owned).collect();
    if live.is_empty() {
        return Ok(());
    }
    let owner = Owner {
        account: account.clone(),
        purchases: payments.id.clone(),
    };
    for id in live {
        let told = ToldBy {
            event: "checkout".to_owned(),
            at: accounts::now(),
        };
        let inquiry = Inquiry::Subscription { id, told };
        match purchase::apply(local, tenant, &owner, &inquiry).await {
            // It is at another Stripe account, or was removed there.
            Err(PurchaseFailure::Stripe(failure)) if failure.is_missing() => {}
            applied => {
                applied.map_err(refusal)?;
            }
        }
    }
    let opened = purchase::open(local, tenant, account).await?;
    let now = opened.ok_or(Refusal::UnknownKey)?.payments;
    match now.live_subscriptions().next() {
        Some(_) => Err(already_subscribed()),
        None => Ok(()),
    }
}

/// Notes the session of a plan. Of several that were made at once the last one stays open; 409 if another was paid.
async fn note(
    local: &Local,
    tenant: &Tenant,
    account: &AccountName,
    client: &StripeClient,
    session: &str,
    key: String,
) -> Result<(), Refusal> {
    let displaced = parking_lot::Mutex::new(None);
    let noted = purchase::edit(local, tenant, account, |payments| {
        let checkout = Checkout {
            session: session.to_owned(),
            key: key.clone(),
        };
        let earlier = payments.checkout().map(|earlier| earlier.session.clone());
        *displaced.lock() = earlier.filter(|earlier| earlier != session);
        payments.open_checkout(checkout);
    });
    noted.await.map_err(refusal)?.ok_or(Refusal::UnknownKey)?;
    let Some(earlier) = displaced.into_inner() else {
        return Ok(());
    };
    let closed = close(tenant, client, &earlier).await;
    if closed.is_err() {
        // Ignored: it ends within the hour.
        let _ = client.expire_session(session).await;
    }
    closed
}

fn already_subscribed() -> Refusal {
    let why =
        "The account has a subscription; it is changed and ended in the portal (billing/portal)";
    Refusal::Conflict(why.to_owned())
}

/// Counts a visit to the portal. 429 if there were too many within the hour.
pub(super) async fn count_portal(
    local: &Local,
    tenant: &Tenant,
    account: &AccountName,
) -> Result<(), Refusal> {
    count(local, tenant, account, "portal", MAX_PORTALS).await
}

async fn count(
    local: &Local,
    tenant: &Tenant,
    account: &AccountName,
    of: &str,
    requests: u64,
) -> Result<(), Refusal> {
    let window = Window {
        requests,
        span: SPAN,
    };
    let what = format!("{of}:{}", tenant.id);
    let counted = local
        .store
        .count(&what, &[(account.part(), window)])
        .await?;
    match counted {
        Counted::Passed => Ok(()),
        Counted::Limited { wait } => Err(Refusal::TooManyCheckouts { wait }),
    }
}

/// Closes the checkout of a plan that is still open, so that nobody pays for two. 409 if it was paid just now.
async fn close_earlier(
    tenant: &Tenant,
    client: &StripeClient,
    payments: &Payments,
    key: &str,
) -> Result<(), Refusal> {
    let earlier = payments.checkout().filter(|earlier| earlier.key != key);
    match earlier {
        Some(earlier) => close(tenant, client, &earlier.session).await,
        None => Ok(()),
    }
}

/// Closes a checkout that is open. 409 if its subscription lives, or is about to.
async fn close(tenant: &Tenant, client: &StripeClient, session: &str) -> Result<(), Refusal> {
    let fail = |failure| failed(tenant, "close an earlier checkout", failure);
    match client.close_session(session).await.map_err(fail)? {
        Closing::Closed => Ok(()),
        Closing::Changing(_) => Err(under_way()),
        Closing::Subscribed(id) => {
            let subscription = client.subscription(&id).await.map_err(fail)?;
            match SubscriptionStanding::of(&subscription.status) {
                SubscriptionStanding::Ended => Ok(()),
                _ => Err(under_way()),
            }
        }
    }
}

fn under_way() -> Refusal {
    let why = "A subscription of this account is being completed; see auth/me in a moment";
    Refusal::Conflict(why.to_owned())
}

fn refusal(failure: PurchaseFailure) -> Refusal {
    match failure {
        PurchaseFailure::Store(error) => Refusal::Store(error),
        PurchaseFailure::Stripe(failure) => failure.into(),
        PurchaseFailure::Contended => Refusal::BillingUnavailable,
    }
}

/// A purchase that is to be made.
struct Buying<'a> {
    tenant: &'a Tenant,
    account: &'a AccountName,
    item: &'a BoughtItem<'a>,
    call: &'a api::Checkout,
    payments: &'a Payments,
    /// Minutes since 1970.
    minute: u64,
}

impl Buying<'_> {
    fn trial_days(&self) -> Option<u64> {
        match self.item.kind {
            ItemKind::Plan { trial_days } => trial_days.filter(|_| !self.payments.has_had_trial()),
            ItemKind::TopUp { .. } => None,
        }
    }

    /// Returns the name by which Stripe knows the same purchase of the same minute again.
    fn idempotency_key(&self) -> String {
        let minute = self.minute.to_string();
        let days = self.trial_days().unwrap_or(0).to_string();
        // Who has just bought something may buy it again.
        let bought = self.payments.entries().len().to_string();
        let parts = [
            self.tenant.id.as_str(),
            self.account.part(),
            &self.payments.id,
            self.item.price,
            &self.item.grant,
            &days,
            &bought,
            self.payments.checkout().map_or("", |noted| &noted.session),
            self.payments.customer().unwrap_or_default(),
            &self.call.success_url,
            self.call.cancel_url.as_deref().unwrap_or_default(),
            &minute,
        ];
        format!("resullm-{}", digest::short_name(&parts))
    }

    /// Makes the session. A customer that Stripe does not know any more is left out.
    async fn session(&self, client: &StripeClient, key: &str) -> Result<StripeSession, Refusal> {
        let customer = self.payments.customer();
        let made = self.make(client, customer, key).await;
        let made = match made {
            Err(failure) if failure.is_missing_param("customer") => {
                self.make(client, None, &format!("{key}-anew")).await
            }
            made => made,
        };
        made.map_err(|failure| failed(self.tenant, "make a checkout", failure))
    }

    async fn make(
        &self,
        client: &StripeClient,
        customer: Option<&str>,
        key: &str,
    ) -> Result<StripeSession, StripeFailure> {
        let (mode, data) = match self.item.kind {
            ItemKind::Plan { .. } => ("subscription", "subscription_data"),
            ItemKind::TopUp { .. } => ("payment", "payment_intent_data"),
        };
        let name = match self.item.kind {
            ItemKind::Plan { .. } => "",
            ItemKind::TopUp { name } => name,
        };
        let days = self.trial_days().map(|days| days.to_string());
        let expires_at = (self.minute * 60 + SESSION_LIFE_SECONDS).to_string();
        let metadata = [
            ("tenant", self.tenant.id.as_str()),
            ("account", self.account.part()),
            ("purchases", &self.payments.id),
            ("grant", &self.item.grant),
            ("item", name),
        ];
        let mut fields: Vec<(String, &str)> = Vec::new();
        let mut add = |name: &str, value| fields.push((name.to_owned(), value));
        add("mode", mode);
        add("expires_at", &expires_at);
        add("success_url", &self.call.success_url);
        if let Some(page) = &self.call.cancel_url {
            add("cancel_url", page);
        }
        add("client_reference_id", self.account.part());
        add("line_items[0][price]", self.item.price);
        add("line_items[0][quantity]", "1");
        match customer {
            Some(customer) => add("customer", customer),
            None if mode == "payment" => add("customer_creation", "always"),
            None => {}
        }
        for (name, value) in metadata.into_iter().filter(|(_, value)| !value.is_empty()) {
            add(&format!("metadata[{name}]"), value);
            add(&format!("{data}[metadata][{name}]"), value);
        }
        if let Some(days) = &days {
            add("subscription_data[trial_period_days]", days);
        }
        let fields: Vec<(&str, &str)> = fields
            .iter()
            .map(|(name, value)| (name.as_str(), *value))
            .collect();
        client.make_session(&fields, key).await
    }
}
