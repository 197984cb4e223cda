//! The code flow of browser apps: [`start`] sends the browser to the issuer, [`callback`] takes it back and gives the
//! app a code, [`redeem`] gives a key for the code.
//!
//! ```text
//! app ─ start ─► issuer ─ callback ─► app (code in the address) ─ auth/token ─► key
//!        │ transaction: state, cookie, PKCE, nonce    │ code ticket: challenge, person
//!        └──────────── store, 10 minutes ─────────────┴──── store, 60 seconds
//! ```
//!
//! No key is ever in an address, and nobody can end a sign-in in a browser that did not begin it.

pub(super) mod callback;
mod cookie;
pub(super) mod redeem;
pub(super) mod start;
mod tickets;
