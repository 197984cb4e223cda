//! One stored thing: its text, when it expires, and, where it is an account, its books.

use crate::rules::account::Books;
use crate::rules::amount::Millis;
use serde::{Deserialize, Serialize};

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    pub text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Millis>,
    #[serde(default, skip_serializing_if = "Books::is_empty")]
    pub books: Books,
}

impl Stored {
    pub fn text(text: &str) -> Stored {
        Stored {
            text: text.to_owned(),
            expires: None,
            books: Books::default(),
        }
    }

    pub fn expired(&self, now: Millis) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    pub fn decode(bytes: &[u8]) -> Result<Stored, serde_json::Error> {
        serde_json::from_slice(bytes)
    }
}
