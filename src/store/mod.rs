//! REMEMBERS. The contract of the store: the domain's verbs, each one atomic step.
//!
//! Two engines implement [`Store`]: `embedded` (a directory on disk, one process) and `redis` (single,
//! Sentinel or Cluster). The rules in `rules::entry` say what a verb does; an engine only makes it atomic and
//! durable. No code outside this folder may know which engine it uses, and no verb is a plain get or set.

mod boot;
pub mod carries;
mod checksum;
pub mod config_history;
pub mod config_secrets;
mod contents;
pub mod copy;
pub mod directory;
pub mod embedded;
mod folder;
mod followers;
pub mod journal;
pub mod leases;
pub mod listed;
pub mod name;
pub mod open;
pub mod people;
pub mod redis;
pub mod replay;
pub mod revocations;
mod stored;
pub mod tenants;

use crate::rules::account::{
    Admit, Ask, Claim, Credit, Credited, Grant, Look, Orphans, Report, Reported, Settlement,
    Verdict,
};
use crate::rules::amount::{Millis, Tokens};
use crate::rules::carry::{Carry, Taken};
use crate::rules::entry::{Amend, Caller, Erased, Groups, Join, Joined, Standing};
use crate::rules::issued_key::{IssuedKey, KeyId};
use crate::rules::payments::book::{Paid, Pay, PaymentBook};
use crate::rules::posting::Statement;
use crate::rules::record::Damage;
use crate::rules::tenant::TenantId;
use crate::rules::window::Window;
use crate::telemetry::counter::Histogram;
use async_trait::async_trait;
use bytes::Bytes;
use listed::{List, ListPlace, Listed};
use name::{AccountName, AnswerKey, KeyName, KeyNames, LogName, TenantText, TicketName};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Error of a verb that was not applied, or may not have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The store is unreachable or answered with an error of its own. The command was not applied.
    Unavailable(String),
    /// The store was known and logged to be unreachable, so the command was not sent.
    Lost(String),
    /// The store's disk is full and nothing new is taken. The command was not applied.
    Full,
    /// The command was sent and no reply came, so its outcome is unknown. Repeat it as a retry.
    Unknown(String),
    /// The command was applied, but on fewer servers than required. Repeat it unchanged.
    Unreplicated(String),
    /// The stored value is not a record. An operator must look at it.
    Damaged { name: String, damage: Damage },
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreError::Unavailable(why) | StoreError::Lost(why) => {
                write!(f, "store unavailable: {why}")
            }
            StoreError::Full => f.write_str("the store's disk is full"),
            StoreError::Unknown(why) => write!(f, "store did not answer: {why}"),
            StoreError::Unreplicated(why) => write!(f, "store has it on too few servers: {why}"),
            StoreError::Damaged { name, damage } => write!(f, "{name}: {damage}"),
        }
    }
}

impl std::error::Error for StoreError {}

impl StoreError {
    fn damaged(account: &AccountName, damage: Damage) -> StoreError {
        StoreError::Damaged {
            name: account.id(),
            damage,
        }
    }
}

pub type Outcome<T> = Result<T, StoreError>;

/// A new key and its account. `user` is set if the account is the user's and the key only points to it.
#[derive(Clone, Debug)]
pub struct Mint {
    pub key: KeyName,
    pub user: Option<String>,
    pub record: String,
    /// Life of the key; `None`: it never expires.
    pub life: Option<Millis>,
}

/// Part of a ledger: at most `most` postings with numbers below `before`, the newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerPage {
    pub before: Option<u64>,
    pub most: usize,
}

/// Result of [`Ledger::find`]: an account as it stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub account: AccountName,
    pub record: String,
    pub standing: Standing,
    pub look: Look,
    /// Balance of an earlier key that has not all arrived yet.
    pub carry: Option<Carry>,
    /// What the key has spent, where it has a bound of its own.
    pub spent: Tokens,
    /// Time until the key expires; `None`: never.
    pub life: Option<Millis>,
}

