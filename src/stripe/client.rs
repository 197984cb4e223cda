//! [`StripeClient`]: the calls of Stripe's API that the gateway makes, with one tenant's key.

use super::objects::{
    Dispute, ErrorBody, Invoice, InvoicePayment, Line, ListPage, PaymentIntent, Portal, Price,
    Refund, StripeSession, Subscription,
};
use crate::dial::dialer::Reach;
use crate::fetch::{FetchCall, Fetcher, SentBody};
use crate::rules::identity::form;
use crate::tables::Secret;
use crate::url::Url;
use http::Method;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

/// API version that the calls ask for.
const VERSION: &str = "2025-03-31.basil";
/// Longest time of a call. Making a session takes Stripe a second or two.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Longest body of an answer: a page of invoices with their lines.
const MAX_ANSWER_BYTES: usize = 4 << 20;
/// Objects of a page.
const PAGE: usize = 20;
/// Most pages of a list that are read.
const MAX_PAGES: usize = 100;
/// Longest message of Stripe's that is passed on.
const MAX_MESSAGE_CHARS: usize = 300;

/// A tenant as a client of Stripe.
pub struct StripeClient {
    pub fetcher: Arc<Fetcher>,
    /// Address of the API, without a path or with the beginning of one.
    pub base: Url,
    pub key: Secret,
    /// Addresses that the API may have.
    pub reach: Reach,
}

/// Reason why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StripeFailure {
    /// There is none, or one of a server in trouble: repeating the call can help. The text is for the log.
    Unavailable(String),
    /// Stripe does not take the tenant's key. Its own words would show a part of the key.
    WrongKey,
    /// Stripe refuses the call as it is.
    Refused {
        status: u16,
        message: String,
        code: Option<String>,
        param: Option<String>,
    },
}

/// Outcome of the wish that nobody can pay a session any more.
pub enum Closing {
    Closed,
    /// It was paid or ended this very moment: repeating the call can help. The text is Stripe's.
    Changing(String),
    /// It was paid, and has begun this subscription.
    Subscribed(String),
}

pub type Called<T> = Result<T, StripeFailure>;

impl StripeFailure {
    /// Whether Stripe says that there is no such object.
    pub fn is_missing(&self) -> bool {
        matches!(self, StripeFailure::Refused { status: 404, .. })
            || self.has_code("resource_missing")
    }

    fn has_code(&self, wanted: &str) -> bool {
        matches!(self, StripeFailure::Refused { code: Some(code), .. } if code == wanted)
    }

    /// Whether the call names this parameter, and Stripe does not know what it says.
    pub fn is_missing_param(&self, name: &str) -> bool {
        self.has_code("resource_missing")
            && matches!(self, StripeFailure::Refused { param: Some(param), .. } if param == name)
    }
}

impl std::fmt::Display for StripeFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StripeFailure::Unavailable(why) => f.write_str(why),
            StripeFailure::WrongKey => {
                f.write_str("auth.stripe.api_key is not a key of Stripe's, or may not do this")
            }
            StripeFailure::Refused {
                status, message, ..
            } => write!(f, "{status} {message}"),
        }
    }
}

impl StripeClient {
    pub async fn make_session(
        &self,
        fields: &[(&str, &str)],
        idempotency: &str,
    ) -> Called<StripeSession> {
        self.post("checkout/sessions", fields, Some(idempotency))
            .await
    }

    pub async fn session(&self, id: &str) -> Called<StripeSession> {
        self.get(&format!("checkout/sessions/{}", form::encoded(id)), &[])
            .await
    }

    /// Ends a session that nobody has paid yet.
    pub async fn expire_session(&self, session: &str) -> Called<StripeSession> {
        let path = format!("checkout/sessions/{}/expire", form::encoded(session));
        self.post(&path, &[], None).await
    }

    /// Closes a session unless it was paid. One that Stripe does not know is closed.
    pub async fn close_session(&self, id: &str) -> Called<Closing> {
        let session = match self.session(id).await {
            Err(failure) if failure.is_missing() => return Ok(Closing::Closed),
            session => session?,
        };
        if session.status.as_deref() == Some("open") {
            return match self.expire_session(&session.id).await {
                Err(StripeFailure::Refused { message, .. }) => Ok(Closing::Changing(message)),
                expired => expired.map(|_| Closing::Closed),
            };
        }
        Ok(session
            .subscription
            .map_or(Closing::Closed, Closing::Subscribed))
    }

