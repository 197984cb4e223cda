//! Entries of the lists of keys and people: what is listed, and where it stands.

use super::name::{AccountName, KeyName};
use crate::rules::amount::Millis;
use crate::rules::date;
use crate::rules::issued_key::KeyId;
use crate::rules::tenant::TenantId;
use serde::Deserialize;

/// Kind of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum List {
    /// Keys, those of people too.
    Keys,
    /// Accounts named `user:…`: people, and users of `accounts.layout: user`.
    Users,
}

impl List {
    pub const ALL: [List; 2] = [List::Keys, List::Users];

    /// Returns the list in which a name stands.
    pub fn of(name: &AccountName) -> List {
        match KeyName::stored(name) {
            Some(_) => List::Keys,
            None => List::Users,
        }
    }
}

/// ListPlace in a list: newest first, and by ID among those of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListPlace {
    pub created: Millis,
    /// A key's ID; what usage records call an account.
    pub id: KeyId,
}

/// Entry of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub place: ListPlace,
    pub name: AccountName,
}

/// Members of a stored text that say where it is listed.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Dated {
    created_at: Option<String>,
    tenant_id: Option<String>,
    label: Option<String>,
}

impl Dated {
    /// Parses a stored text; one that is no such object says nothing.
    pub(super) fn parse(text: &str) -> Dated {
        serde_json::from_str(text).unwrap_or_default()
    }

    pub(super) fn tenant(&self) -> Option<TenantId> {
        TenantId::parse(self.tenant_id.as_deref()?)
    }

    /// Returns when what is stored was created; zero where it does not say.
    fn created(&self) -> Millis {
        let at = self.created_at.as_deref();
        // Other programs may write it without milliseconds, or in another zone.
        let at = at.and_then(|text| date::parse(text).or_else(|| date::start_of_day(text)));
        at.unwrap_or_default()
    }
}

impl Listed {
    /// Returns the entry of a key. `text`: what is stored under its name.
    pub fn key(name: AccountName, text: &str) -> Listed {
        let id = KeyId::of_name(name.as_str());
        let created = Dated::parse(text).created();
        Listed {
            place: ListPlace { created, id },
            name,
        }
    }

    /// Returns the entry of an account, by its record.
    pub fn user(name: AccountName, record: &str) -> Listed {
        let dated = Dated::parse(record);
        let label = dated.label.as_deref().and_then(KeyId::parse);
        let id = label.unwrap_or_else(|| KeyId::of_name(name.as_str()));
        let created = dated.created();
        Listed {
            place: ListPlace { created, id },
            name,
        }
    }
}
