//! Accounts of people in the embedded store: each verb runs the rule of `rules::entry` in one step.

use super::disk::{ChangeKind, Next};
use super::{Embedded, entry_of, is_account, ledger};
use crate::rules::amount::{Millis, Tokens};
use crate::rules::carry::Taken;
use crate::rules::entry::{Entry, Erased, Join};
use crate::rules::issued_key::{IssuedKey, KeyId};
use crate::rules::payments::book::{Paid, Pay, PaymentBook};
use crate::rules::record;
use crate::rules::tenant::TenantId;
use crate::store::name::AccountName;
use crate::store::stored::Stored;
use crate::store::{Joining, Led, ListedKey, Outcome, People, Purchases, Received, StoreError};
use async_trait::async_trait;

#[async_trait]
impl People for Embedded {
    async fn join(&self, account: &AccountName, join: &Join) -> Outcome<Joining> {
        let now = self.keeping.clock.now();
        let step = |found: Option<&Stored>| {
            let found = found.filter(|stored| !stored.expired(now));
            if let Some(linked) = found.and_then(linked) {
                return Ok((Joining::Linked(linked), Next::Keep));
            }
            let mut entry = match found {
                Some(stored) if is_account(stored, now) => entry_of(account, stored),
                // What remains of a deleted account.
                Some(stored) => Entry {
                    books: stored.books.clone(),
                    ..Entry::new(String::new())
                },
                None => Entry::new(String::new()),
            };
            let before = entry.clone();
            let joined = entry
                .join(now, join)
                .map_err(|damage| StoreError::damaged(account, damage))?;
            let next = match entry == before || entry.record.is_empty() {
                true => Next::Keep,
                false => Next::set(Stored {
                    text: entry.record,
                    expires: None,
                    books: entry.books,
                    keys: entry.keys.unwrap_or_default(),
                    ..found.cloned().unwrap_or_else(|| Stored::text(""))
                }),
            };
            Ok((Joining::Joined(joined), next))
        };
        let (joining, sequence) = self
            .disk
            .change(account.as_str(), ChangeKind::Begins, step)?;
        self.disk.durable(sequence).await?;
        Ok(joining)
    }

    async fn lead(&self, name: &AccountName, text: &str, life: Option<Millis>) -> Outcome<Led> {
        let now = self.keeping.clock.now();
        let step = |found: Option<&Stored>| {
            let found = found.filter(|stored| !stored.expired(now));
            // A name of which only a deleted account remains is free. What remains stays beside it.
            Ok(match found {
                Some(stored) if is_account(stored, now) => (Led::Taken(linked(stored)), Next::Keep),
                remains => {
                    let lead = Stored {
                        expires: life.map(|life| now.plus(life)),
                        ..remains.map_or_else(
                            || Stored::text(text),
                            |stored| Stored {
                                text: text.to_owned(),
                                ..stored.clone()
                            },
                        )
                    };
                    (Led::Done, Next::set(lead))
                }
            })
        };
        let (led, sequence) = self.disk.change(name.as_str(), ChangeKind::Begins, step)?;
        self.disk.durable(sequence).await?;
        Ok(led)
    }

