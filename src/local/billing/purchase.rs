//! Changes of an account by what it has paid: read the payments, ask Stripe, and write what follows from both, if
//! nobody has changed them meanwhile.
//!
//! Stripe is asked after the payments were read. So what is written rests on an answer that is newer than every change
//! before it, and of two events at once the older answer never wins.

use super::catalogue;
use super::owner::Owner;
use crate::local::{Local, accounts};
use crate::rules::amount::{Millis, Tokens};
use crate::rules::entry::group;
use crate::rules::payments::book::{Paid, Pay};
use crate::rules::payments::facts::{
    InvoiceLine, PaidInvoice, PaidTopUp, PlanPrice, SubscriptionNow, SubscriptionStanding, ToldBy,
};
use crate::rules::payments::{PaymentChange, Payments};
use crate::rules::record;
use crate::store::name::AccountName;
use crate::store::tenants::Tenant;
use crate::store::{Outcome, StoreError};
use crate::stripe::client::{Called, StripeClient, StripeFailure};
use crate::stripe::objects::{Invoice, InvoicePayment, Line, Subscription};
use std::collections::BTreeMap;

/// Tries of a change before it is given up; Stripe sends its event again.
const MAX_TRIES: u32 = 10;

/// Question that an event makes the gateway ask, or fact that it makes it note.
pub(super) enum Inquiry {
    TopUp {
        paid: PaidTopUp,
        customer: Option<String>,
    },
    Subscription {
        id: String,
        told: ToldBy,
    },
    Refunds {
        intent: String,
    },
    Dispute {
        id: String,
    },
}

impl Inquiry {
    /// Returns the ID of the Stripe object that is asked for.
    fn object(&self) -> &str {
        match self {
            Inquiry::TopUp { paid, .. } => &paid.session,
            Inquiry::Refunds { intent } => intent,
            Inquiry::Subscription { id, .. } | Inquiry::Dispute { id } => id,
        }
    }
}

/// Outcome of an inquiry.
#[derive(Debug)]
pub(super) enum Inquired {
    Done(Box<Applied>),
    /// The account is gone, or another one than the one that paid.
    Gone,
    /// The object is not of this account after all.
    NotTheirs,
}

/// A change that was made.
#[derive(Debug)]
pub(super) struct Applied {
    pub change: PaymentChange,
    pub payments: Payments,
    /// Whether only the payments of a deleted account were changed.
    pub is_deleted: bool,
    /// Tokens that each object had granted before.
    pub before: BTreeMap<String, Tokens>,
    pub group_before: String,
    pub left: Tokens,
    /// Label of the account in usage records.
    pub label: String,
}

/// Reason why a change was not made. A repeat can help.
#[derive(Debug)]
pub(super) enum PurchaseFailure {
    Store(StoreError),
    Stripe(StripeFailure),
    /// Other events of the account were quicker, again and again.
    Contended,
}

impl From<StoreError> for PurchaseFailure {
    fn from(error: StoreError) -> PurchaseFailure {
        PurchaseFailure::Store(error)
    }
}

impl From<StripeFailure> for PurchaseFailure {
    fn from(failure: StripeFailure) -> PurchaseFailure {
        PurchaseFailure::Stripe(failure)
    }
}

/// Returns the tenant's client for an event, which may have been on its way when the tenant's payments ended.
pub(super) async fn client(
    local: &Local,
    tenant: &Tenant,
) -> Result<StripeClient, PurchaseFailure> {
    local.billing.client(tenant).await.map_err(|_| {
        let why = "the tenant has no Stripe account any more".to_owned();
        PurchaseFailure::Stripe(StripeFailure::Unavailable(why))
    })
}

/// Payments of an account as they were read.
pub(super) struct OpenPayments {
    pub payments: Payments,
    /// Whether the account was deleted, and only its payments are kept.
    pub is_deleted: bool,
    version: u64,
    group: String,
    label: String,
    /// Moment at which the reading began.
    asked: Millis,
    /// Tokens that each object had granted.
    before: BTreeMap<String, Tokens>,
}

/// Reads the payments of an account, of a deleted one too while they are kept. `None`: there is no such account. Without
/// any they have no ID.
pub(super) async fn open(
    local: &Local,
    tenant: &Tenant,
    account: &AccountName,
) -> Outcome<Option<OpenPayments>> {
    let asked = accounts::now();
    let record = local.store.person(account, &tenant.id).await?;
    let Some(book) = local.store.payments(account).await? else {
        return Ok(None);
    };
    let damaged = |damage| StoreError::Damaged {
        name: account.id(),
        damage,
    };
    let facts = record
        .as_deref()
        .map(record::read)
        .transpose()
        .map_err(damaged)?;
    if facts.is_none() && book.is_empty() {
        return Ok(None);
    }
    let payments = match book.is_empty() {
        true => Payments::default(),
        false => Payments::read(&book.text).map_err(damaged)?,
    };
    let granted = payments.entries().into_iter();
    let label = facts.as_ref().and_then(|facts| facts.label.clone());
    Ok(Some(OpenPayments {
        is_deleted: facts.is_none(),
        version: book.version,
        group: facts.map_or_else(String::new, |facts| group(&facts, "user_")),
        label: label.unwrap_or_else(|| account.id()),
        before: granted.map(|entry| (entry.object, entry.tokens)).collect(),
        asked,
        payments,
    }))
}