impl Found {
    /// Returns what usage records and log lines of calls name the account by.
    pub fn label(&self) -> String {
        let label = self.standing.label.clone();
        label.unwrap_or_else(|| self.account.id())
    }
}

/// Result of [`Ledger::admit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyAdmission {
    /// The key does not exist at this tenant.
    Unknown,
    Known {
        account: AccountName,
        standing: Standing,
        /// Balance of an earlier key that has not all arrived yet.
        carry: Option<Carry>,
        /// Whether the account has no ledger yet: another program may have written it, and then it is in no list.
        is_new: bool,
        admission: Verdict,
    },
}

/// Result of [`People::join`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Joining {
    Joined(Joined),
    /// The identity is linked to this account.
    Linked(AccountName),
}

/// Result of [`People::lead`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Led {
    Done,
    /// The name is taken: by what leads to this account, or by an account (`None`).
    Taken(Option<AccountName>),
}

/// A key of a person's account, as [`People::keys`] lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedKey {
    pub id: KeyId,
    pub key: IssuedKey,
    /// What it has spent of a bound of its own.
    pub spent: Tokens,
}

/// Result of [`People::receive`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Sum that has come from the other account.
    pub sum: Tokens,
    pub left: Tokens,
}

/// Result of [`Configs::replace_config`] and [`Configs::replace_tenant_text`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    Done,
    /// The stored text is not `expected`; nothing was written.
    Changed,
}

/// Result of [`Ledger::count`]. `wait`: time until every window has space again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    Passed,
    Limited { wait: Millis },
}

/// Result of [`Ledger::agree_on_secret`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agreement {
    Agreed,
    /// Names of keys are hashed with another secret.
    OtherSecret,
    /// Names of keys are hashed with a secret that this gateway does not have.
    NoSecret,
    /// A copy fills the store, or was broken off.
    HalfCopied,
}

impl Agreement {
    /// Compares what is noted with a gateway's secret.
    fn of(noted: Option<&str>, id: Option<&str>) -> Agreement {
        match (noted, id) {
            (Some(_), None) => Agreement::NoSecret,
            (Some(noted), Some(id)) if noted != id => Agreement::OtherSecret,
            _ => Agreement::Agreed,
        }
    }
}

/// Bytes that an answer in the cache counts in addition to its own: its names, its rows in the index, and what a file
/// system or Redis adds. Without them, empty answers would have no bound.
pub const ANSWER_OVERHEAD_BYTES: u64 = 512;

/// An answer to keep, for [`AnswerCache::keep_answer`].
#[derive(Clone)]
pub struct NewAnswer<'a> {
    /// Label of the account that paid for it.
    pub owner: &'a str,
    pub bytes: Bytes,
    pub life: Millis,
    /// Bound of all answers of the tenant, each with [`ANSWER_OVERHEAD_BYTES`].
    pub most_bytes: u64,
    /// Shelf that the call has found. `None`: the answer is kept whatever was forgotten meanwhile.
    pub shelf: Option<Shelf>,
}

/// Name of a tenant's answers as they stood. It is another one after anything of them was forgotten, so that an answer
/// which was under way then is not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shelf(pub String);

/// Result of [`AnswerCache::find_answer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundAnswer {
    pub answer: Option<Bytes>,
    pub shelf: Shelf,
}

impl NewAnswer<'_> {
    /// Size as it counts against the bound.
    fn size(&self) -> u64 {
        self.bytes.len() as u64 + ANSWER_OVERHEAD_BYTES
    }
}

/// Receives changes of tenant configs, made by this or any other process.
pub trait Follower: Send + Sync {
    fn changed(&self, tenant: &str);
    /// Any config may have changed.
    fn all_changed(&self);
    /// `live`: whether changes are reported from now on. While they are not, cached configs must be re-read
    /// soon.
    fn following(&self, live: bool);
}

