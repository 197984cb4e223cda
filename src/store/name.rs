//! Names of stored values (Redis keys), shared with every other program that reads the store.
//!
//! A name is built from validated parts only: no key, tenant or user ID can hold a brace, a colon or a space.
//! No two values can share a name, and no name can move to another Cluster slot.

use crate::rules::hashed_name;
use crate::rules::issued_key::KeyId;
use crate::rules::person;
use crate::rules::record::{self, Target};
use crate::rules::tenant::TenantId;
use ring::hmac;
use std::fmt;

/// An API key as a client presents it: up to 128 letters, digits, `_`, `-` and `.`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyName(String);

impl KeyName {
    pub fn parse(key: &str) -> Option<KeyName> {
        is_plain(key).then(|| KeyName(key.to_owned()))
    }

    /// Returns a key by its stored name, which may be hashed: no client can send it like that. `None`: no key's name.
    pub(crate) fn stored(name: &AccountName) -> Option<KeyName> {
        let part = name.0.strip_prefix("apiKey:")?;
        Some(KeyName(part.to_owned()))
    }

    /// Whether this is a key's hashed stored name, and not the key.
    pub(crate) fn is_hashed(&self) -> bool {
        hashed_name::id(&self.0).is_some()
    }

    /// Draws a new key. `prefix` must be plain, such as `user_`.
    pub(crate) fn generate(prefix: &str) -> KeyName {
        KeyName(format!("{prefix}{}", uuid::Uuid::new_v4()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the name `apiKey:<key>`, which holds the key's record or leads to its account where names are clear
    /// ([`KeyNames`] knows the name in any case).
    pub fn account(&self) -> AccountName {
        AccountName(format!("apiKey:{}", self.0))
    }

    /// Returns the ID that names the key without revealing it.
    pub fn id(&self) -> KeyId {
        KeyId::of(&self.0)
    }
}

/// Prints `KeyName(***)`: a key gives access to an account, so it is never printed.
impl fmt::Debug for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyName(***)")
    }
}

/// How keys are named in the store (`accounts.key_names`): `apiKey:<key>`, or hashed with `accounts.key_secret`.
///
/// Names only ever turn from clear to hashed (`resullm store copy`), while other gateways serve. Whoever has the secret
/// finds a key under either name.
#[derive(Clone, Default)]
pub struct KeyNames {
    secret: Option<hmac::Key>,
    are_hashed: bool,
}

impl KeyNames {
    /// `are_hashed`: whether new names are; without the secret they are clear.
    pub fn new(secret: Option<&[u8; 32]>, are_hashed: bool) -> KeyNames {
        let secret = secret.map(|bytes| hmac::Key::new(hmac::HMAC_SHA256, bytes));
        KeyNames { secret, are_hashed }
    }

    /// Returns the name that a key is written under.
    pub fn of(&self, key: &KeyName) -> AccountName {
        let hashed = self.are_hashed.then(|| self.hashed(&key.0)).flatten();
        hashed.unwrap_or_else(|| key.account())
    }

    /// Returns the names that a key may have, in the order in which they are tried. A name that turns from clear to
    /// hashed meanwhile is met by one of them.
    pub fn candidates(&self, key: &KeyName) -> Vec<AccountName> {
        let clear = key.account();
        match (self.hashed(&key.0), self.are_hashed) {
            (None, _) => vec![clear],
            (Some(hashed), false) => vec![clear, hashed],
            (Some(hashed), true) => vec![hashed.clone(), clear, hashed],
        }
    }

    /// Returns the hashed name that a clear one turns into. `None`: it is no key's, is hashed, or there is no secret.
    pub(crate) fn hashed_of(&self, name: &AccountName) -> Option<AccountName> {
        let key = name.0.strip_prefix("apiKey:")?;
        is_plain(key).then(|| self.hashed(key)).flatten()
    }

    /// Returns the ID of the secret.
    pub(crate) fn secret_id(&self) -> Option<String> {
        self.secret.as_ref().map(hashed_name::secret_id)
    }

    pub(crate) fn are_hashed(&self) -> bool {
        self.are_hashed && self.secret.is_some()
    }

    fn hashed(&self, key: &str) -> Option<AccountName> {
        let id = KeyId::of(key).to_string();
        let secret = self.secret.as_ref()?;
        let name = hashed_name::of(secret, key, &id);
        Some(AccountName(format!("apiKey:{name}")))
    }
}

/// Prints `KeyNames(***)`: it holds the secret.
impl fmt::Debug for KeyNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyNames(***)")
    }
}

