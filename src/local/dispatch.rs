//! Calls the handler of a matched local route.

use super::answer::{Answer, Refusal};
use super::route::{Local as Route, Matched};
use super::{Local, Request, accounts, admin, auth, operator, root, usage};
use crate::rules::tenant::TenantId;
use crate::store::tenants::Tenant;
use std::sync::Arc;

/// The tenant that a route applies to, if any.
pub enum At {
    /// No tenant: a global route.
    Nowhere,
    Tenant(Arc<Tenant>),
    /// A tenant with an invalid config: only `/admin/config` works, so that its admin can repair it.
    Broken(TenantId),
}

impl Local {
    /// Runs the handler of `matched.route`.
    pub async fn answer(
        &self,
        matched: &Matched<'_>,
        at: At,
        request: Request<'_>,
    ) -> Result<Answer, Refusal> {
        let part = |at: usize| matched.parts.get(at).copied().unwrap_or_default();
        match (matched.route, at) {
            (Route::Root, _) => Ok(root::root(self)),
            (Route::Health, _) => Ok(root::health()),
            (Route::Ready, _) => root::ready(self).await,
            (Route::OpenApi, _) => Ok(root::openapi(self)),

            (Route::Tenants, _) => operator::list(self, &request).await,
            (Route::TenantCreate, _) => operator::create(self, &request).await,
            (Route::TenantRead, _) => operator::read(self, &request, part(0)).await,
            (Route::TenantReplace, _) => operator::replace(self, &request, part(0)).await,
            (Route::TenantDelete, _) => operator::delete(self, &request, part(0)).await,
            (Route::TenantTokens, _) => operator::appoint(self, &request, part(0)).await,
            (Route::TenantSeal, _) => operator::seal(self, &request, part(0)).await,

            (Route::Config, At::Tenant(tenant)) => admin::read(self, &request, &tenant.id).await,
            (Route::Config, At::Broken(id)) => admin::read(self, &request, &id).await,
            (Route::ConfigReplace, At::Tenant(tenant)) => {
                admin::replace(self, &request, &tenant.id).await
            }
            (Route::ConfigReplace, At::Broken(id)) => admin::replace(self, &request, &id).await,

            (_, At::Broken(_)) => Err(Refusal::Broken),
            (_, At::Nowhere) => Err(Refusal::NotFound),

            (Route::TenantRoot, At::Tenant(_)) => Ok(root::root(self)),
            (Route::Anonymous, At::Tenant(tenant)) => {
                auth::anonymous(self, &request, &tenant).await
            }
            (Route::Me, At::Tenant(tenant)) => auth::me(self, &request, &tenant).await,
            (Route::Usage, At::Tenant(tenant)) => usage::show(self, &request, &tenant).await,
            (Route::KeyMint, At::Tenant(tenant)) => accounts::mint(self, &request, &tenant).await,
            (Route::KeyShow, At::Tenant(tenant)) => {
                accounts::show(self, &request, &tenant, part(0)).await
            }
            (Route::KeyMove, At::Tenant(tenant)) => {
                accounts::regroup(self, &request, &tenant, part(0)).await
            }
            (Route::KeyRevoke, At::Tenant(tenant)) => {
                accounts::revoke(self, &request, &tenant, part(0)).await
            }
            (Route::KeyCredit, At::Tenant(tenant)) => {
                accounts::credit(self, &request, &tenant, part(0)).await
            }
        }
    }
}