    pub async fn make_portal(&self, fields: &[(&str, &str)]) -> Called<Portal> {
        self.post("billing_portal/sessions", fields, None).await
    }

    pub async fn subscription(&self, id: &str) -> Called<Subscription> {
        self.get(&format!("subscriptions/{}", form::encoded(id)), &[])
            .await
    }

    /// Ends a subscription with the period that is paid.
    pub async fn cancel_at_period_end(&self, id: &str) -> Called<Subscription> {
        let path = format!("subscriptions/{}", form::encoded(id));
        self.post(&path, &[("cancel_at_period_end", "true")], None)
            .await
    }

    /// Ends a subscription at once.
    pub async fn cancel(&self, id: &str) -> Called<Subscription> {
        let path = format!("subscriptions/{}", form::encoded(id));
        self.call(Method::DELETE, &path, None, None).await
    }

    /// Returns all subscriptions of a customer.
    pub async fn subscriptions(&self, customer: &str) -> Called<Vec<Subscription>> {
        let fields = [("customer", customer), ("status", "all")];
        self.list("subscriptions", &fields, |of: &Subscription| &of.id)
            .await
    }

    pub async fn invoice(&self, id: &str) -> Called<Invoice> {
        self.get(&format!("invoices/{}", form::encoded(id)), &[])
            .await
    }

    /// Returns all paid invoices of a customer, from the newest to the oldest, with all their lines.
    pub async fn paid_invoices(&self, customer: &str) -> Called<Vec<Invoice>> {
        let fields = [("customer", customer), ("status", "paid")];
        let mut invoices: Vec<Invoice> = self
            .list("invoices", &fields, |invoice: &Invoice| &invoice.id)
            .await?;
        for invoice in &mut invoices {
            let lines = invoice.lines.take();
            let lines = match lines {
                Some(page) if !page.has_more => page.data,
                _ => self.lines(&invoice.id).await?,
            };
            invoice.lines = Some(ListPage {
                data: lines,
                has_more: false,
            });
        }
        Ok(invoices)
    }

    async fn lines(&self, invoice: &str) -> Called<Vec<Line>> {
        let path = format!("invoices/{}/lines", form::encoded(invoice));
        self.list(&path, &[], |line: &Line| &line.id).await
    }

    /// Returns the payments of an invoice.
    pub(crate) async fn payments_of_invoice(&self, invoice: &str) -> Called<Vec<InvoicePayment>> {
        let page: ListPage<InvoicePayment> = self
            .get(
                "invoice_payments",
                &[("invoice", invoice), ("limit", "100")],
            )
            .await?;
        Ok(page.data)
    }

    /// Returns the payments of invoices that a payment intent has made.
    pub(crate) async fn invoices_of_intent(&self, intent: &str) -> Called<Vec<InvoicePayment>> {
        let fields = [
            ("payment[type]", "payment_intent"),
            ("payment[payment_intent]", intent),
        ];
        let page: ListPage<InvoicePayment> = self.get("invoice_payments", &fields).await?;
        Ok(page.data)
    }

    pub async fn intent(&self, id: &str) -> Called<PaymentIntent> {
        self.get(&format!("payment_intents/{}", form::encoded(id)), &[])
            .await
    }

    pub async fn refunds(&self, intent: &str) -> Called<Vec<Refund>> {
        let fields = [("payment_intent", intent)];
        self.list("refunds", &fields, |refund: &Refund| &refund.id)
            .await
    }

    pub async fn dispute(&self, id: &str) -> Called<Dispute> {
        self.get(&format!("disputes/{}", form::encoded(id)), &[])
            .await
    }

    pub async fn price(&self, id: &str) -> Called<Price> {
        let path = format!("prices/{}", form::encoded(id));
        self.get(&path, &[("expand[]", "currency_options")]).await
    }

