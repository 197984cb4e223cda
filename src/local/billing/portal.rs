//! `POST /billing/portal`: the page of Stripe's on which a customer changes plans, cards and subscriptions.

use super::tenant_account::{self, failed};
use super::{checkout, pages, purchase};
use crate::api;
use crate::local::answer::{self, Answer, Refusal, json};
use crate::local::{Local, Request, caller};
use crate::store::tenants::Tenant;

/// Serves `POST /billing/portal`.
pub(in crate::local) async fn open(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
) -> Result<Answer, Refusal> {
    let (_, found) = caller::manager(local, request, tenant).await?;
    tenant_account::stripe(tenant)?;
    let call: api::PortalCall = answer::body(&request.body)?;
    if let Some(page) = &call.return_url {
        pages::check(&tenant.config, "returnUrl", page)?;
    }
    let client = local.billing.client(tenant).await?;
    let opened = purchase::open(local, tenant, &found.account).await?;
    let payments = opened.ok_or(Refusal::UnknownKey)?.payments;
    let customer = payments.customer().ok_or_else(|| {
        let why = "The account has bought nothing yet: begin with billing/checkout";
        Refusal::Conflict(why.to_owned())
    })?;
    checkout::count_portal(local, tenant, &found.account).await?;
    let mut fields = vec![("customer", customer)];
    let page = call.return_url.or_else(|| pages::usual(&tenant.config));
    fields.extend(page.as_deref().map(|page| ("return_url", page)));
    let portal = client.make_portal(&fields).await;
    let portal = portal.map_err(|failure| failed(tenant, "open the portal", failure))?;
    Ok(json(200, &api::CheckoutPage { url: portal.url }))
}
