//! Lists of keys and people in memory. They are made from what is stored when they are first asked for, so a store that
//! nobody lists pays nothing for them.

use crate::rules::amount::Millis;
use crate::rules::issued_key::KeyId;
use crate::rules::tenant::TenantId;
use crate::store::listed::{List, ListPlace, Listed};
use crate::store::name::AccountName;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Time for which an entry is remembered before the lists are made: its record may still be on its way.
const REMEMBERED_FOR: Duration = Duration::from_secs(60);

/// One list of a tenant.
#[derive(Default)]
pub(super) struct Entries {
    pub by_place: BTreeMap<ListPlace, AccountName>,
    pub created: HashMap<KeyId, Millis>,
}

impl Entries {
    pub fn enter(&mut self, entry: &Listed) {
        let id = entry.place.id;
        if let Some(created) = self.created.get(&id) {
            let created = *created;
            let place = ListPlace { created, id };
            if self.by_place.get(&place) == Some(&entry.name) {
                return;
            }
            self.by_place.remove(&place);
        }
        self.created.insert(id, entry.place.created);
        self.by_place.insert(entry.place, entry.name.clone());
    }

    pub fn strike(&mut self, entry: &Listed) {
        if self.by_place.get(&entry.place) == Some(&entry.name) {
            self.by_place.remove(&entry.place);
            self.created.remove(&entry.place.id);
        }
    }
}

pub(super) type Lists = HashMap<(TenantId, List), Entries>;

/// The lists of a store.
#[derive(Default)]
pub(super) struct InMemory {
    /// `None`: nobody has asked for them yet.
    pub lists: Mutex<Option<Lists>>,
    /// Entries before that, with when they were made.
    recent: Mutex<VecDeque<(Instant, TenantId, List, Listed)>>,
    /// Held by whoever makes the lists.
    pub making: tokio::sync::Mutex<()>,
}

impl InMemory {
    pub fn enter(&self, tenant: &TenantId, list: List, entries: &[Listed]) {
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

    pub fn with<T>(
        &self,
        tenant: &TenantId,
        list: List,
        read: impl FnOnce(&Entries) -> T,
    ) -> Option<T> {
        let lists = self.lists.lock();
        lists.as_ref()?.get(&(tenant.clone(), list)).map(read)
    }

    /// Puts made lists in force, with what was entered meanwhile.
    pub fn publish(&self, mut made: Lists) {
        let mut lists = self.lists.lock();
        for (_, tenant, list, entry) in self.recent.lock().drain(..) {
            made.entry((tenant, list)).or_default().enter(&entry);
        }
        *lists = Some(made);
    }
}
