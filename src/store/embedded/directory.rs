//! Lists of keys and people in memory. They are made from what is stored when they are first asked for, so a store that
//! nobody lists pays nothing for them.

use super::Embedded;
use crate::rules::amount::Millis;
use crate::rules::issued_key::KeyId;
use crate::rules::tenant::TenantId;
use crate::store::directory::{self, List, Listed, Place};
use crate::store::name::AccountName;
use crate::store::{Directory, Outcome};
use async_trait::async_trait;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Time for which an entry is remembered before the lists are made: its record may still be on its way.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

/// One list of a tenant.
#[derive(Default)]
struct Entries {
    by_place: BTreeMap<Place, AccountName>,
    created: HashMap<KeyId, Millis>,
}

impl Entries {
    fn enter(&mut self, entry: &Listed) {
        let id = entry.place.id;
        if let Some(created) = self.created.get(&id) {
            let created = *created;
            let place = Place { created, id };
            if self.by_place.get(&place) == Some(&entry.name) {
                return;
            }
            self.by_place.remove(&place);
        }
        self.created.insert(id, entry.place.created);
        self.by_place.insert(entry.place, entry.name.clone());
    }

    fn strike(&mut self, entry: &Listed) {
        if self.by_place.get(&entry.place) == Some(&entry.name) {
            self.by_place.remove(&entry.place);
            self.created.remove(&entry.place.id);
        }
    }
}

type Lists = HashMap<(TenantId, List), Entries>;

/// The lists of a store.
#[derive(Default)]
pub(super) struct InMemory {
    /// `None`: nobody has asked for them yet.
    lists: Mutex<Option<Lists>>,
    /// Entries before that, with when they were made.
    recent: Mutex<VecDeque<(Instant, TenantId, List, Listed)>>,
    /// Held by whoever makes the lists.
    making: tokio::sync::Mutex<()>,
}

impl InMemory {
    fn enter(&self, tenant: &TenantId, list: List, entries: &[Listed]) {
        let mut lists = self.lists.lock();
        if let Some(lists) = &mut *lists {
            let of_tenant = lists.entry((tenant.clone(), list)).or_default();
            entries.iter().for_each(|entry| of_tenant.enter(entry));
            return;
        }
        let (mut recent, now) = (self.recent.lock(), Instant::now());
        let is_old =
            |(at, ..): &(Instant, TenantId, List, Listed)| now.duration_since(*at) > REMEMBERED_FOR;
        while recent.front().is_some_and(is_old) {
            recent.pop_front();
        }
        let new = entries.iter().cloned();
        recent.extend(new.map(|entry| (now, tenant.clone(), list, entry)));
    }

    fn with<T>(
        &self,
        tenant: &TenantId,
        list: List,
        read: impl FnOnce(&Entries) -> T,
    ) -> Option<T> {
        let lists = self.lists.lock();
        lists.as_ref()?.get(&(tenant.clone(), list)).map(read)
    }

    /// Puts made lists in force, with what was entered meanwhile.
    fn publish(&self, mut made: Lists) {
        let mut lists = self.lists.lock();
        for (_, tenant, list, entry) in self.recent.lock().drain(..) {
            made.entry((tenant, list)).or_default().enter(&entry);
        }
        *lists = Some(made);
    }
}

impl Embedded {
    /// Makes the lists where that was not done yet.
    async fn make_lists(&self) -> Outcome<()> {
        if self.lists.lists.lock().is_some() {
            return Ok(());
        }
        let _making = self.lists.making.lock().await;
        if self.lists.lists.lock().is_some() {
            return Ok(());
        }
        let mut made = Lists::new();
        for name in self.account_names().await? {
            if let Some((tenant, list, entry)) = directory::entry_of(self, name).await? {
                made.entry((tenant, list)).or_default().enter(&entry);
            }
            tokio::task::consume_budget().await;
        }
        self.lists.publish(made);
        Ok(())
    }
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
        after: Option<Place>,
        most: usize,
    ) -> Outcome<Vec<Listed>> {
        self.make_lists().await?;
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
        self.make_lists().await?;
        let read = |entries: &Entries| {
            let created = *entries.created.get(&id)?;
            let place = Place { created, id };
            let name = entries.by_place.get(&place)?.clone();
            Some(Listed { place, name })
        };
        Ok(self.lists.with(tenant, list, read).flatten())
    }

    async fn count_listed(&self, tenant: &TenantId, list: List) -> Outcome<u64> {
        self.make_lists().await?;
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
