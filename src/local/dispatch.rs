//! Calls the handler of a matched local route.

use super::accounts::Adjustment;
use super::answer::{Answer, Refusal};
use super::billing::{checkout, history, plans, portal, webhook};
use super::code_flow::{callback, redeem, start};
use super::route::{Issuer, LocalRoute as Route, Matched};
use super::{
    Local, Request, accounts, amending, audit_list, auth, config_versions, configs, docs_page,
    keys, leaving, ledger, lists, operator, root, sessions, sign_in, token_routes, usage, users,
};
use crate::issuers::client::Named;
use crate::rules::tenant::TenantId;
use crate::store::tenants::Tenant;
use std::sync::Arc;

/// The tenant that a route applies to, if any.
pub enum Scope {
    /// No tenant: a global route.
    Global,
    Tenant(Arc<Tenant>),
    /// A tenant with an invalid config: only what its admin repairs it with works.
    Unusable(TenantId),
}

/// Runs the handler of `matched.route`.
pub async fn answer(
    local: &Local,
    matched: &Matched<'_>,
    at: Scope,
    request: Request<'_>,
) -> Result<Answer, Refusal> {
    let part = |at: usize| matched.parts.get(at).copied().unwrap_or_default();
    match (matched.route, at) {
        (Route::Root, _) => Ok(root::root(local)),
        (Route::Health, _) => Ok(root::health()),
        (Route::Ready, _) => root::ready(local).await,
        (Route::OpenApi, _) => Ok(root::document(local)),
        (Route::Docs, _) => Ok(docs_page::page()),

        (
            Route::Tenants
            | Route::TenantCreate
            | Route::TenantRead
            | Route::TenantReplace
            | Route::TenantDelete
            | Route::TenantTokens
            | Route::TenantSeal
            | Route::OperatorAudit,
            _,
        ) => of_operator(local, matched, &request).await,

        (
            route @ (Route::Config
            | Route::ConfigReplace
            | Route::ConfigHistory
            | Route::ConfigVersion
            | Route::ConfigRestore
            | Route::Audit
            | Route::Tokens
            | Route::TokenMake
            | Route::TokenRemove),
            at,
        ) => match at {
            Scope::Tenant(tenant) => of_admin(local, route, &request, &tenant.id, part(0)).await,
            Scope::Unusable(id) => of_admin(local, route, &request, &id, part(0)).await,
            Scope::Global => Err(Refusal::NotFound),
        },

        (_, Scope::Unusable(_)) => Err(Refusal::TenantUnusable),
        (_, Scope::Global) => Err(Refusal::NotFound),

        (Route::TenantRoot, Scope::Tenant(_)) => Ok(root::root(local)),
        (Route::Anonymous, Scope::Tenant(tenant)) => {
            auth::anonymous(local, &request, &tenant).await
        }
        (Route::Sessions, Scope::Tenant(tenant)) => sessions::open(local, &request, &tenant).await,
        (Route::SignIn(issuer), Scope::Tenant(tenant)) => {
            sign_in::with_token(local, &request, &tenant, named(issuer, part(0))).await
        }
        (Route::SignInStart(issuer), Scope::Tenant(tenant)) => {
            start::start(local, &request, &tenant, named(issuer, part(0))).await
        }
        (Route::SignInCallback(issuer), Scope::Tenant(tenant)) => {
            callback::callback(local, &request, &tenant, named(issuer, part(0))).await
        }
        (Route::RedeemCode, Scope::Tenant(tenant)) => {
            redeem::redeem(local, &request, &tenant).await
        }
        (Route::Me, Scope::Tenant(tenant)) => auth::me(local, &request, &tenant).await,
        (Route::Usage, Scope::Tenant(tenant)) => usage::show(local, &request, &tenant).await,
        (Route::KeyMint, Scope::Tenant(tenant)) => accounts::mint(local, &request, &tenant).await,
        (Route::KeyShow, Scope::Tenant(tenant)) => {
            accounts::show(local, &request, &tenant, part(0)).await
        }
        (Route::KeyRevoke, Scope::Tenant(tenant)) => {
            accounts::revoke(local, &request, &tenant, part(0)).await
        }
        (Route::KeyCredit, Scope::Tenant(tenant)) => {
            accounts::credit(local, &request, &tenant, part(0), Adjustment::Credit).await
        }
        (Route::KeyDebit, Scope::Tenant(tenant)) => {
            accounts::credit(local, &request, &tenant, part(0), Adjustment::Debit).await
        }
        (route, Scope::Tenant(tenant)) => of_person(local, route, &request, &tenant, part(0)).await,
    }
}

