//! The lists of a tenant's keys and people: pages of what is there, newest first, and the way from an ID to a key.
//!
//! An entry is written before its record and removed after it, because two names share no step. So an entry may stand
//! without a record, never a record without an entry: whoever meets such an entry strikes it.

use super::listed::{Dated, List, ListPlace, Listed};
use super::name::{AccountName, KeyName};
use super::{Directory, Found, Outcome, Store, StoreError};
use crate::rules::amount::Millis;
use crate::rules::entry::Groups;
use crate::rules::issued_key::KeyId;
use crate::rules::record::{self, Target};
use crate::rules::tenant::TenantId;
use crate::store::Clock;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::sync::Arc;

/// Time in which the record of an entry may still be on its way.
const GRACE: Millis = Millis(60_000);
/// Records read at a time.
const AT_ONCE: usize = 32;
/// Entries read at a time by a sweep.
const SWEPT_AT_ONCE: usize = 500;

/// What one page is asked for.
#[derive(Clone, Copy, Debug)]
pub struct PageAsk {
    /// Place after which it begins. `None`: with the newest.
    pub after: Option<ListPlace>,
    /// Most entries on it.
    pub limit: usize,
    /// Most entries read for it, where many do not match.
    pub most_read: usize,
}

/// Part of a list.
#[derive(Debug)]
pub struct ListPage {
    pub found: Vec<(Listed, Found)>,
    /// Place where the next one begins. `None`: this is the last.
    pub next: Option<ListPlace>,
}

/// Returns a page of those that match.
pub async fn page(
    store: &dyn Store,
    tenant: &TenantId,
    groups: &Groups,
    list: List,
    wanted: PageAsk,
    matches: impl Fn(&Found) -> bool,
) -> Outcome<ListPage> {
    let (mut found, mut after, mut read) = (Vec::new(), wanted.after, 0);
    loop {
        let most = (wanted.limit + 1).min(wanted.most_read);
        let entries = store.listed(tenant, list, after, most).await?;
        let is_last = entries.len() < most;
        read += entries.len();
        let looked = looked_at(store, tenant, groups, entries).await?;
        for (entry, record) in looked {
            if found.len() == wanted.limit {
                let next = found.last().map(|(entry, _): &(Listed, Found)| entry.place);
                return Ok(ListPage { found, next });
            }
            after = Some(entry.place);
            if let Some(record) = record.filter(|record| matches(record)) {
                found.push((entry, record));
            }
        }
        if is_last || read >= wanted.most_read {
            let next = after.filter(|_| !is_last);
            return Ok(ListPage { found, next });
        }
    }
}

/// Returns the accounts of entries as they stand. Entries that have none, or another place, are put right.
async fn looked_at(
    store: &dyn Store,
    tenant: &TenantId,
    groups: &Groups,
    entries: Vec<Listed>,
) -> Outcome<Vec<(Listed, Option<Found>)>> {
    let looks = stream::iter(entries).map(|entry| async move {
        let found = match KeyName::stored(&entry.name) {
            Some(key) => store.find(&key, tenant, groups).await,
            None => store.find_account(&entry.name, tenant, groups).await,
        };
        let found = match found {
            // One record that another program has spoilt must not hide all others.
            Err(StoreError::Damaged { .. }) => None,
            found => found?,
        };
        if found.is_none() {
            strike_if_gone(store, tenant, &entry).await?;
        }
        Ok((entry, found))
    });
    looks.buffered(AT_ONCE).try_collect().await
}

/// Strikes an entry without a record, unless that may be on its way.
async fn strike_if_gone(store: &dyn Store, tenant: &TenantId, entry: &Listed) -> Outcome<()> {
    let is_new = entry.place.created.plus(GRACE) > Clock::Store.now();
    if is_new || store.has(&entry.name).await? {
        return Ok(());
    }
    let list = List::of(&entry.name);
    store
        .strike(tenant, list, std::slice::from_ref(entry))
        .await
}

/// Returns the stored name of a key by its ID.
pub async fn key_by_id(
    store: &dyn Store,
    tenant: &TenantId,
    id: KeyId,
) -> Outcome<Option<KeyName>> {
    let listed = store.listed_by_id(tenant, List::Keys, id).await?;
    Ok(listed.and_then(|listed| KeyName::stored(&listed.name)))
}

/// Strikes a key that was revoked.
pub async fn strike_key(store: &dyn Store, tenant: &TenantId, id: KeyId) {
    strike(store, tenant, List::Keys, id).await;
}

/// Strikes an account that was deleted, by its `label`.
pub async fn strike_user(store: &dyn Store, tenant: &TenantId, label: &str) {
    if let Some(id) = KeyId::parse(label) {
        strike(store, tenant, List::Users, id).await;
    }
}

/// Errors are ignored: whoever meets the entry strikes it.
async fn strike(store: &dyn Store, tenant: &TenantId, list: List, id: KeyId) {
    if let Ok(Some(entry)) = store.listed_by_id(tenant, list, id).await {
        let _ = store.strike(tenant, list, &[entry]).await;
    }
}

/// Enters keys that this gateway sees for the first time, in the background: another program may have written them.
pub struct Newcomers {
    store: Arc<dyn Store>,
    /// Keys that were entered lately.
    known: Mutex<HashSet<KeyId>>,
}

impl Newcomers {
    /// Keys that are remembered.
    const MOST: usize = 10_000;

