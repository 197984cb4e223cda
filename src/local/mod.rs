//! ANSWERS: the routes that the gateway serves itself, such as `/healthz`, `/auth/...` and `/admin/...`.
//!
//! Handlers take and return `http` types with the requests and answers of `api/` in their bodies; a response is
//! an `Answer`, an error a `Refusal`. `table.rs` lists all routes. Nothing here may know Pingora or call a
//! provider, and issuers of sign-in are asked through `issuers/`; the OpenAPI document names the calls of `dialect/table.rs`.

pub mod accounts;
pub mod admin;
mod amending;
pub mod answer;
mod audit;
mod audit_list;
pub mod auth;
pub mod billing;
mod caller;
mod code_flow;
mod config_versions;
mod configs;
pub mod credentials;
pub mod dispatch;
mod docs_page;
mod keys;
mod leaving;
mod ledger;
mod lists;
mod named;
pub mod openapi;
mod operation;
pub mod operator;
pub mod origin;
mod outside;
mod people;
pub mod root;
pub mod route;
mod sessions;
mod sign_in;
mod table;
mod token_routes;
mod tokens;
pub mod usage;
mod users;

use crate::host_port::HostPort;
use crate::issuers::verify::Issuers;
use crate::outbox::sending::Outbox;
use crate::settings::Settings;
use crate::store::Store;
use crate::store::carries::Carries;
use crate::store::leases::Leases;
use crate::store::revocations::Revocations;
use crate::store::tenants::Tenants;
use crate::telemetry::metrics::Metrics;
use billing::tenant_account::Billing;
use bytes::Bytes;
use http::{HeaderMap, Method};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Way on which a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// HTTP, from [`Request::address`].
    Http,
    /// A command that was given on the store itself (`cli/`): there is no connection and no address.
    CommandLine,
}

/// A request to a local route.
pub struct Request<'a> {
    pub method: &'a Method,
    /// Query string without the `?`, not decoded.
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    pub body: Bytes,
    /// The client's address, as seen behind `trusted_proxies`.
    pub address: IpAddr,
    pub channel: Channel,
    /// `x-request-id` of the answer.
    pub id: &'a str,
    /// Host that the request asks for (`Host` or `:authority`); `None` if it names none.
    pub asked: Option<HostPort>,
    /// Whether the client, or the trusted proxy before the gateway, speaks TLS.
    pub is_https: bool,
}

impl Request<'_> {
    /// Returns where the request came from, as logs tell it: an address, or `cli`.
    fn sender(&self) -> String {
        match self.channel {
            Channel::Http => self.address.to_string(),
            Channel::CommandLine => "cli".to_owned(),
        }
    }
}

/// Dependencies of the local handlers.
pub struct Local {
    pub settings: Arc<Settings>,
    pub store: Arc<dyn Store>,
    /// This instance's leases. A handler returns an account's lease (`give_back`) before it reads the
    /// account.
    pub leases: Arc<Leases>,
    pub tenants: Arc<Tenants>,
    /// Balances on their way to people's accounts.
    pub carries: Arc<Carries>,
    /// Keys that were revoked lately.
    pub revocations: Arc<Revocations>,
    /// Issuers of sign-in.
    pub issuers: Arc<Issuers>,
    /// Ways to Stripe.
    pub billing: Arc<Billing>,
    /// Events for the app.
    pub outbox: Arc<Outbox>,
    pub metrics: Arc<Metrics>,
    /// `true` during a stop: `/readyz` answers 503.
    pub draining: Arc<AtomicBool>,
}
