//! Items within a bound of bytes, of which the least recently used are dropped first: the specification of the answer cache.
//!
//! Each item has an expiry and an owner. Pure: `now` comes in. The embedded store keeps its index in an [`Lru`], and the
//! Lua in `store/redis/scripts/answers.lua` repeats it; a property test compares both. An expired item is never found,
//! counts for nobody, and is the first to be dropped.

use super::amount::Millis;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

/// One item: its size as it counts against the bound, its expiry, its owner, and a value of the caller's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item<V> {
    pub bytes: u64,
    pub expires: Millis,
    pub owner: String,
    pub value: V,
}

/// Items by their key, with their order of use. Its sum of bytes is exact after every change.
pub struct Lru<K, V> {
    items: HashMap<K, (Item<V>, u64)>,
    by_use: BTreeMap<u64, K>,
    by_expiry: BTreeSet<(Millis, K)>,
    bytes: u64,
    turn: u64,
}

impl<K, V> Default for Lru<K, V> {
    fn default() -> Lru<K, V> {
        Lru {
            items: HashMap::new(),
            by_use: BTreeMap::new(),
            by_expiry: BTreeSet::new(),
            bytes: 0,
            turn: 0,
        }
    }
}

impl<K: Copy + Ord + Hash, V> Lru<K, V> {
    /// Returns a live item, and marks it as the one used latest.
    pub fn touch(&mut self, key: &K, now: Millis) -> Option<&Item<V>> {
        let (item, used) = self.items.get_mut(key)?;
        if item.expires <= now {
            return None;
        }
        self.turn += 1;
        self.by_use.remove(used);
        self.by_use.insert(self.turn, *key);
        *used = self.turn;
        Some(item)
    }

    /// Adds an item in place of one of the same key, and drops the least recently used until all have at most `most`
    /// bytes. Returns what was replaced or dropped; `None`: the item alone is larger, and nothing was changed.
    pub fn put(
        &mut self,
        key: K,
        item: Item<V>,
        most: u64,
        now: Millis,
    ) -> Option<Vec<(K, Item<V>)>> {
        if item.bytes > most {
            return None;
        }
        let mut dropped = self.drop_expired(now);
        dropped.extend(self.remove(&key).map(|before| (key, before)));
        while self.bytes > most - item.bytes {
            let Some(oldest) = self.by_use.values().next().copied() else {
                break;
            };
            dropped.extend(self.remove(&oldest).map(|item| (oldest, item)));
        }
        self.turn += 1;
        self.bytes += item.bytes;
        self.by_use.insert(self.turn, key);
        self.by_expiry.insert((item.expires, key));
        self.items.insert(key, (item, self.turn));
        Some(dropped)
    }

    /// Returns an item, also an expired one, without marking it as used.
    pub fn peek(&self, key: &K) -> Option<&Item<V>> {
        self.items.get(key).map(|(item, _)| item)
    }

    pub fn remove(&mut self, key: &K) -> Option<Item<V>> {
        let (item, used) = self.items.remove(key)?;
        self.by_use.remove(&used);
        self.by_expiry.remove(&(item.expires, *key));
        self.bytes -= item.bytes;
        Some(item)
    }

    pub fn drop_expired(&mut self, now: Millis) -> Vec<(K, Item<V>)> {
        let mut dropped = Vec::new();
        while let Some((expires, key)) = self.by_expiry.first().copied() {
            if expires > now {
                break;
            }
            dropped.extend(self.remove(&key).map(|item| (key, item)));
        }
        dropped
    }

    /// Drops all items of an owner.
    pub fn drop_owned(&mut self, owner: &str) -> Vec<(K, Item<V>)> {
        let owned = self
            .items
            .iter()
            .filter(|(_, (item, _))| item.owner == owner);
        let owned: Vec<K> = owned.map(|(key, _)| *key).collect();
        let removed = owned.into_iter().map(|key| Some((key, self.remove(&key)?)));
        removed.flatten().collect()
    }

    /// Sum of all items' bytes, expired ones that were not dropped yet included.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Number of items, expired ones that were not dropped yet included.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn item(bytes: u64, expires: u64) -> Item<u8> {
        Item {
            bytes,
            expires: Millis(expires),
            owner: format!("o{}", bytes % 3),
            value: 0,
        }
    }

    #[test]
    fn used_item_outlives_one_that_was_put_later() {
        let mut lru = Lru::default();
        for key in [1, 2, 3] {
            lru.put(key, item(10, 100), 30, Millis(0));
        }
        lru.touch(&1, Millis(0)).unwrap();

        let dropped = lru.put(4, item(10, 100), 30, Millis(0)).unwrap();

        let dropped: Vec<i32> = dropped.iter().map(|(key, _)| *key).collect();
        assert_eq!(dropped, [2]);
    }

    #[test]
    fn expired_item_is_dropped_before_an_older_live_one() {
        let mut lru = Lru::default();
        lru.put(1, item(10, 100), 20, Millis(0));
        lru.put(2, item(10, 50), 20, Millis(0));
        assert!(lru.touch(&2, Millis(49)).is_some());
        assert!(lru.touch(&2, Millis(50)).is_none());

        lru.put(3, item(10, 100), 20, Millis(50)).unwrap();

        assert!(lru.touch(&1, Millis(50)).is_some());
        assert_eq!(lru.len(), 2);
    }

    #[test]
    fn item_larger_than_the_bound_changes_nothing() {
        let mut lru = Lru::default();
        lru.put(1, item(10, 100), 20, Millis(0));
        assert_eq!(lru.put(1, item(21, 100), 20, Millis(0)), None);
        assert_eq!(lru.touch(&1, Millis(0)), Some(&item(10, 100)));
    }

    proptest! {
        #[test]
        fn sum_and_orders_agree_with_the_items_after_any_history(
            steps in proptest::collection::vec((0u8..6, 0u8..8, 0u64..40, 1u64..60), 1..80),
        ) {
            let mut lru = Lru::default();
            let mut now = 0;
            for (step, key, bytes, span) in steps {
                match step {
                    0 => now += span,
                    1 => { lru.remove(&key); }
                    2 => { lru.drop_owned(&format!("o{}", key % 3)); }
                    3 => { lru.touch(&key, Millis(now)); }
                    _ => {
                        let fits = lru.put(key, item(bytes, now + span), 60, Millis(now)).is_some();
                        prop_assert!(fits && lru.bytes() <= 60);
                    }
                }
                let sum: u64 = lru.items.values().map(|(item, _)| item.bytes).sum();
                prop_assert_eq!(lru.bytes(), sum);
                prop_assert_eq!(lru.by_use.len(), lru.len());
                prop_assert_eq!(lru.by_expiry.len(), lru.len());
            }
        }
    }
}
