//! CONNECTS. The one place where connections out of this process begin: [`dialer`] looks a host up ([`names`]),
//! checks each address, and dials the very address that it checked, with TLS on it.
//!
//! `proxy/upstream` (providers) and `fetch/` (the gateway's own calls) use it.

pub mod dialer;
mod names;
