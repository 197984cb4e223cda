//! People as an admin names them: by their account's name, by what usage records call it, or by the app's own ID.

use super::answer::Refusal;
use super::{Local, sessions};
use crate::rules::issued_key::KeyId;
use crate::rules::person::is_id;
use crate::rules::tenant::decoded;
use crate::store::Found;
use crate::store::listed::List;
use crate::store::name::AccountName;
use crate::store::tenants::Tenant;

/// Returns the account of a user as an admin names it.
pub(super) async fn user_account(
    local: &Local,
    tenant: &Tenant,
    user: &str,
) -> Result<AccountName, Refusal> {
    let user = decoded(user).ok_or(Refusal::NotFound)?;
    if is_id(&user) {
        return AccountName::user(&user).ok_or(Refusal::NotFound);
    }
    if let Some(id) = KeyId::parse(&user)
        && let Some(listed) = local
            .store
            .listed_by_id(&tenant.id, List::Users, id)
            .await?
    {
        return Ok(listed.name);
    }
    let of_app = sessions::account(tenant, &user);
    let plain = AccountName::user(&user).filter(|_| !user.is_empty());
    match plain {
        // In `accounts.layout: user` an account may have the app's own ID for its name.
        Some(plain) if !local.store.has(&of_app).await? && local.store.has(&plain).await? => {
            Ok(plain)
        }
        _ => Ok(of_app),
    }
}

/// Returns the account of a user as it stands.
pub(super) async fn find_user(
    local: &Local,
    tenant: &Tenant,
    user: &str,
) -> Result<Found, Refusal> {
    let account = user_account(local, tenant, user).await?;
    let found = local
        .store
        .find_account(&account, &tenant.id, &tenant.groups);
    found.await?.ok_or(Refusal::NotFound)
}
