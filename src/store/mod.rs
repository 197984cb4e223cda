//! REMEMBERS. The contract of the store: the verbs of the domain, each one atomic step.
//!
//! Two engines keep it: `embedded` (a directory on disk, one process) and `redis` (single, Sentinel
//! or Cluster). The rules say what a verb does; an engine only makes it atomic and durable. Nothing
//! outside this folder knows which engine it talks to, and no verb here is a get or a set.

mod boot;
mod checksum;
pub mod embedded;
mod folder;
mod followers;
pub mod journal;
pub mod leases;
pub mod name;
pub mod open;
pub mod recall;
pub mod redis;
pub mod tenants;
pub mod vault;

use crate::rules::account::{
    Admission, Admit, Ask, Credited, Grant, Look, Orphans, Report, Reported, Settlement,
};
use crate::rules::amount::{Millis, Tokens};
use crate::rules::entry::{Caller, Groups};
use crate::rules::record::Damage;
use crate::rules::tenant::TenantId;
use crate::rules::window::Window;
use async_trait::async_trait;
use name::{AccountName, KeyName};
use std::sync::Arc;

/// Why a verb did not happen, or may not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreError {
    /// The store cannot be reached, or answers with an error of its own. Nothing was done.
    Unavailable(String),
    /// The same, and known before: the log has said so already. Nothing was sent.
    Lost(String),
    /// It has no room left and takes nothing new. Nothing was done.
    Full,
    /// The command was sent and no answer came: done or not, nobody knows. Repeat it as a retry.
    Unknown(String),
    /// It was done, and is on fewer servers than it must be. Repeat it as it was.
    Unkept(String),
    /// What is stored there is no record. Someone must look at it.
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
            StoreError::Unkept(why) => write!(f, "store has it on too few servers: {why}"),
            StoreError::Damaged { name, damage } => write!(f, "{name}: {damage}"),
        }
    }
}

impl std::error::Error for StoreError {}

pub type Outcome<T> = Result<T, StoreError>;

/// A new key. `user` is set where the account is the user's and the key only points to it.
#[derive(Clone, Debug)]
pub struct Mint {
    pub key: KeyName,
    pub user: Option<String>,
    pub record: String,
    /// How long the key lives; `None` for good.
    pub life: Option<Millis>,
}

/// An account found by a key, as it stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub account: AccountName,
    pub record: String,
    pub group: String,
    pub look: Look,
    /// Until the key expires; `None`: never.
    pub life: Option<Millis>,
}

/// The answer to [`Store::admit`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// No such key at this tenant.
    Unknown,
    Known {
        account: AccountName,
        group: String,
        admission: Admission,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    Done,
    /// What is stored is not what the caller had read.
    Changed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    Passed,
    Limited { wait: Millis },
}

/// Hears of tenant configs that changed, whoever changed them.
pub trait Follower: Send + Sync {
    fn changed(&self, tenant: &str);
    /// Anything may have changed.
    fn all_changed(&self);
    /// While false, no change is reported and what is cached must be read again soon.
    fn following(&self, live: bool);
}

#[async_trait]
pub trait Store: Send + Sync {
    /// Writes a new key and its account. False: there is a key or an account of that name already.
    async fn mint(&self, mint: &Mint) -> Outcome<bool>;

    /// The account of a key at a tenant, swept but unchanged.
    async fn find(
        &self,
        key: &KeyName,
        tenant: &TenantId,
        groups: &Groups,
    ) -> Outcome<Option<Found>>;

    /// Key, tenant, window, balance and hold in one step; a refusal changes nothing.
    async fn admit(&self, key: &KeyName, caller: Caller<'_>, ask: &Admit<'_>) -> Outcome<Admitted>;

    /// More time for a hold, and what its request is known to cost by now. False: the hold is gone.
    async fn renew(
        &self,
        account: &AccountName,
        id: &str,
        known: Tokens,
        ttl: Millis,
    ) -> Outcome<bool>;

    /// Ends a hold. `None`: the account is gone, and its balance with it.
    async fn settle(
        &self,
        account: &AccountName,
        id: &str,
        used: Tokens,
        retry: bool,
    ) -> Outcome<Option<Settlement>>;