/// Name of an account's record: `apiKey:<key>` (in clear or hashed) or `user:<userId>`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountName(String);

impl AccountName {
    pub fn user(id: &str) -> Option<AccountName> {
        is_plain(id).then(|| AccountName(format!("user:{id}")))
    }

    /// Returns the name of a person's account.
    pub fn person(id: &person::PersonId) -> AccountName {
        AccountName(format!("user:{id}"))
    }

    /// Whether the account is a person's, which opens only to the keys that it lists.
    pub fn is_person(&self) -> bool {
        self.0.strip_prefix("user:").is_some_and(person::is_id)
    }

    /// Returns the account that a stored text leads to. `None`: it is a record, or leads nowhere.
    pub(crate) fn of_target(text: &str) -> Option<AccountName> {
        match record::target(text) {
            Target::Account(name) => AccountName::parse(&name),
            Target::Record => None,
        }
    }

    /// Parses a name written by [`AccountName::as_str`].
    pub fn parse(text: &str) -> Option<AccountName> {
        let (kind, part) = text.split_once(':')?;
        let is_name = match kind {
            "apiKey" => is_plain(part) || hashed_name::id(part).is_some(),
            "user" => is_plain(part),
            _ => false,
        };
        is_name.then(|| AccountName(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns an ID for logs, 12 hex digits of the name's SHA-256, which does not reveal the key.
    pub fn id(&self) -> String {
        hashed(&self.0)
    }

    /// Returns the name of the books' hash. Its hash tag is the record's whole name, so both share a Cluster
    /// slot.
    pub fn books(&self) -> String {
        format!("{{{}}}:books", self.0)
    }

    /// Returns the name of the hash that lists the keys of a person's account, on the same slot.
    pub fn keys(&self) -> String {
        format!("{{{}}}:keys", self.0)
    }

    /// Returns the name of the list of the latest postings, on the same slot.
    pub fn postings(&self) -> String {
        format!("{{{}}}:postings", self.0)
    }

    /// Returns the name of the sums of older postings, on the same slot.
    pub fn sums(&self) -> String {
        format!("{{{}}}:sums", self.0)
    }

    /// Returns the name of the payments of a person's account, on the same slot.
    pub fn payments(&self) -> String {
        format!("{{{}}}:payments", self.0)
    }

    /// Returns the part of the name behind `user:` or `apiKey:`.
    pub fn part(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, part)| part)
    }
}

impl fmt::Debug for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountName(***)")
    }
}

fn hashed(name: &str) -> String {
    KeyId::of_name(name).to_string()
}

/// Returns an ID for logs of any stored name: `tenant:` and `usage:` names as they are, accounts hashed.
pub fn id(name: &str) -> String {
    match name.split_once(':') {
        Some(("tenant" | "usage", _)) => name.to_owned(),
        Some(("ticket", _)) => format!("ticket {}", hashed(name)),
        Some(("sums", account)) => format!("ledger {}", hashed(account)),
        Some(("postings", row)) => {
            let account = row.rsplit_once(':').map_or(row, |(account, _)| account);
            format!("ledger {}", hashed(account))
        }
        _ => format!("account {}", hashed(name)),
    }
}

pub fn config(tenant: &TenantId) -> String {
    format!("tenant:{tenant}:config")
}

/// Text that is kept beside a tenant's config and deleted with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TenantText {
    /// Its own admin tokens: names, scopes and hashes.
    AdminTokens,
    /// The configs that were replaced.
    History,
    /// Key of the masks that stand for its secrets.
    MaskKey,
}

impl TenantText {
    pub(crate) const ALL: [TenantText; 3] = [
        TenantText::AdminTokens,
        TenantText::History,
        TenantText::MaskKey,
    ];

    /// Returns the name that the text of a tenant is stored under.
    pub(crate) fn name(self, tenant: &TenantId) -> String {
        let part = match self {
            TenantText::AdminTokens => "admins",
            TenantText::History => "history",
            TenantText::MaskKey => "masks",
        };
        format!("tenant:{tenant}:{part}")
    }
}

/// Returns the name of a shard of a tenant's lists of keys and people, by its number.
pub(crate) fn lists(tenant: &TenantId, shard: u8) -> String {
    format!("index:{tenant}:{shard:x}")
}

/// Stands where all that is stored has been entered in the lists once.
pub(crate) const LISTED: &str = "index:whole";

