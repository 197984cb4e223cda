//! [`DemoStripe`]: the stand-in for Stripe of tenants with `auth.stripe.kind: demo`.
//!
//! It starts with the first call that needs it, on loopback. Its events go to the gateway's own webhook, with a signature
//! that is checked like any other's, and without a socket: a gateway need not be reachable from itself.

use crate::demo::stripe::{Deliver, SignedEvent, StandIn, system_clock};
use crate::local::dispatch::{self, Scope};
use crate::local::route::{LocalRoute, Matched};
use crate::local::{Channel, Local, Request};
use crate::proxy::call::Proxy;
use crate::rules::tenant::TenantId;
use crate::store::tenants::Lookup;
use crate::stripe::stand_in::{StandInPlace, StandInStripe};
use crate::tables::Secret;
use crate::url::Url;
use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock, Weak};
use tokio::sync::OnceCell;

/// Beginning of the keys that its accounts are known by; the tenant's ID follows.
const KEY_START: &str = "sk_test_demo_";

#[derive(Default)]
pub(super) struct DemoStripe {
    stand_in: OnceCell<Arc<StandIn>>,
    webhook: Arc<Webhook>,
    /// Signing secrets by tenant, new with each start.
    secrets: Mutex<HashMap<String, String>>,
}

/// The gateway's own webhook.
#[derive(Default)]
struct Webhook {
    gateway: OnceLock<Weak<Proxy>>,
}

impl DemoStripe {
    /// Sets the gateway that events go to.
    pub(super) fn deliver_to(&self, gateway: &Arc<Proxy>) {
        // It is set once, by whoever builds the gateway.
        let _ = self.webhook.gateway.set(Arc::downgrade(gateway));
    }
}

#[async_trait]
impl StandInStripe for DemoStripe {
    async fn place(&self, tenant: &str) -> Result<StandInPlace, String> {
        let start = || StandIn::start(system_clock(), self.webhook.clone());
        let stand_in = self.stand_in.get_or_try_init(start).await;
        let stand_in = stand_in.map_err(|error| format!("the stand-in for Stripe: {error}"))?;
        let key = format!("{KEY_START}{tenant}");
        let account = stand_in.account(&key).map_err(|error| error.to_string())?;
        let secret = {
            let mut secrets = self.secrets.lock();
            let known = secrets.get(tenant).cloned();
            known.unwrap_or_else(|| {
                let secret = format!("whsec_demo_{}", uuid::Uuid::new_v4().simple());
                account.set_webhook_secrets(&[&secret]);
                log::info!(
                    "A stand-in plays Stripe for tenant {tenant}; no money moves. What its customers do: {}",
                    account.dashboard_url()
                );
                secrets.insert(tenant.to_owned(), secret.clone());
                secret
            })
        };
        let url = Url::parse(&format!("http://{}", stand_in.address()));
        Ok(StandInPlace {
            url: url.map_err(str::to_owned)?,
            key: Secret::new(key),
            webhook_secret: Secret::new(secret),
        })
    }
}

#[async_trait]
impl Deliver for Webhook {
    async fn deliver(&self, event: SignedEvent) -> bool {
        let gateway = self.gateway.get().and_then(Weak::upgrade);
        match gateway {
            Some(gateway) => take(&gateway.local, event).await,
            None => false,
        }
    }
}

/// Hands an event to the webhook of the tenant whose account it is of.
async fn take(local: &Local, event: SignedEvent) -> bool {
    let tenant = event.key.strip_prefix(KEY_START).and_then(TenantId::parse);
    let Some(tenant) = tenant else { return false };
    let Ok(Lookup::Known(tenant)) = local.tenants.find(&tenant).await else {
        return false;
    };
    let mut headers = HeaderMap::new();
    let Ok(signature) = HeaderValue::from_str(&event.signature) else {
        return false;
    };
    headers.insert("stripe-signature", signature);
    let matched = Matched {
        route: LocalRoute::StripeWebhook,
        parts: Vec::new(),
    };
    let request = Request {
        method: &Method::POST,
        query: "",
        headers: &headers,
        body: event.body,
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        channel: Channel::Http,
        id: &event.id,
        asked: None,
        is_https: false,
    };
    let answer = dispatch::answer(local, &matched, Scope::Tenant(tenant), request).await;
    answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
}
