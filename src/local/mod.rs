//! ANSWERS. What the gateway says itself: root, sign-in, admin, operator. `http` types in and out.
//!
//! Nothing here knows Pingora or a provider. An answer is a value; so is a refusal.

pub mod accounts;
pub mod admin;
pub mod answer;
pub mod auth;
pub mod credentials;
pub mod dispatch;
pub mod operator;
pub mod origin;
pub mod root;
pub mod route;
pub mod usage;

use crate::rules::origin::Authority;
use crate::settings::Settings;
use crate::store::Store;
use crate::store::leases::Leases;
use crate::store::tenants::Tenants;
use bytes::Bytes;
use http::{HeaderMap, Method};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// A request that the gateway answers itself.
pub struct Request<'a> {
    pub method: &'a Method,
    /// What follows the question mark, as it came.
    pub query: &'a str,
    pub headers: &'a HeaderMap,
    pub body: Bytes,
    pub address: IpAddr,
    /// The host that it names, where it names one.
    pub asked: Option<Authority>,
}

/// Everything a local answer is made from.
pub struct Local {
    pub settings: Arc<Settings>,
    pub store: Arc<dyn Store>,
    /// What this instance holds of accounts: given back before anyone looks at one.
    pub leases: Arc<Leases>,
    pub tenants: Arc<Tenants>,
    pub draining: Arc<AtomicBool>,
}
