//! Doubts about a config that can be read: what it says will hardly do what was meant.

use super::endpoint::{Endpoint, Kind};
use super::identity::{apple_group, google_group};
use super::payments::BillingKind;
use super::tenant::TenantConfig;
use crate::rules::egress;
use crate::tables::Fault;
use crate::url::Url;
use std::net::IpAddr;

/// Endpoints that are looked at: a list of warnings is for people.
const MOST_ENDPOINTS: usize = 20;

/// Likewise clients of OpenID Connect.
const MOST_CLIENTS: usize = 20;

/// Returns the doubts. `allows_private`: the setting `egress.allow_private_networks`.
pub fn doubts(config: &TenantConfig, allows_private: bool) -> Vec<Fault> {
    let mut doubts = sign_in(config, allows_private);
    doubts.extend(payments(config));
    let events = config.events.as_ref();
    if let Some(why) = events.and_then(|events| unasked(&events.url, allows_private)) {
        doubts.push(Fault::new("events.url", why));
    }
    let Some(text) = &config.providers.text else {
        return doubts;
    };
    for endpoint in text
        .endpoints
        .iter()
        .filter(|_| !allows_private)
        .take(MOST_ENDPOINTS)
    {
        if let Some(why) = endpoint.url.as_ref().and_then(|url| refusal(endpoint, url)) {
            let path = format!("providers.text.endpoints.{}.url", endpoint.name);
            let setting = "unless the operator sets egress.allow_private_networks";
            doubts.push(Fault::new(
                path,
                format!("{why}: its calls are refused {setting}"),
            ));
        }
    }
    doubts
}

/// Returns the doubts about sign-in: clients whose people are of no group, and issuers that are not asked.
fn sign_in(config: &TenantConfig, allows_private: bool) -> Vec<Fault> {
    let auth = &config.auth;
    let mut doubts = Vec::new();
    let mut check_group = |path: String, group: &str| {
        if !config.groups.contains_key(group) {
            let message =
                format!("there is no group {group} in user_groups: its sign-ins are refused");
            doubts.push(Fault::new(path, message));
        }
    };
    if auth.google.is_some() {
        check_group("auth.google_oauth".to_owned(), google_group());
    }
    if auth.apple.is_some() {
        let group = apple_group(|name| config.groups.contains_key(name));
        check_group("auth.apple_oauth".to_owned(), group);
    }
    for (name, client) in auth.oidc.iter().take(MOST_CLIENTS) {
        check_group(format!("auth.oidc.{name}.group"), &client.group);
    }
    for (name, client) in auth.oidc.iter().take(MOST_CLIENTS) {
        let urls = [
            ("issuer", Some(&client.issuer.discovery)),
            ("jwks_url", client.jwks_url.as_ref()),
        ];
        for (field, url) in urls {
            if let Some(why) = url.and_then(|url| unasked(url, allows_private)) {
                doubts.push(Fault::new(format!("auth.oidc.{name}.{field}"), why));
            }
        }
    }
    let google = auth.google.as_ref();
    let google =
        google.filter(|client| !client.redirect_uris.is_empty() && client.client_secret.is_none());
    let apple = auth.apple.as_ref().filter(|client| {
        let has_secret = client.client_secret.is_some() || client.private_key.is_some();
        !client.redirect_uris.is_empty() && !has_secret
    });
    let paths = [
        google.map(|_| "auth.google_oauth.client_secret"),
        apple.map(|_| "auth.apple_oauth.private_key"),
    ];
    let message =
        "is missing: without it the issuer exchanges no code, so redirect_uris have no effect";
    doubts.extend(
        paths
            .into_iter()
            .flatten()
            .map(|path| Fault::new(path, message)),
    );
    doubts
}

/// Returns the doubts about payments: keys of no mode, and what is sold without a way to hear of its payment.
fn payments(config: &TenantConfig) -> Option<Fault> {
    let stripe = config.auth.stripe.as_ref()?;
    let path = "auth.stripe.api_key";
    if stripe.api_key.is_some() && stripe.mode().is_none() {
        let message = "is no secret or restricted key (sk_live_, sk_test_, rk_live_, rk_test_): no event counts";
        return Some(Fault::new(path, message));
    }
    let mut groups = config.groups.values();
    let sells = !stripe.top_ups.is_empty() || groups.any(|group| group.stripe_price.is_some());
    let is_deaf = stripe.kind == BillingKind::Stripe && stripe.webhook_secrets.is_empty();
    (sells && is_deaf).then(|| {
        let message = "is missing: without it nothing is granted, so there is no checkout";
        Fault::new("auth.stripe.webhook_secrets", message)
    })
}

/// Returns why an issuer is not asked, as far as its URL shows it.
fn unasked(url: &Url, allows_private: bool) -> Option<String> {
    let setting = "unless the operator sets egress.allow_private_networks";
    match (is_inside(url), url.https) {
        (true, _) if !allows_private => Some(format!(
            "leads to a private address: it is not asked {setting}"
        )),
        (false, false) => Some("is not https: it is not asked".to_owned()),
        _ => None,
    }
}

fn is_inside(url: &Url) -> bool {
    let address = url.host.parse::<IpAddr>();
    let is_private = address.is_ok_and(|address| !egress::is_public(address));
    is_private || url.host == "localhost" || url.host.ends_with(".localhost")
}

/// Returns why calls of an endpoint are refused, as far as its URL shows it.
fn refusal(endpoint: &Endpoint, url: &Url) -> Option<&'static str> {
    if endpoint.kind == Kind::Demo {
        return None;
    }
    if is_inside(url) {
        return Some("leads to a private address");
    }
    (!url.https).then_some("is not https, so the provider's key would be sent in the clear")
}
