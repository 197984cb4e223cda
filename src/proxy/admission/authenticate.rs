//! Authenticate: reads the API key of a call from `authorization`, or from the header that the API's SDK
//! uses.

use crate::http1::head::Request;
use crate::local::credentials;
use crate::proxy::error::GatewayError;
use crate::store::name::KeyName;
use crate::store::tenants::Tenant;
use crate::store::{Found, Ledger};

/// Parses the key; the store decides later whether it exists. 401 where there is none.
pub fn authenticate(request: &Request, tenant: &Tenant) -> Result<KeyName, GatewayError> {
    let in_header = credentials::key(|name| request.fields.get(name));
    let takes_query = tenant.config.auth.key_in_query;
    let key = in_header.or_else(|| key_in_query(request).filter(|_| takes_query));
    let key = key.ok_or_else(|| match key_in_query(request) {
        Some(_) => GatewayError::KeyInQuery,
        None => GatewayError::MissingKey,
    })?;
    KeyName::parse(key).ok_or(GatewayError::UnknownKey)
}

/// Returns the value of `key` in the query, as it is written: keys need no percent-encoding.
fn key_in_query(request: &Request) -> Option<&str> {
    let mut pairs = request.query()?.split('&');
    let key = pairs.find_map(|pair| pair.strip_prefix("key="))?;
    (!key.is_empty()).then_some(key)
}

/// Looks a key up in the store, outside of admission. 401 if it does not exist.
pub(crate) async fn require_known(
    store: &dyn Ledger,
    tenant: &Tenant,
    key: &KeyName,
) -> Result<Found, GatewayError> {
    let found = store.find(key, &tenant.id, &tenant.groups).await?;
    found.ok_or(GatewayError::UnknownKey)
}
