//! The caller's key and its account, for routes that people call themselves.

use super::answer::Refusal;
use super::{Local, Request, credentials};
use crate::rules::issued_key::IssuedKey;
use crate::rules::record::is_suspended;
use crate::store::Found;
use crate::store::name::KeyName;
use crate::store::tenants::Tenant;
use serde_json::Value;
use std::net::IpAddr;

/// Returns the account of the key that a request was sent with. 401 if there is none.
pub(super) async fn found(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
) -> Result<(KeyName, Found), Refusal> {
    let key = sent(request)?;
    let found = find(local, tenant, &key, request.address).await?;
    Ok((key, found))
}

/// Returns the key that a request was sent with. 401 if there is none.
pub(super) fn sent(request: &Request<'_>) -> Result<KeyName, Refusal> {
    let key = credentials::key(|name| request.headers.get(name)?.to_str().ok());
    key.and_then(KeyName::parse).ok_or(Refusal::UnknownKey)
}

/// Returns the account of a key. 401 if there is none, 403 if the key is not for this address.
pub(super) async fn find(
    local: &Local,
    tenant: &Tenant,
    key: &KeyName,
    address: IpAddr,
) -> Result<Found, Refusal> {
    let found = local.store.find(key, &tenant.id, &tenant.groups).await?;
    let found = found.ok_or(Refusal::UnknownKey)?;
    if is_suspended(&found.record) {
        // Else a person could leave, and come back to an account that is not.
        let why = "This account is suspended";
        return Err(Refusal::Forbidden(why.to_owned()));
    }
    let issued = found.standing.issued.as_deref();
    match issued.is_none_or(|key| key.is_for(address)) {
        true => Ok(found),
        false => Err(Refusal::Forbidden(
            "This key may not be used from this address".to_owned(),
        )),
    }
}

/// Returns what a person is called: the app's own ID, or the derived name.
pub(super) fn user_id(found: &Found) -> Option<String> {
    let record: Value = serde_json::from_str(&found.record).ok()?;
    record.get("userId")?.as_str().map(str::to_owned)
}

/// Returns the account of a key that may manage it. 403 for keys of nobody, of sessions, and with bounds.
pub(super) async fn manager(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
) -> Result<(KeyName, Found), Refusal> {
    let (key, found) = found(local, request, tenant).await?;
    check_manager(&found)?;
    Ok((key, found))
}

/// Refuses a key that manages no account.
pub(super) fn check_manager(found: &Found) -> Result<(), Refusal> {
    let issued = found.standing.issued.as_deref();
    match issued.is_some_and(IssuedKey::may_manage) {
        true => Ok(()),
        false => Err(Refusal::Forbidden(
            "This key may not do that: a key of a sign-in, or one made with it and without bounds, may".to_owned(),
        )),
    }
}