impl OpenPayments {
    /// Writes the payments with what follows from them. `cause`: ID of the object, for the ledger. `None`: somebody else
    /// has changed them.
    pub(super) async fn write(
        mut self,
        local: &Local,
        tenant: &Tenant,
        account: &AccountName,
        cause: &str,
    ) -> Outcome<Option<Applied>> {
        let change = self.payments.change(&self.group);
        let pay = Pay {
            tenant: tenant.id.to_string(),
            expected: self.version,
            group_before: self.group.clone(),
            text: self.payments.text(),
            cause: cause.to_owned(),
            asked: self.asked,
            gain: change.gain,
            back: change.back,
            // A deleted account is in no group.
            group: change.group.clone().filter(|_| !self.is_deleted),
        };
        match local.store.pay(account, &pay).await? {
            // Whoever has deleted the account has also changed its payments.
            None | Some(Paid::Changed) => Ok(None),
            Some(Paid::Done { left, .. }) => {
                if change.group.is_some() && !self.is_deleted {
                    forget_terms(local, account).await;
                }
                let label = self.label;
                Ok(Some(Applied {
                    change,
                    payments: self.payments,
                    is_deleted: self.is_deleted,
                    before: self.before,
                    group_before: self.group,
                    left,
                    label,
                }))
            }
        }
    }
}

/// Makes this instance ask the store for the account's group with its next call. Others do within a second.
async fn forget_terms(local: &Local, account: &AccountName) {
    if let Ok(Some(keys)) = local.store.keys(account).await {
        let ids: Vec<_> = keys.iter().map(|listed| listed.id).collect();
        local.leases.invalidate_ids(&ids);
    }
}

/// Changes payments by what is known already. `None`: there is no such account.
pub(super) async fn edit(
    local: &Local,
    tenant: &Tenant,
    account: &AccountName,
    edit: impl Fn(&mut Payments) + Send + Sync,
) -> Result<Option<Applied>, PurchaseFailure> {
    for _ in 0..MAX_TRIES {
        let Some(mut opened) = open(local, tenant, account).await? else {
            return Ok(None);
        };
        if opened.is_deleted {
            return Ok(None);
        }
        edit(&mut opened.payments);
        if let Some(applied) = opened.write(local, tenant, account, "").await? {
            return Ok(Some(applied));
        }
    }
    Err(PurchaseFailure::Contended)
}

/// Brings an account to what an inquiry finds.
pub(super) async fn apply(
    local: &Local,
    tenant: &Tenant,
    owner: &Owner,
    inquiry: &Inquiry,
) -> Result<Inquired, PurchaseFailure> {
    let asked = Inquirer {
        local,
        tenant,
        owner,
    };
    for _ in 0..MAX_TRIES {
        let opened = open(local, tenant, &owner.account).await?;
        let Some(mut opened) = opened.filter(|opened| opened.payments.id == owner.purchases) else {
            return Ok(Inquired::Gone);
        };
        if !asked.take(inquiry, &mut opened).await? {
            return Ok(Inquired::NotTheirs);
        }
        let written = opened.write(local, tenant, &owner.account, inquiry.object());
        if let Some(applied) = written.await? {
            return Ok(Inquired::Done(Box::new(applied)));
        }
    }
    Err(PurchaseFailure::Contended)
}

/// Asks Stripe about an account.
struct Inquirer<'a> {
    local: &'a Local,
    tenant: &'a Tenant,
    owner: &'a Owner,
}

