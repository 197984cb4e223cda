//! Authenticate: reads the API key of a call from `authorization`, or from the header that the API's SDK
//! uses.

use crate::http1::head::Request;
use crate::local::credentials;
use crate::proxy::error::GatewayError;
use crate::store::name::KeyName;
use crate::store::tenants::Tenant;
use crate::store::{Found, Ledger};

/// Parses the key; the store decides later whether it exists. 401 where there is none.
pub fn authenticate(request: &Request) -> Result<KeyName, GatewayError> {
    let key = credentials::key(|name| request.fields.get(name)).ok_or(GatewayError::MissingKey)?;
    KeyName::parse(key).ok_or(GatewayError::UnknownKey)
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
