//! Checkout sessions: paid, paid later by a slow bank, expired.
//!
//! A session is completed once. Events come in Stripe's order: the customer, the session, then what was bought.

use super::data::{AccountData, News};
use super::error::StripeError;
use super::payments::{self, NewPayment};
use super::proration::percent_of;
use super::receipt::Receipt;
use super::records::{
    CheckoutMode, CheckoutPayment, CheckoutSession, CheckoutStatus, Customer, Discount,
};
use super::render;
use super::subscriptions;

/// The customer pays by card.
pub(super) fn pay(data: &mut AccountData, id: &str, origin: &str) -> Result<Receipt, StripeError> {
    let session = open_session(data, id)?;
    if data.card_declines && due(&session) > 0 {
        return Err(StripeError::declined());
    }
    complete(data, session, origin, false)
}

/// The customer pays by a method that takes days: the session completes as `unpaid`.
pub(super) fn pay_later(
    data: &mut AccountData,
    id: &str,
    origin: &str,
) -> Result<Receipt, StripeError> {
    let session = open_session(data, id)?;
    let is_later = due(&session) > 0;
    complete(data, session, origin, is_later)
}

/// Amount that the session charges at once.
pub(super) fn due(session: &CheckoutSession) -> i64 {
    let subtotal = session.subtotal();
    let discount = session.discount.as_ref();
    subtotal - percent_of(subtotal, discount.map_or(0, |known| known.percent))
}

fn complete(
    data: &mut AccountData,
    mut session: CheckoutSession,
    origin: &str,
    is_later: bool,
) -> Result<Receipt, StripeError> {
    let needs_customer = session.makes_customer || session.mode == CheckoutMode::Subscription;
    let mut news = Vec::new();
    if needs_customer && session.customer.is_none() {
        let (customer, made) = new_customer(data);
        session.customer = Some(customer);
        news.push(made);
    }
    session.status = CheckoutStatus::Complete;
    session.payment_status = match (due(&session), is_later) {
        (0, _) => CheckoutPayment::NoPaymentRequired,
        (_, true) => CheckoutPayment::Unpaid,
        (_, false) => CheckoutPayment::Paid,
    };
    let bought = match session.mode {
        CheckoutMode::Payment => buy(data, &mut session, is_later),
        CheckoutMode::Subscription => subscribe(data, &mut session, is_later)?,
    };
    let object = render::checkout_session(data, &session, origin);
    news.push(News::new("checkout.session.completed", object));
    news.extend(bought);
    let receipt = receipt(data, &session);
    data.sessions.insert(session);
    data.announce(news);
    Ok(receipt)
}

fn new_customer(data: &mut AccountData) -> (String, News) {
    let customer = Customer {
        id: data.id("cus"),
        balance: 0,
        created: data.now(),
    };
    let object = render::customer(data, &customer);
    let id = customer.id.clone();
    data.customers.insert(customer);
    (id, News::new("customer.created", object))
}

fn buy(data: &mut AccountData, session: &mut CheckoutSession, is_later: bool) -> Vec<News> {
    let amount = due(session);
    if amount == 0 {
        return Vec::new();
    }
    let new = NewPayment {
        amount,
        currency: session.currency().to_owned(),
        customer: session.customer.clone(),
        metadata: session.payment_metadata.clone(),
        invoice: None,
    };
    let intent = payments::begin(data, new);
    session.payment_intent = Some(intent.clone());
    if is_later {
        payments::process(data, &intent)
    } else {
        payments::succeed(data, &intent)
    }
}

fn subscribe(
    data: &mut AccountData,
    session: &mut CheckoutSession,
    is_later: bool,
) -> Result<Vec<News>, StripeError> {
    let customer = session.customer.clone().unwrap_or_default();
    let started = subscriptions::start(data, session, &customer, is_later)?;
    session.subscription = Some(started.subscription);
    session.invoice = Some(started.invoice);
    Ok(started.news)
}

