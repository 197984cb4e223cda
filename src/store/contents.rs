//! Counts what a store holds, and finds what no gateway could have written.

use super::name;
use super::stored::Stored;
use crate::rules::record;
use serde::Serialize;

/// Totals of a store's contents.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Contents {
    pub accounts: u64,
    /// Keys that point to a user's account.
    pub keys_of_users: u64,
    pub tokens_left: u64,
    /// The part of `tokens_left` that holds and leases have reserved.
    pub tokens_held: u64,
    pub holds: u64,
    pub leases: u64,
    pub tenants: u64,
    pub usage_records: u64,
    /// Records of changes by admins and the operator, two a change.
    pub audit_records: u64,
    /// Changes that the journal has and the database does not have yet. `None`: what was counted has no journal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_journal: Option<u64>,
}

impl Contents {
    /// Counts one value. `Err`: what is wrong with it.
    pub(crate) fn count(&mut self, name: &str, stored: &Stored) -> Result<(), String> {
        match name.split_once(':') {
            // What remains of a deleted account, or of one that a copy has given to its key.
            Some(("user", _)) if stored.text.is_empty() || name::is_moved(&stored.text) => {}
            Some(("apiKey" | "user", _))
                if name::AccountName::of_target(&stored.text).is_some() =>
            {
                self.keys_of_users += 1;
            }
            Some(("apiKey" | "user", _)) => {
                let facts = record::read(&stored.text).map_err(|damage| damage.to_string())?;
                let held = stored.books.promised();
                self.accounts += 1;
                self.tokens_left = self.tokens_left.saturating_add(facts.left.count());
                let tokens = held.tokens.min(facts.left).count();
                self.tokens_held = self.tokens_held.saturating_add(tokens);
                self.holds += held.holds as u64;
                self.leases += held.leases as u64;
            }
            Some(("tenant", _)) if name::tenant_of_config(name).is_some() => {
                let config = serde_json::from_str::<serde_json::Value>(&stored.text);
                config.map_err(|error| format!("the config is not JSON: {error}"))?;
                self.tenants += 1;
            }
            Some(("tenant" | "ticket" | "postings" | "sums", _)) => {}
            Some(_) if name == name::SECRET || name == name::COPYING => {}
            Some(("usage", _)) => {
                let records = stored.text.lines().count() as u64;
                match name::is_audit(name::log_of_block(name)) {
                    true => self.audit_records += records,
                    false => self.usage_records += records,
                }
            }
            _ => return Err("nothing is stored under such a name".to_owned()),
        }
        Ok(())
    }
}
