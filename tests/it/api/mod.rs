//! The API as clients, browsers, admins and operators see it: calls, accounts, tenants, protocols.

mod accounts;
mod admin;
mod audit;
mod browsers;
mod chat;
mod conformance;
mod docs_page;
mod frames;
mod hosted;
mod http2;
mod lists;
mod masks;
mod openapi;
mod refusals;
mod scopes;
mod silence;
mod tenants;
mod tls;
mod usage;