/// Returns the tenant ID in a config's name, `tenant:<id>:config`.
pub(crate) fn tenant_of_config(name: &str) -> Option<&str> {
    name.strip_prefix("tenant:")?.strip_suffix(":config")
}

/// Name of a log of a tenant, or of the operator. All of them are kept like the usage log, those of changes by bounds
/// of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogName(String);

impl LogName {
    /// Returns the usage log.
    pub fn usage(tenant: &TenantId) -> LogName {
        LogName(format!("usage:{tenant}"))
    }

    /// Returns the log of what was told about payments. No tenant's ID has a dot.
    pub fn payments(tenant: &TenantId) -> LogName {
        LogName(format!("usage:{tenant}.payments"))
    }

    /// Returns the log of the changes that admins made.
    pub fn audit(tenant: &TenantId) -> LogName {
        LogName(format!("usage:{tenant}{AUDIT}"))
    }

    /// Returns the log of the operator's changes of all tenants.
    pub fn operator_audit() -> LogName {
        LogName(format!("usage:{AUDIT}"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// End of the names of logs of changes.
const AUDIT: &str = ".audit";

/// Whether a log is one of changes.
pub(crate) fn is_audit(log: &str) -> bool {
    log.ends_with(AUDIT)
}

/// Returns the log in the name of one of its blocks.
pub(crate) fn log_of_block(block: &str) -> &str {
    block.rsplit_once(':').map_or(block, |(log, _)| log)
}

/// Returns the name of a block of a usage log, by the number of its first record.
pub(crate) fn usage_block(log: &str, number: u64) -> String {
    format!("{log}:{number:020}")
}

/// Beginning of the names of an account's rows of postings in an embedded store.
pub(crate) fn posting_rows(account: &str) -> String {
    format!("postings:{account}:")
}

/// Returns the name of a row of postings in an embedded store, by the number of the first.
pub(crate) fn posting_row(account: &str, number: u64) -> String {
    format!("{}{number:020}", posting_rows(account))
}

/// Returns the name of the sums of an account's older postings in an embedded store.
pub(crate) fn posting_sums(account: &str) -> String {
    format!("sums:{account}")
}

/// Pattern of the names of all usage logs.
pub(crate) const USAGE_LOGS: &str = "usage:*";

/// Kind of a [`TicketName`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketKind {
    /// A sign-in in the browser that is under way.
    SignIn,
    /// The code that a sign-in gave to an app.
    Code,
}

impl TicketKind {
    fn word(self) -> &'static str {
        match self {
            TicketKind::SignIn => "sign-in",
            TicketKind::Code => "code",
        }
    }
}

/// Name of a one-time thing, `ticket:<kind>:<hash>`: the hash of the secret that it is known by, so that a copy of
/// the store redeems nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct TicketName(String);

impl TicketName {
    /// Returns the name of a secret.
    pub fn of(kind: TicketKind, secret: &str) -> TicketName {
        let hash = ring::digest::digest(&ring::digest::SHA256, secret.as_bytes());
        let kind = kind.word();
        TicketName(format!("ticket:{kind}:{}", hex::encode(hash)))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Prints `TicketName(***)`: whoever knows which tickets there are knows who signs in.
impl fmt::Debug for TicketName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketName(***)")
    }
}

/// SHA-256 of what a provider was asked: the key of its answer in the cache.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnswerKey([u8; 32]);

impl AnswerKey {
    pub fn new(hash: [u8; 32]) -> AnswerKey {
        AnswerKey(hash)
    }

    /// Returns a key that no answer has, for calls of the same request that want no kept answer.
    pub(crate) fn inverted(self) -> AnswerKey {
        AnswerKey(self.0.map(|byte| !byte))
    }

    /// Parses what [`AnswerKey::hex`] wrote.
    pub(crate) fn parse(hex: &str) -> Option<AnswerKey> {
        let mut hash = [0; 32];
        let is_hex = hex::decode_to_slice(hex, &mut hash).is_ok();
        is_hex.then_some(AnswerKey(hash))
    }

    /// Returns the part that the key has in names of the store.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

/// Prints `AnswerKey(***)`: whoever can guess a prompt could tell by its hash that it was asked.
impl fmt::Debug for AnswerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnswerKey(***)")
    }
}

/// Returns the name of what the answer cache of a tenant keeps under `part`. Its hash tag puts all of it on one slot.
pub(crate) fn answers(tenant: &TenantId, part: &str) -> String {
    format!("{{tenant:{tenant}:answers}}:{part}")
}

/// Returns a counter's name. The hash tag `{what}` puts all counters of one kind on one slot.
pub fn counter(what: &str, name: &str) -> String {
    format!("count:{{{what}}}:{name}")
}

/// Most names of one account that are followed: copies may have changed it more than once.
pub(crate) const MAX_MOVES: usize = 3;
/// Beginning of the text that leads from a user's former account to the key that a copy has given it to.
const MOVED: &str = "{\"account\":\"apiKey:";

/// Returns the text that leads from a user's former account to a key's.
pub(crate) fn moved_to(key: &str) -> String {
    let key = key.trim_start_matches("apiKey:");
    format!("{MOVED}{key}\"}}")
}

/// Whether a text leads from a user's former account to a key's.
pub(crate) fn is_moved(text: &str) -> bool {
    text.starts_with(MOVED)
}

/// Whether a text is that of an account, and leads nowhere. Decides without parsing; what leads from a key to a person
/// is not told apart.
pub(crate) fn is_record(text: &str) -> bool {
    let text = text.trim_start_matches([' ', '\t', '\n', '\r']);
    text.starts_with('{') && !is_moved(text)
}

/// Name of what tells gateways of one store that they hash names with the same secret.
pub(crate) const SECRET: &str = "keys:secret";
/// Name that stands in a store while a copy fills it.
pub(crate) const COPYING: &str = "keys:copying";

/// Returns the name of the stream of keys that were revoked.
pub(crate) fn revoked() -> String {
    counter("revoked", "keys")
}

fn is_plain(part: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    !part.is_empty() && part.len() <= 128 && part.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn books_share_the_slot_of_their_record() {
        let key = KeyName::parse("temp_1").unwrap();
        assert_eq!(key.account().books(), "{apiKey:temp_1}:books");
        assert_eq!(
            format!("{key:?}{:?}", key.account()),
            "KeyName(***)AccountName(***)"
        );
    }

    #[test]
    fn a_hashed_name_keeps_the_id_of_its_key_and_no_key_can_spell_it() {
        let names = KeyNames::new(Some(&[7; 32]), true);
        let key = KeyName::parse("temp_1").unwrap();
        let hashed = names.of(&key);
        assert_eq!(hashed.id(), key.account().id());
        assert_eq!(hashed.id(), key.id().to_string());
        assert_eq!(AccountName::parse(hashed.as_str()), Some(hashed.clone()));
        assert!(KeyName::parse(hashed.part()).is_none());
        assert_eq!(names.hashed_of(&key.account()), Some(hashed.clone()));
        assert_eq!(names.hashed_of(&hashed), None);
        assert_eq!(
            names.candidates(&key),
            [hashed.clone(), key.account(), hashed.clone()]
        );

        let before = KeyNames::new(Some(&[7; 32]), false);
        assert_eq!(before.of(&key), key.account());
        assert_eq!(before.candidates(&key), [key.account(), hashed]);
        assert_eq!(KeyNames::default().candidates(&key), [key.account()]);
        assert_eq!(format!("{names:?}"), "KeyNames(***)");
    }

    #[test]
    fn answers_of_a_tenant_share_a_slot_and_print_no_hash() {
        let key = AnswerKey::new([7; 32]);
        let tenant = TenantId::parse("abc").unwrap();
        let name = answers(&tenant, &key.hex());
        assert_eq!(name, format!("{{tenant:abc:answers}}:{}", "07".repeat(32)));
        assert_eq!(AnswerKey::parse(&key.hex()), Some(key));
        assert_eq!(AnswerKey::parse("07"), None);
        assert_eq!(format!("{key:?}"), "AnswerKey(***)");
    }

    #[test]
    fn tickets_are_known_by_a_hash_of_their_secret() {
        let name = TicketName::of(TicketKind::Code, "s3cret");
        assert!(name.as_str().starts_with("ticket:code:") && !name.as_str().contains("s3cret"));
        assert_ne!(name, TicketName::of(TicketKind::SignIn, "s3cret"));
        assert_eq!(format!("{name:?}"), "TicketName(***)");
        assert!(id(name.as_str()).starts_with("ticket "));
    }

    proptest! {
        #[test]
        fn only_plain_keys_have_names(key in "\\PC{0,140}") {
            if let Some(name) = KeyName::parse(&key) {
                prop_assert_eq!(name.as_str(), key.as_str());
                let strange = ['{', '}', ':', '*', '?', ' ', '\'', '"'];
                prop_assert!(!key.contains(strange));
            }
        }
    }
}
