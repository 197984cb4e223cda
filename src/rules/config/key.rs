//! [`Key`]: a secret of a tenant, such as a provider's key or a client secret.
//!
//! Only `expose` returns its text. Printing a value that contains a `Key` must never show it, so `Debug`
//! writes `***`.

#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    pub fn new(text: String) -> Key {
        Key(text)
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}