    async fn unlead(&self, name: &AccountName) -> Outcome<bool> {
        let now = self.keeping.clock.now();
        let step = |found: Option<&Stored>| {
            let Some(lead) = found.filter(|stored| linked(stored).is_some()) else {
                return Ok((false, Next::Keep));
            };
            let until = lead.books.remains_until();
            let next = match until > now {
                false => Next::Remove,
                true => Next::set(Stored {
                    expires: Some(until),
                    text: String::new(),
                    ..lead.clone()
                }),
            };
            Ok((true, next))
        };
        let hashed = self.keeping.key_names.hashed_of(name);
        for name in std::iter::once(name).chain(&hashed) {
            let (removed, sequence) = self.disk.change(name.as_str(), ChangeKind::Ends, step)?;
            self.disk.durable(sequence).await?;
            if removed {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn keys(&self, account: &AccountName) -> Outcome<Option<Vec<ListedKey>>> {
        let now = self.keeping.clock.now();
        let stored = self.disk.read(account.as_str())?;
        let stored = stored.filter(|stored| is_account(stored, now));
        Ok(stored.map(|stored| {
            let keys = entry_of(account, &stored).live_keys(now);
            keys.into_iter()
                .map(|(id, key, spent)| ListedKey { id, key, spent })
                .collect()
        }))
    }

    /// One process has the directory, so what it revokes it knows.
    async fn announce_revoked(&self, _ids: &[KeyId]) -> Outcome<()> {
        Ok(())
    }

    async fn revoked_since(&self, _last: Option<&str>) -> Outcome<(String, Vec<KeyId>)> {
        Ok((String::new(), Vec::new()))
    }

    async fn person(&self, account: &AccountName, tenant: &TenantId) -> Outcome<Option<String>> {
        let stored = self.disk.read(account.as_str())?;
        let text = stored.map(|stored| stored.text.clone());
        Ok(text.filter(|text| record::is_of(text, tenant.as_str())))
    }

    async fn identities(&self, account: &AccountName) -> Outcome<Vec<String>> {
        let stored = self.disk.read(account.as_str())?;
        Ok(stored.map_or_else(Vec::new, |stored| stored.books.identities()))
    }

    async fn drop_key(
        &self,
        account: &AccountName,
        id: KeyId,
    ) -> Outcome<Option<(IssuedKey, Tokens)>> {
        let dropped = self
            .on_account_flushed(account, |entry, _, _| Ok(entry.drop_key(id)))
            .await?;
        Ok(dropped.flatten())
    }

    async fn take(
        &self,
        from: &AccountName,
        tenant: &TenantId,
        to: &AccountName,
        most: Tokens,
    ) -> Outcome<Option<Taken>> {
        self.on_account_flushed(from, |entry, now, orphans| {
            entry.take(now, orphans, tenant.as_str(), to.as_str(), most)
        })
        .await
    }

    async fn receive(
        &self,
        account: &AccountName,
        from: &str,
        total: Tokens,
        is_over: bool,
    ) -> Outcome<Option<Received>> {
        self.on_account_flushed(account, |entry, now, _| {
            let sum = entry.receive(now, from, total, is_over)?;
            let left = entry.facts()?.left;
            Ok(Received { sum, left })
        })
        .await
    }

    async fn erase(&self, account: &AccountName, life: Millis) -> Outcome<Option<Erased>> {
        let now = self.keeping.clock.now();
        let step = |found: Option<&Stored>| {
            let Some(stored) = found.filter(|stored| is_account(stored, now)) else {
                return Ok((None, Next::Keep));
            };
            let mut entry = entry_of(account, stored);
            let erased = entry
                .erase(now.plus(life))
                .map_err(|damage| StoreError::damaged(account, damage))?;
            let remains = Stored {
                expires: Some(entry.books.remains_until()),
                books: entry.books,
                payments: stored.payments.clone(),
                ..Stored::text("")
            };
            Ok((Some(erased), Next::set(remains)))
        };
        let (erased, sequence) = self
            .disk
            .change(account.as_str(), ChangeKind::Begins, step)?;
        self.disk.durable(sequence).await?;
        if erased.is_some() {
            self.ledgers.remove(account).await?;
        }
        Ok(erased)
    }
}

#[async_trait]
impl Purchases for Embedded {
    async fn payments(&self, account: &AccountName) -> Outcome<Option<PaymentBook>> {
        let now = self.keeping.clock.now();
        let stored = self.disk.read(account.as_str())?;
        let stored = stored.filter(|stored| {
            is_account(stored, now) || (!stored.expired(now) && !stored.payments.is_empty())
        });
        Ok(stored.map(|stored| stored.payments.clone()))
    }

    async fn pay(&self, account: &AccountName, pay: &Pay) -> Outcome<Option<Paid>> {
        let (now, orphans) = (self.keeping.clock.now(), self.keeping.orphans);
        let step = |found: Option<&Stored>| {
            let found = found.filter(|stored| !stored.expired(now) && linked(stored).is_none());
            let Some(stored) = found else {
                return Ok((None, Next::Keep));
            };
            let mut entry = entry_of(account, stored);
            let mut payments = stored.payments.clone();
            let paid = entry
                .pay(now, orphans, &mut payments, pay)
                .map_err(|damage| StoreError::damaged(account, damage))?;
            let after = Stored {
                text: entry.record,
                books: entry.books,
                payments,
                ..stored.clone()
            };
            let next = ledger::change(account, stored, after, &entry.postings);
            Ok((paid, next))
        };
        let (paid, sequence) = self
            .disk
            .change(account.as_str(), ChangeKind::Begins, step)?;
        self.disk.durable(sequence).await?;
        Ok(paid)
    }
}

/// Returns the account that a stored text leads to.
fn linked(stored: &Stored) -> Option<AccountName> {
    AccountName::of_target(&stored.text)
}
