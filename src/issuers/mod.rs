//! VERIFIES. The issuers of sign-in: their keys and addresses, fetched and kept ([`documents`]), the signatures of
//! their ID tokens ([`signature`]), and the exchange of codes for tokens ([`exchange`]).
//!
//! Who is asked is a [`client::Client`], made from a tenant's config and the operator's settings; what a token must
//! say is decided in `rules/identity`. Everything goes out through `fetch/`.

pub mod client;
mod documents;
pub mod exchange;
mod signature;
pub mod verify;