/// Runs the handler of a route about keys, people or payments.
async fn of_person(
    local: &Local,
    route: Route,
    request: &Request<'_>,
    tenant: &Tenant,
    id: &str,
) -> Result<Answer, Refusal> {
    match route {
        Route::Plans => plans::list(local, tenant).await,
        Route::Checkout => checkout::open(local, request, tenant).await,
        Route::Portal => portal::open(local, request, tenant).await,
        Route::StripeWebhook => webhook::take(local, request, tenant).await,
        Route::PaymentEvents => history::events(local, request, tenant).await,
        Route::Keys => lists::keys(local, request, tenant).await,
        Route::KeyMove => amending::move_key(local, request, tenant, id).await,
        Route::KeyRoll => amending::roll(local, request, tenant, id).await,
        Route::KeySuspend => amending::suspend_key(local, request, tenant, id).await,
        Route::Users => lists::users(local, request, tenant).await,
        Route::UserShow => users::show(local, request, tenant, id).await,
        Route::UserCredit => users::credit(local, request, tenant, id, Adjustment::Credit).await,
        Route::UserDebit => users::credit(local, request, tenant, id, Adjustment::Debit).await,
        Route::UserSuspend => amending::suspend_user(local, request, tenant, id).await,
        Route::KeyLedger => ledger::of_key(local, request, tenant, id).await,
        Route::UserLedger => ledger::of_user(local, request, tenant, id).await,
        Route::UserPayments => history::of_user(local, request, tenant, id).await,
        Route::MeDelete => leaving::delete_own(local, request, tenant).await,
        Route::Export => leaving::export_own(local, request, tenant).await,
        Route::UserDelete => leaving::delete(local, request, tenant, id).await,
        Route::UserExport => leaving::export(local, request, tenant, id).await,
        Route::OwnUsage => usage::own(local, request, tenant).await,
        Route::OwnKeys => keys::list(local, request, tenant).await,
        Route::OwnKeyMake => keys::make(local, request, tenant).await,
        Route::OwnKeyRoll => keys::roll(local, request, tenant, id).await,
        Route::OwnKeyRevoke => keys::revoke(local, request, tenant, id).await,
        _ => Err(Refusal::NotFound),
    }
}

/// Runs the handler of a route that works for a tenant with an invalid config too.
async fn of_admin(
    local: &Local,
    route: Route,
    request: &Request<'_>,
    tenant: &TenantId,
    part: &str,
) -> Result<Answer, Refusal> {
    match route {
        Route::Config => configs::read(local, request, tenant).await,
        Route::ConfigReplace => configs::replace(local, request, tenant).await,
        Route::ConfigHistory => config_versions::list(local, request, tenant).await,
        Route::ConfigVersion => config_versions::show(local, request, tenant, part).await,
        Route::ConfigRestore => config_versions::restore(local, request, tenant, part).await,
        Route::Audit => audit_list::of_tenant(local, request, tenant).await,
        Route::Tokens => token_routes::list(local, request, tenant).await,
        Route::TokenMake => token_routes::make(local, request, tenant).await,
        Route::TokenRemove => token_routes::remove(local, request, tenant, part).await,
        _ => Err(Refusal::NotFound),
    }
}

fn named(issuer: Issuer, name: &str) -> Named<'_> {
    match issuer {
        Issuer::Google => Named::Google,
        Issuer::Apple => Named::Apple,
        Issuer::Oidc => Named::Oidc(name),
    }
}

/// Runs the handler of a route of the operator's.
async fn of_operator(
    local: &Local,
    matched: &Matched<'_>,
    request: &Request<'_>,
) -> Result<Answer, Refusal> {
    let id = matched.parts.first().copied().unwrap_or_default();
    match matched.route {
        Route::Tenants => operator::list(local, request).await,
        Route::TenantCreate => operator::create(local, request).await,
        Route::TenantRead => operator::read(local, request, id).await,
        Route::TenantReplace => operator::replace(local, request, id).await,
        Route::TenantDelete => operator::delete(local, request, id).await,
        Route::TenantTokens => operator::set_tokens(local, request, id).await,
        Route::TenantSeal => operator::seal(local, request, id).await,
        Route::OperatorAudit => audit_list::of_operator(local, request).await,
        _ => Err(Refusal::NotFound),
    }
}
