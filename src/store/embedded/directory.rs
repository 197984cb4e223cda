//! The verbs of lists: memory, and what is stored.

use super::Embedded;
use super::lists::{Entries, Lists};
use crate::rules::issued_key::KeyId;
use crate::rules::tenant::TenantId;
use crate::store::directory;
use crate::store::listed::{List, ListPlace, Listed};
use crate::store::name::AccountName;
use crate::store::{Directory, Outcome};
use async_trait::async_trait;

/// Makes the lists where that was not done yet.
async fn make_lists(store: &Embedded) -> Outcome<()> {
    if store.lists.lists.lock().is_some() {
        return Ok(());
    }
    let _making = store.lists.making.lock().await;
    if store.lists.lists.lock().is_some() {
        return Ok(());
    }
    let mut made = Lists::new();
    for name in store.account_names().await? {
        if let Some((tenant, list, entry)) = directory::entry_of(store, name).await? {
            made.entry((tenant, list)).or_default().enter(&entry);
        }
        tokio::task::consume_budget().await;
    }
    store.lists.publish(made);
    Ok(())
}

#[async_trait]
impl Directory for Embedded {
    async fn enter(&self, tenant: &TenantId, list: List, entries: &[Listed]) -> Outcome<()> {
        self.lists.enter(tenant, list, entries);
        Ok(())
    }

    async fn strike(&self, tenant: &TenantId, list: List, entries: &[Listed]) -> Outcome<()> {
        let mut lists = self.lists.lists.lock();
        let of_tenant = lists
            .as_mut()
            .and_then(|lists| lists.get_mut(&(tenant.clone(), list)));
        if let Some(of_tenant) = of_tenant {
            entries.iter().for_each(|entry| of_tenant.strike(entry));
        }
        Ok(())
    }

    async fn listed(
        &self,
        tenant: &TenantId,
        list: List,
        after: Option<ListPlace>,
        most: usize,
    ) -> Outcome<Vec<Listed>> {
        make_lists(self).await?;
        let read = |entries: &Entries| {
            let all = match after {
                Some(place) => entries.by_place.range(..place),
                None => entries.by_place.range(..),
            };
            let newest = all.rev().take(most);
            newest
                .map(|(place, name)| Listed {
                    place: *place,
                    name: name.clone(),
                })
                .collect()
        };
        Ok(self.lists.with(tenant, list, read).unwrap_or_default())
    }

    async fn listed_by_id(
        &self,
        tenant: &TenantId,
        list: List,
        id: KeyId,
    ) -> Outcome<Option<Listed>> {
        make_lists(self).await?;
        let read = |entries: &Entries| {
            let created = *entries.created.get(&id)?;
            let place = ListPlace { created, id };
            let name = entries.by_place.get(&place)?.clone();
            Some(Listed { place, name })
        };
        Ok(self.lists.with(tenant, list, read).flatten())
    }

    async fn count_listed(&self, tenant: &TenantId, list: List) -> Outcome<u64> {
        make_lists(self).await?;
        let count = self
            .lists
            .with(tenant, list, |entries| entries.by_place.len() as u64);
        Ok(count.unwrap_or_default())
    }

    async fn has(&self, name: &AccountName) -> Outcome<bool> {
        Ok(self.stored_text(name).await?.is_some())
    }

    async fn stored_text(&self, name: &AccountName) -> Outcome<Option<String>> {
        let now = self.keeping.clock.now();
        let stored = self.disk.read(name.as_str())?;
        let stored = stored.filter(|stored| super::is_account(stored, now));
        Ok(stored.map(|stored| stored.text.clone()))
    }

    async fn account_names(&self) -> Outcome<Vec<AccountName>> {
        // Names are read from the database, and a change may not have come there yet.
        self.disk.durable(self.disk.sequence()).await?;
        let mut names = self.disk.names("apiKey:")?;
        names.extend(self.disk.names("user:")?);
        let names = names.iter().filter_map(|name| AccountName::parse(name));
        Ok(names.collect())
    }

    /// The lists are made from all that is stored.
    async fn is_listed_whole(&self) -> Outcome<bool> {
        Ok(true)
    }

    async fn note_listed_whole(&self) -> Outcome<()> {
        Ok(())
    }
}
