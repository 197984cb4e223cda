//! A stand-in for Stripe on loopback: accounts in memory, the HTTP API that a gateway calls, pages to click on, and
//! events signed as Stripe signs them.
//!
//! People without a Stripe account try payments with it, and tests take it as a library. A test sets the clock, acts
//! for customers and the merchant through [`StripeAccount`], and sends [`StripeAccount::events`] itself in any order
//! after [`StripeAccount::hold_events`]; otherwise events are delivered through [`Deliver`], in order, and redelivered
//! with backoff. An account is known by its API key and exists from [`StandIn::account`] on. Ids of the form
//! `price_plus_1200_month` describe themselves, so no price needs to be set up.
//!
//! The stand-in must never listen beyond loopback, forgets everything with the process, and does not depend on the
//! gateway.

mod account;
mod api;
mod calendar;
mod calls;
mod cancellation;
mod checkout;
mod collection;
mod data;
mod error;
mod events;
mod form;
mod invoices;
mod lines;
mod pages;
mod payments;
mod plan_change;
mod proration;
mod receipt;
mod records;
mod render;
mod reversals;
mod shape;
mod subscriptions;

pub use account::StripeAccount;
pub use calls::ReceivedCall;
pub use cancellation::GiveUp;
pub use error::StripeError;
pub use events::{Deliver, SignedEvent, UnixClock, system_clock};
pub use plan_change::Proration;
pub use receipt::Receipt;
pub use records::Interval;
pub use shape::ApiShape;

use api::ApiRequest;
use bytes::Bytes;
use data::AccountData;
use events::{MAX_WAITING_EVENTS, Signer, deliver_all};
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    LOCATION, REFERRER_POLICY,
};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pages::HtmlReply;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use uuid::Uuid;

const MAX_ACCOUNTS: usize = 1_000;
const MAX_CONNECTIONS: usize = 256;
const MAX_BODY_BYTES: usize = 64 << 10;
/// Backoff after a failed `accept`, usually for lack of file descriptors.
const AFTER_FAILED_ACCEPT: Duration = Duration::from_millis(50);
/// Pages load nothing. Without `form-action`, a form may be redirected to the gateway's `success_url`.
const PAGE_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'";

type StripeReply = Response<Full<Bytes>>;

/// A running stand-in. It stops listening when it is dropped.
pub struct StandIn {
    address: SocketAddr,
    clock: UnixClock,
    destination: Arc<dyn Deliver>,
    accounts: Mutex<HashMap<String, Arc<StripeAccount>>>,
    /// Bytes kept over all accounts.
    bytes: Arc<AtomicUsize>,
    runtime: Handle,
    accepting: JoinHandle<()>,
}

impl StandIn {
    /// Listens on a free port of `127.0.0.1` and serves in background tasks of the present runtime.
    pub async fn start(
        clock: UnixClock,
        destination: Arc<dyn Deliver>,
    ) -> io::Result<Arc<StandIn>> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let runtime = Handle::current();
        Ok(Arc::new_cyclic(|weak: &Weak<StandIn>| StandIn {
            address,
            clock,
            destination,
            accounts: Mutex::default(),
            bytes: Arc::default(),
            accepting: runtime.spawn(accept(listener, weak.clone())),
            runtime,
        }))
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Account of an API key, which is made where there is none yet.
    pub fn account(&self, key: &str) -> Result<Arc<StripeAccount>, StripeError> {
        let mut accounts = self.accounts.lock();
        if let Some(known) = accounts.get(key) {
            return Ok(Arc::clone(known));
        }
        if accounts.len() >= MAX_ACCOUNTS {
            return Err(StripeError::full());
        }
        let account = Arc::new(self.new_account(key));
        accounts.insert(key.to_owned(), Arc::clone(&account));
        Ok(account)
    }

    fn new_account(&self, key: &str) -> StripeAccount {
        let signer = Arc::new(Signer::new(key, Arc::clone(&self.clock)));
        let (waiting, queue) = mpsc::channel(MAX_WAITING_EVENTS);
        let delivery = deliver_all(queue, Arc::clone(&signer), Arc::clone(&self.destination));
        self.runtime.spawn(delivery);
        let livemode = key.starts_with("sk_live_") || key.starts_with("rk_live_");
        let (clock, bytes) = (Arc::clone(&self.clock), Arc::clone(&self.bytes));
        let data = AccountData::new(livemode, clock, waiting, bytes);
        let dashboard = Uuid::new_v4().simple().to_string();
        let origin = format!("http://{}", self.address);
        StripeAccount::new(key, origin, dashboard, signer, data)
    }

