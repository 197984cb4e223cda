//! [`LocalAdmin`]: the admin routes in this process, on the store of the settings and without a socket.
//!
//! A command is authorized as the operator, with a random `admin.token` known only here: who can open the store may do
//! anything. Nothing is written to the store by another path, so every change is noted like one over HTTP, and the log
//! of changes has `cli` in place of its address.

use super::call::{AdminCall, Answered};
use super::start::keeping;
use crate::dial::dialer::Dialer;
use crate::fetch::Fetcher;
use crate::issuers::verify::Issuers;
use crate::local::answer::Refusal;
use crate::local::billing::tenant_account::Billing;
use crate::local::dispatch::{self, Scope};
use crate::local::route::{self, Resolved};
use crate::local::{Channel, Local, Request};
use crate::outbox::sending::Outbox;
use crate::rules::tenant::TenantId;
use crate::settings::Settings;
use crate::store::carries::Carries;
use crate::store::config_secrets::ConfigSecrets;
use crate::store::journal::Journal;
use crate::store::leases::Leases;
use crate::store::replay::Replay;
use crate::store::revocations::Revocations;
use crate::store::tenants::{Lookup, Tenants};
use crate::store::{Store, open};
use crate::stripe::stand_in::NoStandIn;
use crate::tables::Secret;
use crate::telemetry::metrics::{Metrics, Process};
use crate::telemetry::series::Families;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

pub(super) struct LocalAdmin {
    local: Local,
    token: String,
}

impl LocalAdmin {
    pub async fn open(mut settings: Settings) -> Result<LocalAdmin, String> {
        let token = uuid::Uuid::new_v4().to_string();
        settings.admin.token = Some(Secret::new(token.clone()));
        let store: Arc<dyn Store> = open::open(&settings.store, keeping(&settings)).await?;
        let secrets = ConfigSecrets::new(&settings.secrets);
        let dialer = Arc::new(Dialer::new(&settings.egress));
        let leases = Leases::new(
            store.clone(),
            Arc::new(Journal::none()),
            Replay::new(store.clone(), Box::new(|_, _, _| {})),
            settings.accounts.hold_ttl,
        );
        let fetcher = Arc::new(Fetcher::new(dialer));
        let metrics = Arc::new(Metrics::new(&Process {
            store: settings.store.kind(),
            store_time: None,
        }));
        let tenants = Arc::new(Tenants::new(store.clone(), secrets, Families::default()));
        let local = Local {
            issuers: Arc::new(Issuers::new(fetcher.clone())),
            billing: Arc::new(Billing::new(
                fetcher.clone(),
                settings.billing.stripe_url.clone(),
                Arc::new(NoStandIn),
            )),
            outbox: Outbox::new(fetcher, tenants.clone(), store.clone(), metrics.clone()),
            metrics,
            revocations: Revocations::new(store.clone(), leases.clone()),
            leases,
            settings: Arc::new(settings),
            tenants,
            carries: Carries::new(store.clone()),
            store,
            draining: Arc::default(),
        };
        Ok(LocalAdmin { local, token })
    }

    /// Runs the handler of the route, by [`dispatch::answer`].
    pub async fn ask(&self, asked: &AdminCall) -> Result<Answered, String> {
        let at = self.scope(asked.tenant.as_deref()).await?;
        let found = match asked.tenant {
            None => route::global(&asked.method, &asked.path),
            Some(_) => route::of_tenant(&asked.method, &asked.path),
        };
        let Resolved::Here(matched) = found else {
            return Err("This version of the gateway cannot do that".to_owned());
        };
        let mut headers = HeaderMap::new();
        let bearer = HeaderValue::from_str(&format!("Bearer {}", self.token))
            .map_err(|error| error.to_string())?;
        headers.insert(header::AUTHORIZATION, bearer);
        let query = asked.query();
        let request = Request {
            method: &asked.method,
            query: &query,
            headers: &headers,
            body: Bytes::from(asked.body.clone()),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            channel: Channel::CommandLine,
            id: &uuid::Uuid::now_v7().to_string(),
            asked: None,
            is_https: false,
        };
        let answer = dispatch::answer(&self.local, &matched, at, request)
            .await
            .unwrap_or_else(Refusal::into_answer);
        Ok(Answered {
            status: answer.status(),
            body: answer.into_body(),
        })
    }

    /// Returns the tenant that the routes are of; `None`: the operator's.
    async fn scope(&self, tenant: Option<&str>) -> Result<Scope, String> {
        let Some(name) = tenant else {
            return Ok(Scope::Global);
        };
        let unknown = || match name {
            "default" => "There is no tenant default; --tenant names another".to_owned(),
            _ => format!("There is no tenant {name}"),
        };
        let id = TenantId::parse(name).ok_or_else(unknown)?;
        let found = self.local.tenants.find(&id).await;
        match found.map_err(|error| error.to_string())? {
            Lookup::Known(tenant) => Ok(Scope::Tenant(tenant)),
            Lookup::Unknown => Err(unknown()),
            Lookup::Unusable => Ok(Scope::Unusable(id)),
        }
    }

    pub async fn close(self) {
        self.local.store.close().await;
    }
}
