//! The app's pages that a person comes back to from Stripe: such as the tenant's config allows.

use crate::local::answer::Refusal;
use crate::rules::config::TenantConfig;
use crate::rules::identity::redirect::RedirectUri;
use crate::rules::origin::WebOrigin;
use crate::url::Url;

/// Placeholder that Stripe replaces by the ID of the session.
const SESSION_PLACE: &str = "{CHECKOUT_SESSION_ID}";

/// Accepts a page of an origin in `cors.origins`, or one of the `redirect_uris` to the letter; `name` is the member that
/// has it. `*` allows none: the page is shown who has paid.
pub(super) fn check(config: &TenantConfig, name: &str, page: &str) -> Result<(), Refusal> {
    // Stripe puts the session's ID in its place.
    let plain = page.replace(SESSION_PLACE, "cs");
    let url = Url::parse(&plain).ok();
    let origin = url.and_then(|url| {
        let scheme = if url.https { "https" } else { "http" };
        WebOrigin::parse(&format!("{scheme}://{}", url.authority()))
    });
    let cors = config.cors.as_ref();
    let is_named = cors
        .zip(origin.as_ref())
        .is_some_and(|(cors, origin)| cors.names(origin));
    match is_named || redirect_uris(config).any(|uri| uri.allows(page)) {
        true => Ok(()),
        false => Err(Refusal::Bad(format!(
            "{name} must be a page of an origin in the tenant's cors.origins, or one of its redirect_uris"
        ))),
    }
}

/// Returns the page that leads back where the caller names none: the first origin that is named.
pub(super) fn usual(config: &TenantConfig) -> Option<String> {
    let cors = config.cors.as_ref()?;
    Some(cors.first_named()?.to_string())
}

fn redirect_uris(config: &TenantConfig) -> impl Iterator<Item = &RedirectUri> {
    let auth = &config.auth;
    let google = auth.google.iter().flat_map(|client| &client.redirect_uris);
    let apple = auth.apple.iter().flat_map(|client| &client.redirect_uris);
    let oidc = auth.oidc.values().flat_map(|client| &client.redirect_uris);
    google.chain(apple).chain(oidc)
}
