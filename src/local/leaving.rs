//! A person leaves, or asks what is kept: `DELETE /auth/me`, `GET /auth/export`, and the same for an admin below
//! `/admin/users`.

use super::admin::Right;
use super::answer::{Answer, Refusal, json};
use super::audit::{ChangeNote, audited};
use super::billing::{ending, history};
use super::people::APPLE_TOKEN;
use super::{Local, Request, accounts, admin, caller, keys, ledger, named, usage};
use crate::api::{self, LedgerQuery};
use crate::issuers::client::{Client, Named};
use crate::issuers::exchange;
use crate::rules::amount::Tokens;
use crate::rules::issued_key::{IssuedKey, KeyId};
use crate::store::directory;
use crate::store::name::AccountName;
use crate::store::people;
use crate::store::tenants::Tenant;
use crate::telemetry::fields::About;
use log::Level;
use serde_json::Value;
use serde_json::value::RawValue;

/// Serves `DELETE /auth/me`.
pub(super) async fn delete_own(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
) -> Result<Answer, Refusal> {
    let (_, found) = caller::manager(local, request, tenant).await?;
    erase(local, request, tenant, &found.account, &found.label()).await
}

/// Serves `DELETE /admin/users/{user}`.
pub(super) async fn delete(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    user: &str,
) -> Result<Answer, Refusal> {
    let by = admin::authorize(local, request, &tenant.id, Right::Manage).await?;
    let account = named::user_account(local, tenant, user).await?;
    // Others have no list of their keys, which would open the next account of that name.
    if !account.is_person() {
        return Err(Refusal::NotFound);
    }
    let record = local.store.person(&account, &tenant.id).await?;
    let record = record.ok_or(Refusal::NotFound)?;
    let record: Value = serde_json::from_str(&record).unwrap_or_default();
    let label = label_in(&record, &account);
    let note = || ChangeNote::new("user.deleted").of("account", account.id());
    let making = async {
        let answer = erase(local, request, tenant, &account, &label).await?;
        Ok((answer, note()))
    };
    let answer = audited(local, request, &by, &tenant.id, note(), making).await?;
    by.log(
        request,
        accounts::about(tenant, &account.id()),
        &[],
        format_args!("An account was deleted"),
    );
    Ok(answer)
}

async fn erase(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    account: &AccountName,
    label: &str,
) -> Result<Answer, Refusal> {
    ending::end_subscriptions(local, tenant, account).await?;
    let life = local.settings.retention.deleted_accounts.into();
    let erased = local.store.erase(account, life).await?;
    let erased = erased.ok_or(Refusal::NotFound)?;
    forget_answers(local, tenant, label).await;
    people::sweep_erased(&*local.store, &tenant.id, &erased).await;
    directory::strike_user(&*local.store, &tenant.id, label).await;
    let ids: Vec<KeyId> = erased.keys.iter().map(IssuedKey::id).collect();
    local.revocations.announce(&ids).await?;
    if let Some(sealed) = &erased.apple {
        revoke_at_apple(local, request, tenant, sealed).await;
    }
    Ok(json(200, &api::Success::DONE))
}

/// Returns the label by which usage records name an account, from its record.
fn label_in(record: &Value, account: &AccountName) -> String {
    let label = record["label"].as_str().map(str::to_owned);
    label.unwrap_or_else(|| account.id())
}

/// Drops the cached answers that an account has paid for. Those that cannot be dropped now expire.
async fn forget_answers(local: &Local, tenant: &Tenant, label: &str) {
    if let Err(error) = local.store.forget_answers_of(&tenant.id, label).await {
        let about = accounts::about(tenant, label);
        let line = format_args!(
            "Cached answers of a deleted account were not dropped: {error}. They end by their own time"
        );
        about.log(module_path!(), Level::Warn, &[], line);
    }
}

/// Tells Apple that the person has left. That it cannot be told stops nothing.
async fn revoke_at_apple(local: &Local, request: &Request<'_>, tenant: &Tenant, sealed: &str) {
    let identity = &local.settings.identity;
    let client = Client::of(Named::Apple, &tenant.config.auth, identity, |_| true);
    let secrets = &local.tenants.secrets;
    let token = secrets.unseal(&tenant.id, APPLE_TOKEN, sealed);
    let revoked = match (client, token) {
        (Some(client), Some(token)) => {
            let url = &identity.apple.revoke_url;
            let now = accounts::now();
            exchange::revoke(&local.issuers, &client, url, &token, now).await
        }
        (None, _) => Err("auth.apple_oauth is not configured".to_owned()),
        (_, None) => Err("no key of secrets opens it".to_owned()),
    };
    if let Err(why) = revoked {
        let about = About {
            tenant: Some(tenant.id.as_str()),
            request: Some(request.id),
            ..About::default()
        };
        let line = format_args!(
            "Apple's token of a deleted account was not revoked: {why}. The app stays in the person's list of sign-ins"
        );
        about.log(module_path!(), Level::Warn, &[], line);
    }
}

/// Serves `GET /auth/export`.
pub(super) async fn export_own(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
) -> Result<Answer, Refusal> {
    let (_, found) = caller::manager(local, request, tenant).await?;
    exported(local, tenant, &found.account).await
}

/// Serves `GET /admin/users/{user}/export`.
pub(super) async fn export(
    local: &Local,
    request: &Request<'_>,
    tenant: &Tenant,
    user: &str,
) -> Result<Answer, Refusal> {
    admin::authorize(local, request, &tenant.id, Right::Look).await?;
    exported(
        local,
        tenant,
        &named::user_account(local, tenant, user).await?,
    )
    .await
}

async fn exported(
    local: &Local,
    tenant: &Tenant,
    account: &AccountName,
) -> Result<Answer, Refusal> {
    let record = local.store.person(account, &tenant.id).await?;
    let record = record.ok_or(Refusal::NotFound)?;
    let mut record: Value = serde_json::from_str(&record).unwrap_or_default();
    let label = label_in(&record, account);
    let mut member = |name: &str| record.get_mut(name).map(Value::take);
    let listed = local.store.keys(account).await?.unwrap_or_default();
    let payments = history::payments(local, tenant, account).await?;
    let all = LedgerQuery {
        limit: usize::MAX,
        cursor: None,
    };
    let ledger = ledger::ledger(local, tenant, account, "user_", &all).await?;
    let texts = usage::of_account(local, tenant, &label).await?;
    let events: Vec<&RawValue> = texts
        .iter()
        .filter_map(|text| serde_json::from_str(text).ok())
        .collect();
    let answer = api::Export {
        account: account.part().to_owned(),
        user_id: member("userId"),
        created_at: member("createdAt"),
        group: member("group").and_then(|group| group.as_str().map(str::to_owned)),
        tokens_left: member("tokensLeft")
            .and_then(|left| left.as_u64())
            .map_or(Tokens::ZERO, Tokens::new),
        identities: local.store.identities(account).await?,
        keys: keys::all_shown(listed, None),
        payments: payments.ok_or(Refusal::NotFound)?,
        ledger: ledger.ok_or(Refusal::NotFound)?,
        usage: events,
    };
    Ok(json(200, &answer))
}