/// The slow bank's answer to [`pay_later`].
pub(super) fn settle_later(
    data: &mut AccountData,
    id: &str,
    origin: &str,
    is_paid: bool,
) -> Result<Receipt, StripeError> {
    let mut session = find(data, id)?.clone();
    let is_waiting = session.status == CheckoutStatus::Complete
        && session.payment_status == CheckoutPayment::Unpaid;
    let is_answered = waiting_payment(data, &session).is_none();
    if !is_waiting || is_answered {
        return Err(StripeError::invalid("The session waits for no payment."));
    }
    let mut news = match (&session.subscription, &session.payment_intent) {
        (Some(subscription), _) => subscriptions::complete(data, subscription, is_paid),
        (None, Some(intent)) if is_paid => payments::succeed(data, intent),
        (None, Some(intent)) => payments::fail(data, intent),
        (None, None) => Vec::new(),
    };
    let kind = if is_paid {
        session.payment_status = CheckoutPayment::Paid;
        "checkout.session.async_payment_succeeded"
    } else {
        "checkout.session.async_payment_failed"
    };
    let object = render::checkout_session(data, &session, origin);
    news.push(News::new(kind, object));
    let receipt = receipt(data, &session);
    data.sessions.insert(session);
    data.announce(news);
    Ok(receipt)
}

/// Payment intent of a session that the bank has not answered.
fn waiting_payment(data: &AccountData, session: &CheckoutSession) -> Option<String> {
    let intent = receipt(data, session).payment_intent?;
    let payment = data.payments.find(&intent)?;
    let is_waiting = payment.status == super::records::PaymentStatus::Processing;
    is_waiting.then_some(intent)
}

/// The session was not paid in time.
pub(super) fn expire(data: &mut AccountData, id: &str, origin: &str) -> Result<(), StripeError> {
    let session = find(data, id)?;
    if session.status != CheckoutStatus::Open {
        let message =
            format!("Only Checkout Sessions with a status in [\"open\"] can be expired: {id}.");
        return Err(StripeError::invalid(message));
    }
    let expired = CheckoutSession {
        status: CheckoutStatus::Expired,
        ..session.clone()
    };
    let object = render::checkout_session(data, &expired, origin);
    data.sessions.insert(expired);
    data.announce(vec![News::new("checkout.session.expired", object)]);
    Ok(())
}

/// Applies a promotion code in percent to an open session; 0 removes it.
pub(super) fn discount(data: &mut AccountData, id: &str, percent: u8) -> Result<(), StripeError> {
    open_session(data, id)?;
    let coupon = data.id("di");
    if let Some(session) = data.sessions.find_mut(id) {
        session.discount = (percent > 0).then_some(Discount {
            id: coupon,
            percent,
        });
    }
    Ok(())
}

pub(super) fn find<'a>(
    data: &'a AccountData,
    id: &str,
) -> Result<&'a CheckoutSession, StripeError> {
    let found = data.sessions.find(id);
    found.ok_or_else(|| StripeError::missing("checkout.session", id).with_status(404))
}

fn open_session(data: &AccountData, id: &str) -> Result<CheckoutSession, StripeError> {
    let session = find(data, id)?;
    let is_open = session.status == CheckoutStatus::Open && data.now() < session.expires_at;
    if !is_open {
        return Err(StripeError::invalid("The session is no longer open."));
    }
    Ok(session.clone())
}

fn receipt(data: &AccountData, session: &CheckoutSession) -> Receipt {
    let invoice = session.invoice.as_deref();
    let invoice = invoice.and_then(|id| data.invoices.find(id));
    let of_invoice = invoice.and_then(|known| known.payment_intent.clone());
    Receipt {
        customer: session.customer.clone(),
        subscription: session.subscription.clone(),
        invoice: session.invoice.clone(),
        payment_intent: session.payment_intent.clone().or(of_invoice),
    }
}