    pub fn new(store: Arc<dyn Store>) -> Newcomers {
        let known = Mutex::default();
        Newcomers { store, known }
    }

    /// Enters a key that is new to the gateways' ledgers.
    pub fn note(&self, tenant: &TenantId, key: &KeyName, is_new: bool) {
        if !is_new {
            return;
        }
        let mut known = self.known.lock();
        if known.len() >= Newcomers::MOST {
            known.clear();
        }
        if !known.insert(key.id()) {
            return;
        }
        let (store, tenant, key) = (self.store.clone(), tenant.clone(), key.clone());
        tokio::spawn(async move {
            // Ignored: the lists are made anew by a command, too.
            let _ = enter_seen(&*store, &tenant, &key).await;
        });
    }
}

/// Enters a key that a gateway sees for the first time: another program may have written it.
async fn enter_seen(store: &dyn Store, tenant: &TenantId, key: &KeyName) -> Outcome<()> {
    let Some(found) = store.find(key, tenant, &Groups::default()).await? else {
        return Ok(());
    };
    if List::of(&found.account) == List::Users {
        let user = Listed::user(found.account.clone(), &found.record);
        store.enter(tenant, List::Users, &[user]).await?;
    }
    let entry = Listed::key(store.key_names().of(key), &found.record);
    store.enter(tenant, List::Keys, &[entry]).await
}

/// Strikes the entries of a tenant that have no record. Returns how many.
pub async fn sweep(store: &dyn Store, tenant: &TenantId) -> Outcome<u64> {
    let mut struck = 0;
    for list in List::ALL {
        let mut after = None;
        loop {
            let entries = store.listed(tenant, list, after, SWEPT_AT_ONCE).await?;
            let is_last = entries.len() < SWEPT_AT_ONCE;
            after = entries.last().map(|entry| entry.place);
            let now = Clock::Store.now();
            let old = entries
                .into_iter()
                .filter(|entry| entry.place.created.plus(GRACE) <= now);
            let gone = stream::iter(old).map(|entry| async move {
                let is_there = store.has(&entry.name).await?;
                Ok::<_, StoreError>((!is_there).then_some(entry))
            });
            let gone: Vec<Option<Listed>> = gone.buffered(AT_ONCE).try_collect().await?;
            let gone: Vec<Listed> = gone.into_iter().flatten().collect();
            struck += gone.len() as u64;
            store.strike(tenant, list, &gone).await?;
            if is_last {
                break;
            }
        }
    }
    Ok(struck)
}

/// Enters all that is stored where that was never done, as after an upgrade, and strikes entries without a record.
pub async fn keep(store: &dyn Store) -> Outcome<()> {
    if !store.is_listed_whole().await? {
        let entered = rebuild(store).await?;
        log::info!("The lists of keys and people were made: {entered} entries");
        return Ok(());
    }
    for tenant in store.tenants().await? {
        sweep(store, &tenant).await?;
    }
    Ok(())
}

/// Enters all that is stored, and strikes what is not, while gateways go on serving. Returns how many keys and people
/// were entered.
pub async fn rebuild(store: &dyn Store) -> Outcome<u64> {
    let mut entered = 0;
    let names = store.account_names().await?;
    let entries = stream::iter(names).map(|name| async move { entry_of(store, name).await });
    let mut entries = entries.buffered(AT_ONCE);
    while let Some(entry) = entries.next().await {
        if let Some((tenant, list, entry)) = entry? {
            store.enter(&tenant, list, &[entry]).await?;
            entered += 1;
        }
    }
    store.note_listed_whole().await?;
    for tenant in store.tenants().await? {
        sweep(store, &tenant).await?;
    }
    Ok(entered)
}

/// Returns where an account, or what leads to one, is listed. `None`: its tenant is not known, or it is an identity.
pub(super) async fn entry_of(
    store: &dyn Directory,
    name: AccountName,
) -> Outcome<Option<(TenantId, List, Listed)>> {
    let Some(text) = store.stored_text(&name).await? else {
        return Ok(None);
    };
    let tenant_of = |text: &str| Dated::parse(text).tenant();
    let (list, target) = (List::of(&name), record::target(&text));
    let (tenant, entry) = match (list, target) {
        (List::Users, Target::Record) => (tenant_of(&text), Listed::user(name, &text)),
        // Another identity of a person, or a former name.
        (List::Users, Target::Account(_)) => return Ok(None),
        // A rolled key opens nothing; another one leads here.
        (List::Keys, Target::Record)
            if record::read(&text).is_ok_and(|facts| facts.opens_to.is_some()) =>
        {
            return Ok(None);
        }
        (List::Keys, Target::Record) => (tenant_of(&text), Listed::key(name, &text)),
        (List::Keys, Target::Account(account)) => {
            let account = AccountName::parse(&account);
            let record = match &account {
                Some(account) => store.stored_text(account).await?,
                None => None,
            };
            let tenant = tenant_of(&text).or_else(|| tenant_of(record.as_deref()?));
            // Where the key has no date of its own, in `accounts.layout: user`, it is as old as its account.
            let dated = match text.trim_start().starts_with('{') {
                true => text,
                false => record.unwrap_or_default(),
            };
            (tenant, Listed::key(name, &dated))
        }
    };
    Ok(tenant.map(|tenant| (tenant, list, entry)))
}
