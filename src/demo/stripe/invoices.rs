//! Invoices: made and finalized, then paid, refused by the card, or left to a slow bank.
//!
//! The customer's balance is used up before the card. A negative total, or one below the minimum charge, goes to the
//! balance, and the invoice is paid without a payment.

use super::data::{AccountData, News, previous_attributes};
use super::payments::{self, NewPayment};
use super::records::{BillingReason, Invoice, InvoiceStatus, Line, Metadata, Span, Subscription};
use super::render;
use super::shape::ApiShape;

/// Makes an invoice and finalizes it. Returns its id, with `invoice.created` and what follows it.
pub(super) fn open(
    data: &mut AccountData,
    of: &Subscription,
    reason: BillingReason,
    lines: Vec<Line>,
) -> (String, Vec<News>) {
    let id = data.id("in");
    let now = data.now();
    let period = match reason {
        BillingReason::Cycle => of.period,
        BillingReason::Create | BillingReason::Update => Span {
            start: now,
            end: now,
        },
    };
    let invoice = Invoice {
        payment_id: data.id("inpay"),
        number: format!("STANDIN-{:04}", data.invoices.oldest_first().count() + 1),
        subscription: of.id.clone(),
        subscription_metadata: of.metadata.clone(),
        customer: of.customer.clone(),
        currency: of.item.price.currency.clone(),
        reason,
        status: InvoiceStatus::Draft,
        lines,
        period,
        starting_balance: balance(data, &of.customer),
        ending_balance: 0,
        amount_due: 0,
        amount_paid: 0,
        attempts: 0,
        payment_intent: None,
        created: now,
        paid_at: None,
        id: id.clone(),
    };
    data.invoices.insert(invoice);
    let mut news = told(data, &id, &["invoice.created"]);
    news.extend(finalize(data, &id));
    (id, news)
}

fn balance(data: &AccountData, customer: &str) -> i64 {
    data.customers
        .find(customer)
        .map_or(0, |known| known.balance)
}

/// Settles the total against the customer's balance.
fn finalize(data: &mut AccountData, id: &str) -> Vec<News> {
    let minimum = data.minimum_charge;
    let Some(invoice) = data.invoices.find_mut(id) else {
        return Vec::new();
    };
    let due = invoice.total() + invoice.starting_balance;
    invoice.status = InvoiceStatus::Open;
    if due < minimum.max(1) {
        invoice.ending_balance = due;
    } else {
        invoice.amount_due = due;
    }
    let (customer, ending) = (invoice.customer.clone(), invoice.ending_balance);
    let mut news = told(data, id, &["invoice.finalized"]);
    news.extend(set_balance(data, &customer, ending));
    news
}

fn set_balance(data: &mut AccountData, customer: &str, balance: i64) -> Option<News> {
    let known = data.customers.find(customer)?;
    let before = render::customer(data, known);
    data.customers.find_mut(customer)?.balance = balance;
    let after = render::customer(data, data.customers.find(customer)?);
    let previous = previous_attributes(&before, &after)?;
    Some(News {
        previous: Some(previous),
        ..News::new("customer.updated", after)
    })
}

/// Charges the card where something is due. Returns whether the invoice is paid.
pub(super) fn collect(data: &mut AccountData, id: &str) -> (bool, Vec<News>) {
    let due = data
        .invoices
        .find(id)
        .map_or(0, |invoice| invoice.amount_due);
    if due > 0 && data.card_declines {
        return (false, refuse(data, id));
    }
    (true, pay(data, id))
}

/// The payment arrived, or none was needed.
pub(super) fn pay(data: &mut AccountData, id: &str) -> Vec<News> {
    let intent = payment_of(data, id);
    let now = data.now();
    let charged = intent.map(|intent| payments::succeed(data, &intent));
    if let Some(invoice) = data.invoices.find_mut(id) {
        invoice.status = InvoiceStatus::Paid;
        invoice.amount_paid = invoice.amount_due;
        invoice.paid_at = Some(now);
        invoice.attempts += u32::from(invoice.amount_due > 0);
    }
    let mut news = told(data, id, &["invoice.paid", "invoice.payment_succeeded"]);
    if let Some(charged) = charged {
        news.extend(charged);
        if data.shape == ApiShape::Basil
            && let Some(invoice) = data.invoices.find(id)
        {
            let object = render::invoice_payment(data, invoice);
            news.push(News::new("invoice_payment.paid", object));
        }
    }
    news
}

/// The card, or the bank, refused.
pub(super) fn refuse(data: &mut AccountData, id: &str) -> Vec<News> {
    let intent = payment_of(data, id);
    let mut news = intent.map_or_else(Vec::new, |intent| payments::fail(data, &intent));
    if let Some(invoice) = data.invoices.find_mut(id) {
        invoice.attempts += 1;
    }
    news.extend(told(data, id, &["invoice.payment_failed"]));
    news
}

/// A slow bank has the payment.
pub(super) fn process(data: &mut AccountData, id: &str) -> Vec<News> {
    let intent = payment_of(data, id);
    intent.map_or_else(Vec::new, |intent| payments::process(data, &intent))
}

/// Payment intent of an invoice, made where something is due and there is none yet.
fn payment_of(data: &mut AccountData, id: &str) -> Option<String> {
    let invoice = data.invoices.find(id)?;
    if invoice.amount_due == 0 || invoice.payment_intent.is_some() {
        return invoice.payment_intent.clone();
    }
    let new = NewPayment {
        amount: invoice.amount_due,
        currency: invoice.currency.clone(),
        customer: Some(invoice.customer.clone()),
        metadata: Metadata::new(),
        invoice: Some(id.to_owned()),
    };
    let intent = payments::begin(data, new);
    data.invoices.find_mut(id)?.payment_intent = Some(intent.clone());
    Some(intent)
}

fn told(data: &AccountData, id: &str, kinds: &[&'static str]) -> Vec<News> {
    let Some(invoice) = data.invoices.find(id) else {
        return Vec::new();
    };
    let object = render::invoice(data, invoice, data.shape);
    let news = kinds.iter().map(|kind| News::new(kind, object.clone()));
    news.collect()
}
