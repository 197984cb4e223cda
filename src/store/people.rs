//! What spans two names of the store: a key's own name and the account that lists the key.
//!
//! The account is written first, then what leads to it. A crash in between leaves a key in a list that nobody was
//! given. A key ends in the account's list, in one step; what led from it is swept up afterwards.

use super::directory;
use super::listed::{List, ListPlace, Listed};
use super::name::{AccountName, KeyName};
use super::{Joining, Led, Outcome, Store, StoreError};
use crate::rules::amount::Tokens;
use crate::rules::entry::{Erased, Join, Joined};
use crate::rules::issued_key::{IssuedKey, KeyId};
use crate::rules::tenant::TenantId;
use crate::settings::Layout;
use serde_json::json;

/// A key that was added to a person's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    pub account: AccountName,
    pub joined: Joined,
}

/// Writes what leads from keys to accounts.
#[derive(Clone, Copy)]
pub struct Leads<'a> {
    pub tenant: &'a TenantId,
    pub layout: Layout,
}

impl Leads<'_> {
    /// Returns what is stored under a key's name. It has no balance, so that nobody takes it for a record.
    fn text(&self, account: &AccountName, key: &IssuedKey) -> String {
        match self.layout {
            Layout::User => account.part().to_owned(),
            Layout::Key => json!({
                "userId": account.part(),
                "createdAt": crate::rules::date::rfc3339(key.created),
                "tenantId": self.tenant.as_str(),
                "account": account.as_str(),
            })
            .to_string(),
        }
    }
}

/// Adds a key to a person's account, and to the one that it is linked to where it is.
pub async fn issue(
    store: &dyn Store,
    leads: Leads<'_>,
    account: &AccountName,
    key: &KeyName,
    join: &Join,
) -> Outcome<Issued> {
    let mut account = account.clone();
    let listed = enter_founded(store, leads.tenant, &account, join).await?;
    let mut joining = repeated(store, &account, join).await?;
    if let Joining::Linked(main) = joining {
        let through = Join {
            identity: Some(account.part().to_owned()),
            founding: None,
            ..join.clone()
        };
        joining = repeated(store, &main, &through).await?;
        if joining == Joining::Joined(Joined::Absent) && join.founding.is_some() {
            // The account was deleted before what led there was swept up.
            store.unlead(&account).await?;
            joining = repeated(store, &account, join).await?;
        } else {
            account = main;
        }
    }
    let Joining::Joined(joined) = joining else {
        let joined = Joined::Absent;
        return Ok(Issued { account, joined });
    };
    if let Some(listed) = listed.filter(|_| !matches!(joined, Joined::Done { created: true, .. })) {
        store.strike(leads.tenant, List::Users, &[listed]).await?;
    }
    if let Joined::Done { ended, .. } = &joined {
        let text = leads.text(&account, &join.key);
        let name = store.key_names().of(key);
        let entry = entry_of_key(name.clone(), &join.key);
        store.enter(leads.tenant, List::Keys, &[entry]).await?;
        store.lead(&name, &text, join.life).await?;
        sweep(store, leads.tenant, ended).await;
    }
    Ok(Issued { account, joined })
}

/// Enters an account that a join may create. It has a label of its own, so an account that is there stays entered.
async fn enter_founded(
    store: &dyn Store,
    tenant: &TenantId,
    account: &AccountName,
    join: &Join,
) -> Outcome<Option<Listed>> {
    let Some(founding) = &join.founding else {
        return Ok(None);
    };
    let entry = Listed::user(account.clone(), &founding.record);
    let entries = std::slice::from_ref(&entry);
    store.enter(tenant, List::Users, entries).await?;
    Ok(Some(entry))
}

fn entry_of_key(name: AccountName, key: &IssuedKey) -> Listed {
    let place = ListPlace {
        created: key.created,
        id: KeyId::of_name(name.as_str()),
    };
    Listed { place, name }
}

/// Joins, and repeats that once where the answer was lost: the same key is never added twice.
async fn repeated(store: &dyn Store, account: &AccountName, join: &Join) -> Outcome<Joining> {
    match store.join(account, join).await {
        Err(StoreError::Unknown(_) | StoreError::Unreplicated(_)) => {
            store.join(account, join).await
        }
        joining => joining,
    }
}

/// Removes what led from ended keys to their account. What is left over opens nothing.
async fn sweep(store: &dyn Store, tenant: &TenantId, ended: &[IssuedKey]) {
    for key in ended {
        if let Some(name) = AccountName::parse(&key.entry) {
            // Ignored: the account no longer lists the key.
            let _ = store.unlead(&name).await;
            // By its ID: the account has the store's time of the key, the entry this machine's.
            directory::strike_key(store, tenant, key.id()).await;
        }
    }
}

/// Ends a key of a person's account. Returns it with what it has spent of a bound of its own, requests in flight
/// included. `None`: the account has no such key.
pub async fn end_key(
    store: &dyn Store,
    tenant: &TenantId,
    account: &AccountName,
    id: KeyId,
) -> Outcome<Option<(IssuedKey, Tokens)>> {
    let ended = store.drop_key(account, id).await?;
    if let Some((key, _)) = &ended {
        sweep(store, tenant, std::slice::from_ref(key)).await;
    }
    Ok(ended)
}

/// Removes what led to a deleted account.
pub async fn sweep_erased(store: &dyn Store, tenant: &TenantId, erased: &Erased) {
    sweep(store, tenant, &erased.keys).await;
    for identity in &erased.identities {
        if let Some(name) = AccountName::user(identity) {
            // Ignored: the next sign-in with this identity finds no account there, and sweeps it up.
            let _ = store.unlead(&name).await;
        }
    }
}

/// Links an identity to an account. False: it has an account of its own, or leads to another one.
pub async fn link(
    store: &dyn Store,
    identity: &AccountName,
    account: &AccountName,
) -> Outcome<bool> {
    if identity == account {
        return Ok(true);
    }
    Ok(match store.lead(identity, account.part(), None).await? {
        Led::Done => true,
        Led::Taken(led) => led.as_ref() == Some(account),
    })
}
