//! `GET /auth/{google,apple,oidc/<name>}/start`: sends the browser to the issuer.

use super::cookie::Cookie;
use super::tickets::{self, Transaction, random_secret};
use crate::api::StartQuery;
use crate::issuers::client::{Client, Named};
use crate::local::answer::{self, Answer, Refusal};
use crate::local::outside::Outside;
use crate::local::{Local, Request, sign_in};
use crate::rules::amount::Millis;
use crate::rules::identity::redirect::with_query;
use crate::rules::identity::{form, pkce};
use crate::rules::neighbours::neighbourhood;
use crate::rules::tenant::TenantId;
use crate::rules::window::Window;
use crate::store::Counted;
use crate::store::name::TicketKind;
use crate::store::tenants::Tenant;
use crate::url::Url;
use http::header;
use std::net::IpAddr;

/// Life of a sign-in, from here to the callback.
pub(super) const LIFE_SECONDS: u64 = 600;
/// Sign-ins that one address may begin within [`LIFE_SECONDS`]; in IPv6 its /64.
const MAX_OPEN_PER_ADDRESS: u64 = 100;

/// Serves the beginning of a sign-in.
pub(in crate::local) async fn start(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    named: Named<'_>,
) -> Result<Answer, Refusal> {
    let client = sign_in::client(local, tenant, named)?;
    if client.redirect_uris.is_empty() {
        return Err(Refusal::NotFound);
    }
    let asked = read(request.query, &client)?;
    sign_in::check_group(tenant, client.group)?;
    let outside = Outside::of(&local.settings.server, request)?;
    let is_apple = named == Named::Apple;
    if is_apple && !outside.is_https() {
        let why = "Sign-in with Apple needs https: its callback is a POST of another site, with which browsers send secure cookies alone";
        return Err(Refusal::Bad(why.to_owned()));
    }
    count(local, request.address, &tenant.id).await?;
    let authorize = local.issuers.authorize_url(&client).await;
    let authorize = authorize.map_err(|_| Refusal::IssuerUnavailable)?;

    let path = callback_path(&outside, &tenant.id, named);
    let state = random_secret();
    let (cookie_value, cookie_hash) = Cookie::new_value();
    let cookie = Cookie::of(&state, path.clone(), outside.is_https(), is_apple);
    let transaction = Transaction {
        kind: client.kind.clone(),
        redirect_uri: asked.redirect_uri,
        challenge: asked.code_challenge,
        state: asked.state,
        cookie: cookie_hash,
        callback: format!("{}{path}", outside.origin),
        verifier: random_secret(),
        nonce: random_secret(),
    };
    let life = Millis::from_secs(LIFE_SECONDS);
    let ticket = (TicketKind::SignIn, state.as_str());
    tickets::keep(local, &tenant.id, ticket, &transaction, life).await?;
    let to = authorize_address(&authorize, &client, &transaction, &state);
    let mut answer = answer::redirect(302, &to)?;
    if let Some(line) = cookie.set(&cookie_value, LIFE_SECONDS) {
        answer.headers_mut().append(header::SET_COOKIE, line);
    }
    Ok(answer)
}

/// Returns where the browser goes: the issuer, with PKCE, state and nonce of this gateway's own.
fn authorize_address(
    url: &Url,
    client: &Client<'_>,
    transaction: &Transaction,
    state: &str,
) -> String {
    let challenge = pkce::challenge(&transaction.verifier);
    let mut fields = vec![
        ("response_type", "code"),
        ("client_id", client.client_id),
        ("redirect_uri", transaction.callback.as_str()),
        ("scope", "openid"),
        ("state", state),
        ("nonce", transaction.nonce.as_str()),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
    ];
    if client.kind == "apple" {
        fields.push(("response_mode", "form_post"));
    }
    let scheme = if url.https { "https" } else { "http" };
    let target = format!("{scheme}://{}{}", url.authority(), url.path_and_query);
    with_query(&target, &fields)
}

/// Returns the path of an issuer's callback, as the browser knows it.
pub(super) fn callback_path(outside: &Outside, tenant: &TenantId, named: Named<'_>) -> String {
    let issuer = match named {
        Named::Google => "google".to_owned(),
        Named::Apple => "apple".to_owned(),
        Named::Oidc(name) => format!("oidc/{name}"),
    };
    format!("{}/{tenant}/auth/{issuer}/callback", outside.path)
}

/// Reads the query. Nothing is redirected before `redirect_uri` is known to be the tenant's.
fn read(query: &str, client: &Client<'_>) -> Result<StartQuery, Refusal> {
    let bad = |why: &str| Refusal::Bad(why.to_owned());
    let redirect_uri = form::field(query, "redirect_uri");
    let is_known = |asked: &String| client.redirect_uris.iter().any(|uri| uri.allows(asked));
    let redirect_uri = redirect_uri.filter(is_known).ok_or_else(|| {
        bad("redirect_uri must be one of the tenant's redirect_uris, to the letter")
    })?;
    let code_challenge_method = form::field(query, "code_challenge_method").unwrap_or_default();
    let code_challenge = form::field(query, "code_challenge").unwrap_or_default();
    if code_challenge_method != "S256" || !pkce::is_challenge(&code_challenge) {
        let why = "code_challenge must be the SHA-256 of the code verifier in base64url, and code_challenge_method S256";
        return Err(bad(why));
    }
    let state = form::field(query, "state");
    let is_long = |state: &String| state.len() > StartQuery::MAX_STATE_BYTES;
    if state.as_ref().is_some_and(is_long) {
        return Err(bad("state must have at most 1024 bytes"));
    }
    Ok(StartQuery {
        redirect_uri,
        code_challenge,
        code_challenge_method,
        state,
    })
}

/// Counts a sign-in of an address.
async fn count(local: &Local, address: IpAddr, tenant: &TenantId) -> Result<(), Refusal> {
    let window = Window {
        requests: MAX_OPEN_PER_ADDRESS,
        span: Millis::from_secs(LIFE_SECONDS),
    };
    // Colons separate the parts of a name in the store.
    let name = format!("address-{}", neighbourhood(address)).replace(':', "-");
    let what = format!("sign-in:{tenant}");
    match local.store.count(&what, &[(&name, window)]).await? {
        Counted::Passed => Ok(()),
        Counted::Limited { wait } => Err(Refusal::TooManySignIns { wait }),
    }
}
