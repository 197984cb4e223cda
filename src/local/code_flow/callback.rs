//! `GET` and `POST /auth/{google,apple,oidc/<name>}/callback`: takes the browser back from the issuer, and sends it to
//! the app with a code.
//!
//! Until the transaction and the browser's cookie are found, nobody is sent anywhere. Later failures go to the app as
//! `error=`; what failed stands in the log alone. What else an issuer sends, such as Apple's `user`, is not read.

use super::cookie::Cookie;
use super::start::callback_path;
use super::tickets::{self, Redeemable, Transaction, random_secret};
use crate::issuers::client::{Client, Named};
use crate::issuers::exchange::{self, Exchange};
use crate::issuers::verify::Unverified;
use crate::local::answer::{self, Answer, Refusal};
use crate::local::outside::Outside;
use crate::local::{Local, Request, accounts, sign_in};
use crate::rules::amount::Millis;
use crate::rules::identity::form;
use crate::rules::identity::redirect::with_query;
use crate::rules::identity::token::fingerprint;
use crate::store::name::TicketKind;
use crate::store::tenants::Tenant;
use crate::telemetry::fields::About;
use crate::telemetry::throttle::Throttle;
use http::{Method, header};
use log::Level;

/// Life of a code.
const CODE_LIFE_SECONDS: u64 = 60;
const MAX_ERROR_BYTES: usize = 64;

const ENDED: &str = "This sign-in is unknown, was ended already, took too long or was begun in another browser; begin again";

/// Serves the way back from an issuer.
pub(in crate::local) async fn callback(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    named: Named<'_>,
) -> Result<Answer, Refusal> {
    let client = sign_in::client(local, tenant, named)?;
    let ended = || Refusal::Bad(ENDED.to_owned());
    let fields = match *request.method {
        Method::POST => std::str::from_utf8(&request.body).map_err(|_| ended())?,
        _ => request.query,
    };
    let state = form::field(fields, "state").ok_or_else(ended)?;
    let taken = tickets::take(local, &tenant.id, TicketKind::SignIn, &state).await?;
    let transaction: Transaction = taken.ok_or_else(ended)?;
    let outside = Outside::of(&local.settings.server, request)?;
    let path = callback_path(&outside, &tenant.id, named);
    let cookie = Cookie::of(&state, path, outside.is_https(), named == Named::Apple);
    let is_same_browser = cookie.is_in(request.headers, &transaction.cookie);
    // The address may have left the config meanwhile.
    let uri = &transaction.redirect_uri;
    let is_known = client.redirect_uris.iter().any(|known| known.allows(uri));
    if transaction.kind != client.kind || !is_same_browser || !is_known {
        return Err(ended());
    }

    let got = code(local, request, tenant, &client, &transaction, fields).await?;
    let (name, value) = match &got {
        Ok(code) => ("code", code.as_str()),
        Err(error) => ("error", error.as_str()),
    };
    let mut given = vec![(name, value)];
    given.extend(transaction.state.as_deref().map(|state| ("state", state)));
    let mut answer = answer::redirect(303, &with_query(uri, &given))?;
    if let Some(line) = cookie.set("", 0) {
        answer.headers_mut().append(header::SET_COOKIE, line);
    }
    Ok(answer)
}

/// Makes a code of ours from the issuer's, or the `error` that the app gets.
async fn code(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    client: &Client<'_>,
    transaction: &Transaction,
    fields: &str,
) -> Result<Result<String, String>, Refusal> {
    let error = |code: &str| Ok(Err(code.to_owned()));
    // Of several issuers none may answer for another (RFC 9207).
    if form::field(fields, "iss").is_some_and(|issuer| issuer != client.issuer) {
        return error("invalid_request");
    }
    if let Some(given) = form::field(fields, "error") {
        return Ok(Err(error_code(&given)));
    }
    let Some(issuers_code) = form::field(fields, "code") else {
        return error("invalid_request");
    };
    let now = accounts::now();
    let exchange = Exchange {
        code: &issuers_code,
        redirect_uri: &transaction.callback,
        verifier: &transaction.verifier,
    };
    let tokens = match exchange::exchange(&local.issuers, client, &exchange, now).await {
        Ok(tokens) => tokens,
        Err(why) => {
            log_failed_exchange(request, tenant, &client.kind, &why);
            return error("server_error");
        }
    };
    let nonce = Some(transaction.nonce.as_str());
    let token = tokens.id_token.as_str();
    let subject = match local.issuers.verify(client, token, nonce, now).await {
        Ok(subject) => subject,
        Err(Unverified::Unavailable) => return error("temporarily_unavailable"),
        Err(Unverified::Wrong(why)) => {
            sign_in::log_wrong_token(request, tenant, &client.kind, why);
            return error("access_denied");
        }
    };
    let redeemable = Redeemable {
        kind: client.kind.clone(),
        issuer: client.issuer.to_owned(),
        subject: subject.subject,
        challenge: transaction.challenge.clone(),
        fingerprint: fingerprint(token),
        expires_seconds: subject.expires_seconds,
        refresh_token: tokens.refresh_token.map(|token| token.expose().to_owned()),
    };
    let code = random_secret();
    let life = Millis::from_secs(CODE_LIFE_SECONDS);
    let ticket = (TicketKind::Code, code.as_str());
    tickets::keep(local, &tenant.id, ticket, &redeemable, life).await?;
    Ok(Ok(code))
}

/// Returns an issuer's error code, if it is one.
fn error_code(given: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    match (1..=MAX_ERROR_BYTES).contains(&given.len()) && given.bytes().all(plain) {
        true => given.to_owned(),
        false => "server_error".to_owned(),
    }
}

fn log_failed_exchange(request: &Request<'_>, tenant: &Tenant, kind: &str, why: &str) {
    static FAILED: Throttle = Throttle::new();
    let about = About {
        tenant: Some(tenant.id.as_str()),
        request: Some(request.id),
        ..About::default()
    };
    about.log_throttled(
        &FAILED,
        module_path!(),
        Level::Warn,
        &[("issuer", kind.into())],
        format_args!(
            "A code of an issuer was not exchanged: {why}. The app was told server_error; check the client's ID, secret and redirect URI at the issuer"
        ),
    );
}
