//! Authorization of admins and the operator: what a token lets its bearer do.

use super::answer::Refusal;
use super::{Local, Request, credentials, tokens};
use crate::api::TokenScope;
use crate::rules::tenant::TenantId;
use crate::telemetry::fields::{About, Field};
use log::Level;

/// The author of a change: the operator, or whoever has one of the tenant's own tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    Operator,
    /// With the token of this `name`.
    Token {
        name: String,
        scope: TokenScope,
    },
}

/// Something that an admin route lets its caller do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// Look at everything but secrets.
    Look,
    /// Change a balance.
    Credit,
    /// Change everything of the tenant, and see its config as it is stored.
    Manage,
    /// Open sessions for the app's users.
    OpenSessions,
}

impl Right {
    /// Returns the scopes of tokens that have it.
    fn scopes(self) -> &'static [TokenScope] {
        match self {
            Right::Look => &[TokenScope::Admin, TokenScope::Support, TokenScope::Read],
            Right::Credit => &[TokenScope::Admin, TokenScope::Support],
            Right::Manage => &[TokenScope::Admin],
            Right::OpenSessions => &[TokenScope::Admin, TokenScope::Sessions],
        }
    }
}

impl Actor {
    /// Returns the name by which logs and ledgers tell of it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Actor::Operator => tokens::OPERATOR,
            Actor::Token { name, .. } => name,
        }
    }

    /// Returns the scope of its token; `None`: the operator's.
    pub(crate) fn scope(&self) -> Option<TokenScope> {
        match self {
            Actor::Operator => None,
            Actor::Token { scope, .. } => Some(*scope),
        }
    }

    /// Whether it has a right at the tenant that it was authorized for.
    pub(crate) fn may(&self, right: Right) -> bool {
        match self {
            Actor::Operator => true,
            Actor::Token { scope, .. } => right.scopes().contains(scope),
        }
    }

    /// Logs a change that was made.
    pub fn log(
        &self,
        request: &Request<'_>,
        about: About<'_>,
        more: &[Field<'_>],
        line: std::fmt::Arguments<'_>,
    ) {
        let by = self.name();
        let address = request.sender();
        let mut fields = vec![("by", by.into()), ("address", address.as_str().into())];
        fields.extend_from_slice(more);
        let about = About {
            request: Some(request.id),
            ..about
        };
        about.log(module_path!(), Level::Info, &fields, line);
    }

    /// Logs a change of a tenant.
    pub(crate) fn log_tenant(
        &self,
        request: &Request<'_>,
        tenant: &TenantId,
        more: &[Field<'_>],
        line: std::fmt::Arguments<'_>,
    ) {
        let about = About {
            tenant: Some(tenant.as_str()),
            ..About::default()
        };
        self.log(request, about, more, line);
    }
}

/// Authorizes an admin of `tenant`: `admin.token` is valid for every tenant, a tenant's own token for that tenant and
/// its scope only.
pub(crate) async fn authorize(
    local: &Local,
    request: &Request<'_>,
    tenant: &TenantId,
    right: Right,
) -> Result<Actor, Refusal> {
    // Without a token of the operator the admin API is off, even for tenants' own tokens.
    if local.settings.admin.tokens().next().is_none() {
        return Err(Refusal::Unauthorized);
    }
    if let Ok(operator) = authorize_operator(local, request) {
        return Ok(operator);
    }
    let given = credentials::bearer(request.headers).ok_or(Refusal::Unauthorized)?;
    let stored = tokens::stored(local, tenant).await?.0;
    let token = tokens::find(given, &stored).ok_or(Refusal::Unauthorized)?;
    let actor = Actor::Token {
        name: token.name.clone(),
        scope: token.scope,
    };
    match actor.may(right) {
        true => Ok(actor),
        false => Err(out_of_scope(token.scope, right)),
    }
}

/// Returns the refusal of a token that is known and not of the scope that is needed.
fn out_of_scope(scope: TokenScope, right: Right) -> Refusal {
    let scopes: Vec<String> = right
        .scopes()
        .iter()
        .map(|scope| format!("`{}`", scope.word()))
        .collect();
    Refusal::Forbidden(format!(
        "This needs an admin token of scope {}; this one's scope is `{}`",
        scopes.join(" or "),
        scope.word()
    ))
}

/// Authorizes the operator: the bearer token must be one of [`Admin::tokens`](crate::settings::Admin::tokens).
pub(crate) fn authorize_operator(local: &Local, request: &Request<'_>) -> Result<Actor, Refusal> {
    let given = credentials::bearer(request.headers).ok_or(Refusal::Unauthorized)?;
    let tokens = local.settings.admin.tokens();
    // Compared with all of them: stopping at a match would reveal its position.
    let is_one = tokens.fold(false, |found, token| {
        found | credentials::is_token(given, token.expose())
    });
    is_one
        .then_some(Actor::Operator)
        .ok_or(Refusal::Unauthorized)
}