impl Inquirer<'_> {
    /// Notes what Stripe says now. False: the object is of somebody else.
    async fn take(
        &self,
        inquiry: &Inquiry,
        opened: &mut OpenPayments,
    ) -> Result<bool, PurchaseFailure> {
        let payments = &mut opened.payments;
        match inquiry {
            Inquiry::TopUp { paid, customer } => {
                if let Some(customer) = customer {
                    payments.link(customer);
                }
                if let Some(intent) = &paid.intent {
                    payments.take_refunds(intent, self.refunded(intent).await?);
                }
                payments.top_up(paid.clone());
                Ok(true)
            }
            Inquiry::Subscription { id, told } => self.take_subscription(id, told, opened).await,
            Inquiry::Refunds { intent } => {
                payments.take_refunds(intent, self.refunded(intent).await?);
                Ok(true)
            }
            Inquiry::Dispute { id } => {
                let dispute = client(self.local, self.tenant).await?.dispute(id).await?;
                if let Some(intent) = &dispute.payment_intent {
                    payments.take_dispute(intent, id, dispute.withdrawn());
                }
                Ok(true)
            }
        }
    }

    async fn refunded(&self, intent: &str) -> Result<u64, PurchaseFailure> {
        let refunds = client(self.local, self.tenant)
            .await?
            .refunds(intent)
            .await?;
        let counted = refunds.iter().filter(|refund| refund.counts());
        Ok(counted.fold(0, |sum, refund| sum.saturating_add(refund.amount)))
    }

    async fn take_subscription(
        &self,
        id: &str,
        told: &ToldBy,
        opened: &mut OpenPayments,
    ) -> Result<bool, PurchaseFailure> {
        let client = client(self.local, self.tenant).await?;
        let mut now = client.subscription(id).await?;
        if !self.owner.owns(self.tenant, &now.metadata) {
            return Ok(false);
        }
        if opened.is_deleted {
            // Nobody uses it, and somebody pays it.
            now = end(&client, now).await?;
        }
        let Some(customer) = now.customer.clone() else {
            return Ok(false);
        };
        let payments = &mut opened.payments;
        let prices: Vec<String> = now.prices().map(str::to_owned).collect();
        let plans = prices.iter();
        let plans = plans.filter_map(|price| catalogue::plan_of(&self.tenant.config, price));
        let plan = plans.max_by_key(|plan| plan.tokens);
        payments.take_subscription(
            &SubscriptionNow {
                id: id.to_owned(),
                customer: customer.clone(),
                standing: SubscriptionStanding::of(&now.status),
                prices,
                plan,
            },
            told,
        );
        let mut paid = Vec::new();
        // Stripe lists the newest first.
        for invoice in client.paid_invoices(&customer).await?.into_iter().rev() {
            let metadata = invoice.metadata();
            if invoice.is_paid()
                && metadata.is_some_and(|metadata| self.owner.owns(self.tenant, metadata))
            {
                paid.push(self.paid(&client, invoice, payments).await?);
            }
        }
        payments.take_invoices(&customer, &paid, told);
        Ok(true)
    }

    /// Returns an invoice with what its lines buy, and with the intents that have paid it.
    async fn paid(
        &self,
        client: &StripeClient,
        invoice: Invoice,
        payments: &Payments,
    ) -> Called<PaidInvoice> {
        let mut lines = Vec::new();
        for line in invoice.lines.iter().flat_map(|lines| &lines.data) {
            lines.extend(self.line(client, line).await?);
        }
        let intents = match payments.intents_of(&invoice.id) {
            Some(known) => known.to_vec(),
            None if invoice.amount_paid <= 0 => Vec::new(),
            None => intents(client, &invoice).await?,
        };
        Ok(PaidInvoice {
            created_seconds: invoice.created,
            total: invoice.total.max(invoice.amount_paid).max(0).unsigned_abs(),
            id: invoice.id,
            lines,
            intents,
        })
    }

    /// Returns a line with what its price buys. `None`: its amount was set by hand, and buys nothing.
    async fn line(&self, client: &StripeClient, line: &Line) -> Called<Option<InvoiceLine>> {
        let Some(id) = line.price() else {
            return Ok(None);
        };
        let amount = line.net();
        let tokens = catalogue::plan_of(&self.tenant.config, id).map(|plan| plan.tokens);
        let price = match tokens.filter(|_| amount != 0) {
            None => None,
            Some(tokens) => {
                let prices = &self.local.billing.prices;
                let currency = Some(line.currency.as_str());
                let price = prices.of(self.tenant.id.as_str(), client, id, currency);
                let price = price.await?;
                let amount = price.amount_in(&line.currency);
                amount.map(|amount| PlanPrice { amount, tokens })
            }
        };
        Ok(Some(InvoiceLine { price, amount }))
    }
}

/// Returns the tokens that a change has granted, less what it has taken back or was to.
pub(super) fn moved(change: &PaymentChange) -> i64 {
    let count = |tokens: Tokens| i64::try_from(tokens.count()).unwrap_or(i64::MAX);
    let (before, after) = change.back;
    count(change.gain) + count(before) - count(after)
}

/// Ends a subscription: with the period that is paid, or at once if none is. One that has ended stays as it is. Returns
/// the subscription as it is then.
pub(super) async fn end(client: &StripeClient, subscription: Subscription) -> Called<Subscription> {
    let id = subscription.id.as_str();
    let ended = match subscription.status.as_str() {
        "canceled" | "incomplete_expired" => return Ok(subscription),
        "active" | "trialing" | "past_due" if subscription.cancel_at_period_end => {
            return Ok(subscription);
        }
        "active" | "trialing" | "past_due" => client.cancel_at_period_end(id).await,
        _ => client.cancel(id).await,
    };
    match ended {
        Err(failure) if failure.is_missing() => Ok(subscription),
        ended => ended,
    }
}

async fn intents(client: &StripeClient, invoice: &Invoice) -> Called<Vec<String>> {
    if let Some(intent) = &invoice.payment_intent {
        return Ok(vec![intent.clone()]);
    }
    let payments = client.payments_of_invoice(&invoice.id).await?;
    Ok(payments
        .into_iter()
        .filter_map(InvoicePayment::intent)
        .collect())
}
