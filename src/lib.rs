//! # ResuLLM: an LLM gateway with exact books
//!
//! Decide, read, remember, move:
//!
//! ```text
//!     rules/     DECIDES    pure: accounts, holds, windows, tenants, choice     no I/O, no clock, no async
//!     dialect/   READS      pure: the providers' wire formats, bytes in, facts out
//!     store/     REMEMBERS  one contract, two engines: embedded on disk, Redis
//!     http1/     FRAMES     pure: HTTP/1.1 heads and bodies, from bytes and to bytes
//!     proxy/     MOVES      Pingora's proxy service, and the way of one request
//!     local/     ANSWERS    root, sign-in, admin, operator: http types in, http types out
//!     demo/      PRETENDS   a stand-in provider for the first five minutes
//!     settings/  what the operator wrote     telemetry/  what we tell     serve.rs  where the parts meet
//!
//!     client --> accept                    serve.rs
//!                  |
//!     front        TLS, protocol; one request after another   proxy/front.rs, http1.rs, streams.rs
//!                   |
//!     gateway      impl ProxyHttp: request_filter -> serve    proxy/gateway.rs
//!                  |
//!     pipeline     read downwards; every `?` is one GatewayError          proxy/pipeline.rs
//!                  |- tenant        path prefix -> Tenant (kept config)   store/tenants.rs
//!                  |- route         path + method -> local answer | call  proxy/route.rs, local/route.rs
//!                  |- authenticate  bearer / x-api-key / api-key -> key   local/credentials.rs
//!                  |- intake        the body, whole, bounded              proxy/intake.rs
//!                  |- read          dialect: bytes -> Call                dialect/
//!                  |- admit         window + balance + hold, ATOMIC       proxy/admit.rs, store/leases.rs, store.admit()
//!                  |- forward       endpoint, address check, credential   proxy/forward.rs, upstream.rs
//!                  |- relay         chunk by chunk past the meter         proxy/relay.rs
//!                  '- settle        usage -> cost -> store.settle()       proxy/settle.rs
//! ```

pub mod cli;
pub mod demo;
pub mod dialect;
pub mod http1;
pub mod json;
pub mod local;
pub mod nearest;
pub mod proxy;
pub mod rules;
pub mod serve;
pub mod settings;
pub mod store;
pub mod telemetry;
pub mod threads;
