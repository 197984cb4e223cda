//! [`Secret`]: a text that must never be printed.

use super::node::Node;
use crate::url::Origin;
use std::fmt;
use subtle::ConstantTimeEq;

/// A secret text: a token, a password, a provider's key. `Debug` prints `***`, and comparing takes the same time
/// wherever two texts of one length differ.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// Returns the secret itself. Never log it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Opens the secrets of a config: plain ones, sealed ones, and `{"env": NAME}`.
pub trait Opener {
    /// Returns the secret of a field. `goes`: the only origin it is sent to. The error is the message of a fault.
    fn open(&self, node: &Node<'_>, goes: Option<&Origin>) -> Result<Secret, String>;
}
