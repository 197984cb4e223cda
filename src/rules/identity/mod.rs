//! Who somebody is: the parts of an ID token, what is expected of them, and the addresses that a sign-in may end at.
//!
//! Nothing here verifies a signature or fetches a key; `issuers/` does. [`claims::check`] turns verified claims into a
//! [`claims::Subject`] or the [`refused::WrongToken`] that only the log hears of.

pub mod claims;
pub mod form;
pub mod freshness;
pub mod jwks;
pub mod metadata;
pub mod pkce;
pub mod redirect;
pub mod refused;
pub mod token;
