//! The shape of a copy: layout of records and names of keys, as the settings say.
//!
//! Balances, holds, leases and all that stands beside a record move with it, whatever its name becomes.

use crate::rules::amount::Millis;
use crate::rules::person;
use crate::rules::record::{self, Target};
use crate::settings::Layout;
use crate::store::name::{self, AccountName, KeyName, KeyNames};
use crate::store::stored::{Stored, Things};
use std::collections::{BTreeMap, BTreeSet};

/// Time for which a user's former account leads to the key that has it.
const MOVED_FOR: Millis = Millis(7 * Millis::DAY.0);

pub struct Shape {
    now: Millis,
    names: KeyNames,
    layout: Layout,
    /// New names of accounts, by their old ones.
    renamed: BTreeMap<String, String>,
    pub(super) kept_by_user: u64,
}

impl Shape {
    pub(super) fn new(names: KeyNames, layout: Layout, now: Millis) -> Shape {
        Shape {
            now,
            names,
            layout,
            renamed: BTreeMap::new(),
            kept_by_user: 0,
        }
    }

    /// Returns the contents in this shape. `Err`: two things would have one name.
    pub(super) fn of(&mut self, things: Things) -> Result<Things, String> {
        let things = match self.layout {
            Layout::User => self.by_user(things),
            Layout::Key => self.by_key(things)?,
        };
        let mut shaped = Things::new();
        for (name, mut stored) in things {
            if let Some(key) = self
                .renamed
                .get(&name)
                .filter(|key| key.starts_with("apiKey:"))
            {
                stored.text = name::moved_to(&self.hashed(key).unwrap_or(key.clone()));
            }
            let name = self.hashed(&name).unwrap_or(name);
            for key in stored.keys.values_mut() {
                key.entry = self
                    .hashed(&key.entry)
                    .unwrap_or(std::mem::take(&mut key.entry));
            }
            stored.books.rename_carry(|from| {
                let renamed = self.renamed.get(from).cloned();
                let from = renamed.as_deref().unwrap_or(from);
                self.hashed(from).or(renamed.clone())
            });
            if shaped.insert(name.clone(), stored).is_some() {
                return Err(format!("two records would be {}", name::id(&name)));
            }
        }
        if let Some(id) = self.names.secret_id() {
            shaped.insert(name::SECRET.to_owned(), Stored::text(&id));
        }
        Ok(shaped)
    }

    /// Returns the hashed form of a clear name. `None`: it stays as it is.
    fn hashed(&self, name: &str) -> Option<String> {
        if !self.names.are_hashed() {
            return None;
        }
        let hashed = self.names.hashed_of(&AccountName::parse(name)?)?;
        Some(hashed.as_str().to_owned())
    }

    /// Gives each key with a balance of its own a user, who has the balance.
    fn by_user(&mut self, things: Things) -> Things {
        let mut shaped = Things::new();
        let is_own = |name: &str, stored: &Stored| {
            name.starts_with("apiKey:") && record::target(&stored.text) == Target::Record
        };
        let (own, others): (Things, Things) = things
            .into_iter()
            .partition(|(name, stored)| is_own(name, stored));
        shaped.extend(others);
        // Names that something leads to, also where nothing is: it must not lead to another account from now on.
        let texts = shaped.values().map(|stored| &stored.text);
        let led: BTreeSet<AccountName> = texts
            .filter_map(|text| AccountName::of_target(text))
            .collect();
        for (name, stored) in own {
            let user = user_of(&stored.text)
                .filter(|user| {
                    let account = format!("user:{user}");
                    let is_led_to =
                        AccountName::parse(&account).is_some_and(|name| led.contains(&name));
                    !shaped.contains_key(&account) && !is_led_to
                })
                .unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
            let account = format!("user:{user}");
            let lead = Stored {
                expires: stored.expires,
                ..Stored::text(&user)
            };
            self.renamed.insert(name.clone(), account.clone());
            shaped.insert(name, lead);
            shaped.insert(account, stored);
        }
        shaped
    }

    /// Gives each key the balance of its user, where no other key has the same. Accounts of people stay as they are.
    fn by_key(&mut self, mut things: Things) -> Result<Things, String> {
        let mut leads: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, stored) in &things {
            if let Some(account) = AccountName::of_target(&stored.text) {
                let account = account.as_str().to_owned();
                leads.entry(account).or_default().push(name.clone());
            }
        }
        let users: Vec<String> = things
            .range("user:".to_owned()..)
            .take_while(|(name, _)| name.starts_with("user:"))
            .filter(|(name, stored)| {
                let is_person = AccountName::parse(name).is_none_or(|name| name.is_person());
                !is_person && record::target(&stored.text) == Target::Record
            })
            .map(|(name, _)| name.clone())
            .collect();
        for user in users {
            let key = match leads.get(&user).map(Vec::as_slice) {
                Some([key]) if key.starts_with("apiKey:") => key.clone(),
                _ => {
                    self.kept_by_user += 1;
                    continue;
                }
            };
            let Some(mut stored) = things.remove(&user) else {
                continue;
            };
            let id = user.trim_start_matches("user:");
            stored.text = record::with_string(&stored.text, "userId", id)
                .map_err(|damage| format!("{}: {damage}", name::id(&user)))?;
            // For what was under way there when its gateway died.
            let moved = Stored {
                expires: Some(self.now.plus(MOVED_FOR)),
                ..Stored::text(&name::moved_to(&key))
            };
            things.insert(user.clone(), moved);
            let lead = things.remove(&key);
            // The key opens the account no longer than before.
            stored.expires = lead.and_then(|lead| lead.expires).or(stored.expires);
            self.renamed.insert(user, key.clone());
            things.insert(key, stored);
        }
        Ok(things)
    }
}

/// Returns the user that a record names, if an account may have that name.
fn user_of(text: &str) -> Option<String> {
    let record: serde_json::Value = serde_json::from_str(text).ok()?;
    let user = record.get("userId")?.as_str()?;
    let is_free = KeyName::parse(user).is_some() && !person::is_id(user);
    is_free.then(|| user.to_owned())
}
