//! Doubts about a config that can be read: what it says will hardly do what was meant.

use super::endpoint::{Endpoint, Kind};
use super::tenant::TenantConfig;
use crate::rules::egress;
use crate::tables::Fault;
use crate::url::Url;
use std::net::IpAddr;

/// Endpoints that are looked at: a list of warnings is for people.
const MOST_ENDPOINTS: usize = 20;

/// Returns the doubts. `allows_private`: the setting `egress.allow_private_networks`.
pub fn doubts(config: &TenantConfig, allows_private: bool) -> Vec<Fault> {
    let mut doubts = Vec::new();
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
    if !text.fallbacks.is_empty() {
        let message = "not in force yet: no other endpoint is tried when one fails";
        doubts.push(Fault::new("providers.text.fallbacks", message));
    }
    doubts
}

/// Returns why calls of an endpoint are refused, as far as its URL shows it.
fn refusal(endpoint: &Endpoint, url: &Url) -> Option<&'static str> {
    if endpoint.kind == Kind::Demo {
        return None;
    }
    let address = url.host.parse::<IpAddr>();
    let is_inside = address.is_ok_and(|address| !egress::is_public(address));
    if is_inside || url.host == "localhost" || url.host.ends_with(".localhost") {
        return Some("leads to a private address");
    }
    (!url.https).then_some("is not https, so the provider's key would be sent in the clear")
}