    /// The same of a settlement that was answered, by a server that was replaced since: charged only where
    /// its hold is there again.
    async fn resettle(
        &self,
        account: &AccountName,
        id: &str,
        used: Tokens,
    ) -> Outcome<Option<Settlement>>;

    /// Ends the hold of an admission whose answer never came, whether or not there is one.
    async fn release(&self, key: &KeyName, id: &str) -> Outcome<()>;

    /// Balance and places in the window that an instance may spend without asking.
    async fn lease(&self, account: &AccountName, ask: &Ask<'_>) -> Outcome<Option<Grant>>;

    /// What an instance spent of its lease, and gives back.
    async fn report(&self, account: &AccountName, report: &Report<'_>)
    -> Outcome<Option<Reported>>;

    /// Adds to a balance, once per ID. It is on as many servers as it must be, or [`StoreError::Unkept`].
    async fn credit(
        &self,
        account: &AccountName,
        id: &str,
        amount: Tokens,
    ) -> Outcome<Option<Credited>>;

    /// Moves an account to another group. False: no such account.
    async fn regroup(&self, account: &AccountName, group: &str) -> Outcome<bool>;

    /// Ends a key, and its account where the account is the key's own. False: no such key.
    async fn revoke(&self, key: &KeyName) -> Outcome<bool>;

    /// Counts one event under each of these names of one thing, if every window has room; else under none.
    async fn count(&self, what: &str, bounds: &[(&str, Window)]) -> Outcome<Counted>;

    /// A tenant's config, the very text that was stored.
    async fn config(&self, tenant: &TenantId) -> Outcome<Option<Arc<str>>>;

    /// Writes a config where there is none. False: there was one.
    async fn seed_config(&self, tenant: &TenantId, text: &str) -> Outcome<bool>;

    /// Replaces a config; with `expected`, only that very text.
    async fn replace_config(
        &self,
        tenant: &TenantId,
        expected: Option<&str>,
        text: &str,
    ) -> Outcome<Put>;

    /// Forgets a tenant's config and its admins. False: there was none.
    async fn delete_tenant(&self, tenant: &TenantId) -> Outcome<bool>;

    /// Every tenant that has a config.
    async fn tenants(&self) -> Outcome<Vec<TenantId>>;

    /// The hashes of a tenant's own admin tokens.
    async fn admins(&self, tenant: &TenantId) -> Outcome<Vec<String>>;

    async fn appoint_admins(&self, tenant: &TenantId, hashes: &[String]) -> Outcome<()>;

    /// Adds records to a tenant's usage log, which is bounded in number and age. A repeat adds them
    /// again.
    async fn record(&self, tenant: &TenantId, records: &[String]) -> Outcome<()>;

    /// The latest records since a moment, newest first.
    async fn recorded(&self, tenant: &TenantId, since: Millis, most: usize)
    -> Outcome<Vec<String>>;

    /// Changes of configs are told to `follower` from now on.
    fn follow(&self, follower: Arc<dyn Follower>);

    /// Waits until what it has answered so far also survives a loss of power of this machine. A store
    /// elsewhere has that in its own hands.
    async fn flush(&self) -> Outcome<()>;

    /// How often a server behind it was replaced: one that may have forgotten what was acknowledged last.
    /// `None`: nothing acknowledged is forgotten while this process lives.
    fn generation(&self) -> Option<u64>;

    /// Does it answer?
    async fn ready(&self) -> Outcome<()>;

    /// What is known of that without asking.
    fn is_up(&self) -> bool;

    /// Everything acknowledged is durable and the engine is let go.
    async fn close(&self);
}

/// How accounts are kept, whatever the engine.
#[derive(Clone, Debug)]
pub struct Keeping {
    pub orphans: Orphans,
    pub clock: Clock,
    pub log: LogBounds,
    /// Replicas that have a credit before it is answered. `None`: one where there are any.
    pub credit_replicas: Option<u64>,
}

/// How much of a tenant's usage log is kept.
#[derive(Clone, Copy, Debug)]
pub struct LogBounds {
    pub records: u64,
    pub age: Millis,
}

/// The store's time. The fixed one is for tests that must own time.
#[derive(Clone, Debug)]
pub enum Clock {
    Store,
    Fixed(Arc<std::sync::atomic::AtomicU64>),
}