    /// Account of the call's `Authorization`.
    fn authenticate(&self, head: &Parts) -> Result<Arc<StripeAccount>, StripeError> {
        let header = head.headers.get(AUTHORIZATION);
        let key = header.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        let Some(key) = key else {
            let message = "You did not provide an API key.";
            return Err(StripeError::invalid(message).with_status(401));
        };
        let account = self.accounts.lock().get(key).cloned();
        account.ok_or_else(|| StripeError::invalid("Invalid API Key provided.").with_status(401))
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, stand_in: Weak<StandIn>) {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(permit) = Arc::clone(&connections).acquire_owned().await {
        match listener.accept().await {
            Ok((socket, _)) => {
                let stand_in = stand_in.clone();
                tokio::spawn(async move {
                    let _permit = permit;
                    converse(socket, stand_in).await;
                });
            }
            Err(_) => tokio::time::sleep(AFTER_FAILED_ACCEPT).await,
        }
    }
}

/// Serves one HTTP/1.1 connection.
async fn converse(socket: TcpStream, stand_in: Weak<StandIn>) {
    let service = service_fn(|request| {
        let stand_in = stand_in.upgrade();
        async move {
            // A stand-in that is gone answers nothing.
            let stand_in = stand_in.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
            Ok::<_, io::Error>(serve(&stand_in, request).await)
        }
    });
    // An error here concerns only the client's connection; nobody needs it.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(socket), service)
        .await;
}

async fn serve<B>(stand_in: &StandIn, request: Request<B>) -> StripeReply
where
    B: Body + Send,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY_BYTES).collect().await else {
        let error = StripeError::invalid("The request body exceeds 64 KiB or ended early.");
        return refused(&error.with_status(413));
    };
    let body = body.to_bytes();
    if head.uri.path().starts_with("/v1/") {
        return match stand_in.authenticate(&head) {
            Ok(account) => call(&account, &head, &body).await,
            Err(error) => refused(&error),
        };
    }
    let accounts: Vec<_> = stand_in.accounts.lock().values().cloned().collect();
    shown(pages::answer(
        &accounts,
        head.method.as_str(),
        head.uri.path(),
        &body,
    ))
}

async fn call(account: &StripeAccount, head: &Parts, body: &[u8]) -> StripeReply {
    let header = |name: &str| {
        let value = head.headers.get(name)?.to_str().ok()?;
        Some(value.to_owned())
    };
    let answer = api::answer(
        account,
        ApiRequest {
            method: head.method.as_str(),
            path: head.uri.path(),
            query: head.uri.query().unwrap_or_default(),
            idempotency_key: header("idempotency-key"),
            version: header("stripe-version"),
            body,
        },
    );
    tokio::time::sleep(answer.pause).await;
    let mut reply = reply(answer.status, "application/json", answer.body);
    if let Ok(id) = HeaderValue::from_str(&answer.request) {
        let name = HeaderName::from_static("request-id");
        reply.headers_mut().insert(name, id);
    }
    if answer.is_replayed {
        let name = HeaderName::from_static("idempotent-replayed");
        let replayed = HeaderValue::from_static("true");
        reply.headers_mut().insert(name, replayed);
    }
    reply
}

fn refused(error: &StripeError) -> StripeReply {
    reply(error.status, "application/json", error.body().to_string())
}

fn shown(page: HtmlReply) -> StripeReply {
    let mut reply = match page {
        HtmlReply::Page(status, html) => reply(status, "text/html; charset=utf-8", html),
        HtmlReply::SeeOther(address) => {
            let mut reply = reply(303, "text/plain", String::new());
            if let Ok(address) = HeaderValue::from_str(&address) {
                reply.headers_mut().insert(LOCATION, address);
            }
            reply
        }
    };
    let headers = reply.headers_mut();
    let policy = HeaderValue::from_static(PAGE_POLICY);
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    reply
}

fn reply(status: u16, content_type: &'static str, body: String) -> StripeReply {
    let mut reply = Response::new(Full::new(Bytes::from(body)));
    let status = StatusCode::from_u16(status);
    *reply.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

#[cfg(test)]
mod tests;