    /// Reads a list page by page.
    async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        fields: &[(&str, &str)],
        id: impl Fn(&T) -> &String + Send + Sync,
    ) -> Called<Vec<T>> {
        let limit = PAGE.to_string();
        let mut all: Vec<T> = Vec::new();
        for _ in 0..MAX_PAGES {
            let last = all.last().map(|last| id(last).clone());
            let mut fields = fields.to_vec();
            fields.push(("limit", &limit));
            if let Some(last) = &last {
                fields.push(("starting_after", last));
            }
            let page: ListPage<T> = self.get(path, &fields).await?;
            let is_last = !page.has_more || page.data.is_empty();
            all.extend(page.data);
            if is_last {
                return Ok(all);
            }
        }
        let why = format!("a list has more than {MAX_PAGES} pages");
        Err(StripeFailure::Refused {
            status: 200,
            message: why,
            code: None,
            param: None,
        })
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, fields: &[(&str, &str)]) -> Called<T> {
        let query = match fields.is_empty() {
            true => String::new(),
            false => format!("?{}", bracketed(fields)),
        };
        self.call(Method::GET, &format!("{path}{query}"), None, None)
            .await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        fields: &[(&str, &str)],
        idempotency: Option<&str>,
    ) -> Called<T> {
        let form = bracketed(fields);
        self.call(Method::POST, path, Some(&form), idempotency)
            .await
    }

    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        form: Option<&str>,
        idempotency: Option<&str>,
    ) -> Called<T> {
        let base = self.base.path().trim_end_matches('/');
        let url = Url {
            path_and_query: format!("{base}/v1/{path}"),
            ..self.base.clone()
        };
        let mut fields = vec![("stripe-version", VERSION)];
        fields.extend(idempotency.map(|key| ("idempotency-key", key)));
        let authorization = format!("Bearer {}", self.key.expose());
        let call = FetchCall {
            method,
            authorization: Some(&authorization),
            fields: &fields,
            content: form.map(SentBody::form),
            timeout: TIMEOUT,
            max_body_bytes: MAX_ANSWER_BYTES,
            reach: self.reach,
        };
        let fetched = self.fetcher.call(&url, &call).await;
        let fetched = fetched.map_err(|failure| StripeFailure::Unavailable(failure.0))?;
        let status = fetched.status.as_u16();
        if fetched.status.is_success() {
            // The parser's error would quote the answer.
            return serde_json::from_slice(&fetched.body).map_err(|_| {
                StripeFailure::Unavailable(format!(
                    "{} gave an answer that cannot be read",
                    url.host
                ))
            });
        }
        Err(failure(&url, status, &fetched.body))
    }
}

/// Returns what an error means.
fn failure(url: &Url, status: u16, body: &[u8]) -> StripeFailure {
    let error = serde_json::from_slice::<ErrorBody>(body)
        .unwrap_or_default()
        .error;
    let message: String = error
        .message
        .unwrap_or_else(|| "without a message".to_owned());
    let message: String = message.chars().take(MAX_MESSAGE_CHARS).collect();
    match status {
        401 | 403 => StripeFailure::WrongKey,
        400 | 402 | 404 | 410 | 422 => StripeFailure::Refused {
            status,
            message,
            code: error.code,
            param: error.param,
        },
        _ => StripeFailure::Unavailable(format!("{} answered {status}: {message}", url.host)),
    }
}

/// Returns a form of these fields. Brackets of names stay as they are, as Stripe's own clients write them.
fn bracketed(fields: &[(&str, &str)]) -> String {
    let pairs = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", form::encoded(value)));
    pairs.collect::<Vec<String>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_refused_or_worth_a_repeat() {
        let url = Url::parse("https://api.stripe.com").unwrap();
        let body = br#"{"error":{"message":"No such price: 'p'","code":"resource_missing","param":"line_items[0][price]"}}"#;
        let refused = failure(&url, 400, body);
        assert!(refused.is_missing() && refused.is_missing_param("line_items[0][price]"));
        assert!(!refused.is_missing_param("customer"));
        assert_eq!(refused.to_string(), "400 No such price: 'p'");
        assert_eq!(failure(&url, 401, body), StripeFailure::WrongKey);
        for status in [409, 429, 500, 503, 302] {
            let failed = failure(&url, status, b"<html>");
            assert!(matches!(failed, StripeFailure::Unavailable(_)), "{status}");
        }
    }

    #[test]
    fn values_of_a_form_cannot_add_fields() {
        let form = bracketed(&[("metadata[account]", "p&x=1"), ("a", "b c")]);
        assert_eq!(form, "metadata[account]=p%26x%3D1&a=b%20c");
    }
}