/// Accounts, keys, holds, leases and rate limits: the verbs that decide about tokens. Each is one atomic step.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// Creates a key and its account. False: a key or an account of that name exists.
    async fn mint(&self, mint: &Mint) -> Outcome<bool>;

    /// Returns the account of a key at a tenant, as a sweep would leave it. Nothing is written.
    async fn find(
        &self,
        key: &KeyName,
        tenant: &TenantId,
        groups: &Groups,
    ) -> Outcome<Option<Found>>;

    /// Returns an account of a tenant by its own name, as [`Ledger::find`] does for its keys.
    async fn find_account(
        &self,
        account: &AccountName,
        tenant: &TenantId,
        groups: &Groups,
    ) -> Outcome<Option<Found>>;

    /// Returns what requests in flight and leases hold of an account.
    async fn claims(&self, account: &AccountName) -> Outcome<Vec<Claim>>;

    /// Checks key, tenant, window and balance and takes the hold, in one step. A refusal takes nothing.
    async fn admit(
        &self,
        key: &KeyName,
        caller: Caller<'_>,
        ask: &Admit<'_>,
    ) -> Outcome<KeyAdmission>;

    /// Extends a hold by `ttl` and raises its known cost to `known`. False: the hold is gone.
    async fn renew(
        &self,
        account: &AccountName,
        id: &str,
        known: Tokens,
        ttl: Millis,
    ) -> Outcome<bool>;

    /// Ends a hold and charges `used`; a `retry` charges only what was not charged before. `None`: the
    /// account is gone, and its balance with it. `note`: JSON object for the ledger, or empty.
    async fn settle(
        &self,
        account: &AccountName,
        id: &str,
        used: Tokens,
        retry: bool,
        note: &str,
    ) -> Outcome<Option<Settlement>>;

    /// Replays a settlement acknowledged by a server that was replaced since. Charged only if the new server
    /// still has the hold, or charged less when it expired.
    async fn resettle(
        &self,
        account: &AccountName,
        id: &str,
        used: Tokens,
        note: &str,
    ) -> Outcome<Option<Settlement>>;

    /// Ends the hold of an admission whose reply never came. Succeeds even if no hold exists.
    async fn release(&self, key: &KeyName, id: &str) -> Outcome<()>;

    /// Reserves balance and window slots that an instance may spend without asking.
    async fn lease(&self, account: &AccountName, ask: &Ask<'_>) -> Outcome<Option<Grant>>;

    /// Charges what an instance spent of its lease, and frees what it gives back.
    async fn report(&self, account: &AccountName, report: &Report<'_>)
    -> Outcome<Option<Reported>>;

    /// Adds to a balance or takes from it, once per ID. Fewer replicas than [`AccountSettings::credit_replicas`]:
    /// [`StoreError::Unreplicated`].
    async fn credit(&self, account: &AccountName, credit: &Credit<'_>)
    -> Outcome<Option<Credited>>;

    /// Brings a balance up to date and returns the account's ledger. `key`: the beginning of a key of the account, for
    /// its group where the record names none. `None`: the account does not exist.
    async fn statement(
        &self,
        account: &AccountName,
        groups: &Groups,
        key: &str,
        page: LedgerPage,
    ) -> Outcome<Option<Statement>>;

    /// Changes what an admin may change of an account, as [`Ledger::credit`] does where that has a `credit`. `None`: the
    /// account does not exist.
    async fn amend(&self, account: &AccountName, amend: &Amend<'_>) -> Outcome<Option<Credited>>;

    /// Moves an account to another group. False: the account does not exist.
    async fn regroup(&self, account: &AccountName, group: &str) -> Outcome<bool>;

    /// Deletes a key, and its account if it is the key's own. False: the key does not exist.
    async fn revoke(&self, key: &KeyName) -> Outcome<bool>;

    /// Counts one event of `what` against each named window, or against none if one of them is full.
    async fn count(&self, what: &str, bounds: &[(&str, Window)]) -> Outcome<Counted>;

    /// How keys are named here.
    fn key_names(&self) -> &KeyNames;

    /// Notes by its ID, the first time, which secret hashes the names of keys. `None`: this gateway has no secret.
    async fn agree_on_secret(&self, id: Option<&str>) -> Outcome<Agreement>;

    /// Number of times the server behind the store was replaced: the new one may have forgotten the latest
    /// acknowledged commands. `None`: no acknowledged command is forgotten while this process lives.
    fn generation(&self) -> Option<u64>;
}

/// Accounts of people: keys that come and go, balances that are carried over, deletion. Each verb is one atomic step on
/// one account; what spans two accounts or names is put together in `people.rs`.
#[async_trait]
pub trait People: Send + Sync {
    /// Adds a key to a person's account, and creates the account where there is none.
    async fn join(&self, account: &AccountName, join: &Join) -> Outcome<Joining>;

    /// Writes what leads from `name` to an account.
    async fn lead(&self, name: &AccountName, text: &str, life: Option<Millis>) -> Outcome<Led>;

    /// Removes what leads from `name` to an account. False: there was nothing.
    async fn unlead(&self, name: &AccountName) -> Outcome<bool>;

    /// Returns the live keys of a person's account. `None`: there is no such account.
    async fn keys(&self, account: &AccountName) -> Outcome<Option<Vec<ListedKey>>>;

    /// Announces keys that were revoked, so that all instances end what is in flight with them.
    async fn announce_revoked(&self, ids: &[KeyId]) -> Outcome<()>;

    /// Returns the keys that were announced since, and where to go on. `None`: begins now, with none.
    async fn revoked_since(&self, last: Option<&str>) -> Outcome<(String, Vec<KeyId>)>;

    /// Returns the record of a person's account of a tenant, without a sweep.
    async fn person(&self, account: &AccountName, tenant: &TenantId) -> Outcome<Option<String>>;

    /// Returns the other identities that lead to a person's account.
    async fn identities(&self, account: &AccountName) -> Outcome<Vec<String>>;

    /// Ends a key of a person's account. Returns it with what it has spent of a bound of its own, requests in flight
    /// included. `None`: the account has no such key.
    async fn drop_key(
        &self,
        account: &AccountName,
        id: KeyId,
    ) -> Outcome<Option<(IssuedKey, Tokens)>>;

    /// Takes what is free of an anonymous key's account for the account `to`, `most` in all, and closes it. `None`: it
    /// is gone.
    async fn take(
        &self,
        from: &AccountName,
        tenant: &TenantId,
        to: &AccountName,
        most: Tokens,
    ) -> Outcome<Option<Taken>>;

    /// Adds what has left the account `from` in all and is not here yet. `None`: the account is gone.
    async fn receive(
        &self,
        account: &AccountName,
        from: &str,
        total: Tokens,
        is_over: bool,
    ) -> Outcome<Option<Received>>;

    /// Deletes a person's account. What keeps it from beginning anew with more than it had remains for `life`. `None`:
    /// there is no such account.
    async fn erase(&self, account: &AccountName, life: Millis) -> Outcome<Option<Erased>>;
}

/// Payments of people's accounts.
#[async_trait]
pub trait Purchases: Send + Sync {
    /// Returns the payments of a person's account, of a deleted one too while they are kept; without any they are empty.
    /// `None`: there is no such account.
    async fn payments(&self, account: &AccountName) -> Outcome<Option<PaymentBook>>;

    /// Changes the payments of a person's account, and its balance and group with them, in one step. Those of a deleted
    /// account change alone. Fewer replicas
    /// than [`AccountSettings::credit_replicas`]: [`StoreError::Unreplicated`]. `None`: there is no such account at
    /// this tenant.
    async fn pay(&self, account: &AccountName, pay: &Pay) -> Outcome<Option<Paid>>;
}

/// Configs and admin tokens of tenants.
#[async_trait]
pub trait Configs: Send + Sync {
    /// Returns a tenant's config, exactly the text that was stored.
    async fn config(&self, tenant: &TenantId) -> Outcome<Option<Arc<str>>>;

    /// Writes a config if there is none. False: there was one.
    async fn seed_config(&self, tenant: &TenantId, text: &str) -> Outcome<bool>;

    /// Replaces a config; with `expected`, only if that is the stored text.
    async fn replace_config(
        &self,
        tenant: &TenantId,
        expected: Option<&str>,
        text: &str,
    ) -> Outcome<Put>;

    /// Deletes a tenant's config, what is kept beside it and its cached answers. False: there was no config.
    async fn delete_tenant(&self, tenant: &TenantId) -> Outcome<bool>;

    /// Returns every tenant that has a config.
    async fn tenants(&self) -> Outcome<Vec<TenantId>>;

    /// Returns a [`TenantText`], which is kept beside a tenant's config.
    async fn tenant_text(&self, tenant: &TenantId, which: TenantText) -> Outcome<Option<String>>;

    /// Replaces such a text if it is `expected`; `None`: if there is none.
    async fn replace_tenant_text(
        &self,
        tenant: &TenantId,
        which: TenantText,
        expected: Option<&str>,
        text: &str,
    ) -> Outcome<Put>;

    /// Registers `follower` for changes of configs from now on.
    fn follow(&self, follower: Arc<dyn Follower>);
}

/// Usage records of tenants, and what is kept like them.
#[async_trait]
pub trait UsageLog: Send + Sync {
    /// Appends records to a log, which [`LogBounds`] bounds. A retry appends them again.
    async fn record(&self, log: &LogName, records: &[String]) -> Outcome<()>;

    /// Returns at most `most` records since `since`, newest first.
    async fn recorded(&self, log: &LogName, since: Millis, most: usize) -> Outcome<Vec<String>>;

    /// Removes the records of all tenants, deleted ones too, that are older than their log's [`LogBounds::age`]. Returns
    /// how many.
    async fn purge(&self) -> Outcome<u64>;
}

/// One-time things of sign-in, each known by the hash of a secret. They end by themselves.
#[async_trait]
pub trait Tickets: Send + Sync {
    /// Keeps a text for `life`. False: there is a ticket of that name, which stays as it is.
    async fn issue(&self, ticket: &TicketName, text: &str, life: Millis) -> Outcome<bool>;

    /// Takes a text out: of any number of callers, one gets it. `None`: it is not there, or no longer.
    async fn redeem(&self, ticket: &TicketName) -> Outcome<Option<String>>;
}

/// Answers of providers that are given again, by the hash of what was asked. A cache: any of them may be gone at any
/// time, and none is copied or backed up. An error is a miss.
#[async_trait]
pub trait AnswerCache: Send + Sync {
    /// Returns a kept answer that has not expired, and marks it as used now; with the tenant's shelf.
    async fn find_answer(&self, tenant: &TenantId, key: &AnswerKey) -> Outcome<FoundAnswer>;

    /// Returns a kept answer, as [`AnswerCache::find_answer`].
    async fn cached_answer(&self, tenant: &TenantId, key: &AnswerKey) -> Outcome<Option<Bytes>> {
        Ok(self.find_answer(tenant, key).await?.answer)
    }

    /// Keeps an answer in place of one of the same key, and drops the least recently used ones until the tenant's
    /// answers fit into `most_bytes`. False: the answer alone is larger, or its shelf is gone; nothing is kept.
    async fn keep_answer(
        &self,
        tenant: &TenantId,
        key: &AnswerKey,
        answer: &NewAnswer<'_>,
    ) -> Outcome<bool>;

    /// Drops the answers that an account paid for. Returns how many.
    async fn forget_answers_of(&self, tenant: &TenantId, owner: &str) -> Outcome<u64>;

    /// Drops all answers of a tenant. Returns how many.
    async fn forget_answers(&self, tenant: &TenantId) -> Outcome<u64>;
}

/// Life of the store itself: whether it is up, and what of its data is durable.
#[async_trait]
pub trait Durability: Send + Sync {
    /// Waits until everything acknowledged so far survives a power loss of this machine. Returns at once for
    /// Redis, whose durability is configured there.
    async fn flush(&self) -> Outcome<()>;

    /// Checks that the store answers.
    async fn ready(&self) -> Outcome<()>;

    /// Whether the store is up as far as is known, without asking it.
    fn is_up(&self) -> bool;

    /// Durations of the commands to the store (`resullm_store_seconds`). `None`: they are not measured.
    fn durations(&self) -> Option<&Histogram> {
        None
    }

    /// Makes everything acknowledged durable and closes the engine.
    async fn close(&self);
}

/// Lists of a tenant's keys and people, and what is stored under the names in them. `directory.rs` keeps the two together.
#[async_trait]
pub trait Directory: Send + Sync {
    /// Enters keys or people, before their records are written.
    async fn enter(&self, tenant: &TenantId, list: List, entries: &[Listed]) -> Outcome<()>;

    /// Strikes entries, after their records were removed.
    async fn strike(&self, tenant: &TenantId, list: List, entries: &[Listed]) -> Outcome<()>;

    /// Returns at most `most` entries after a place, newest first.
    async fn listed(
        &self,
        tenant: &TenantId,
        list: List,
        after: Option<ListPlace>,
        most: usize,
    ) -> Outcome<Vec<Listed>>;

    async fn listed_by_id(
        &self,
        tenant: &TenantId,
        list: List,
        id: KeyId,
    ) -> Outcome<Option<Listed>>;

    /// Returns the number of entries, those without a record included.
    async fn count_listed(&self, tenant: &TenantId, list: List) -> Outcome<u64>;

    /// Whether anything is stored under a name.
    async fn has(&self, name: &AccountName) -> Outcome<bool>;

    /// Returns what is stored under a name: a record, or what leads to one.
    async fn stored_text(&self, name: &AccountName) -> Outcome<Option<String>>;

    /// Returns the names of all accounts, and of what leads to them.
    async fn account_names(&self) -> Outcome<Vec<AccountName>>;

    /// Whether all that is stored has been entered once.
    async fn is_listed_whole(&self) -> Outcome<bool>;

    /// Notes that all that is stored was entered.
    async fn note_listed_whole(&self) -> Outcome<()>;
}

/// All of a store. Both engines implement it; whoever needs a part takes that part's trait.
pub trait Store:
    Ledger + People + Purchases + Configs + Directory + UsageLog + Tickets + AnswerCache + Durability
{
}

impl<T> Store for T where
    T: Ledger
        + People
        + Purchases
        + Configs
        + Directory
        + UsageLog
        + Tickets
        + AnswerCache
        + Durability
{
}

/// Settings of accounts, common to both engines.
#[derive(Clone, Debug)]
pub struct AccountSettings {
    pub orphans: Orphans,
    pub clock: Clock,
    pub log: LogBounds,
    /// How long postings are kept whole (`retention.postings`).
    pub whole_postings: Millis,
    /// Bounds of the logs of changes (`retention.audit`).
    pub audit: LogBounds,
    /// Replicas that must have a credit before it is acknowledged (`accounts.credit_replicas`). `None`: one,
    /// if the server has any.
    pub credit_replicas: Option<u64>,
    pub key_names: KeyNames,
}

impl AccountSettings {
    /// Returns the bounds of a log by its name, which [`LogName::as_str`] gives.
    fn bounds(&self, log: &str) -> LogBounds {
        match name::is_audit(log) {
            true => self.audit,
            false => self.log,
        }
    }
}

/// Bounds of a log: of a tenant's usage log `usage.records` and `retention.usage`.
#[derive(Clone, Copy, Debug)]
pub struct LogBounds {
    pub records: u64,
    pub age: Millis,
}

impl LogBounds {
    /// Records in a log of changes. The number has no setting: it must not shrink with that of usage records.
    const AUDIT_RECORDS: u64 = 100_000;

    /// Returns the bounds of a log of changes, of which `age` is `retention.audit`.
    pub fn of_audit(age: Millis) -> LogBounds {
        LogBounds {
            records: LogBounds::AUDIT_RECORDS,
            age,
        }
    }
}

/// The store's clock. `Fixed` is for tests that control time.
#[derive(Clone, Debug)]
pub enum Clock {
    Store,
    Fixed(Arc<AtomicU64>),
}

impl Clock {
    /// Time in milliseconds since 1970, by this clock.
    pub fn now(&self) -> Millis {
        match self {
            Clock::Store => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .into(),
            Clock::Fixed(now) => Millis(now.load(Ordering::SeqCst)),
        }
    }
}
