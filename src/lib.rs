//! # ResuLLM: an LLM gateway with exact books
//!
//! Decide, read, remember, move:
//!
//! ```text
//!     rules/     DECIDES    pure: accounts, holds, windows, tenants, choice     no I/O, no clock, no async
//!     dialect/   READS      pure: the providers' wire formats, bytes in, facts out
//!     store/     REMEMBERS  one contract, two engines: embedded on disk, Redis
//!     http1/     FRAMES     pure: HTTP/1.1 heads and bodies, from bytes and to bytes
//!     proxy/     MOVES      Pingora's proxy service, and the story of one call
//!     local/     ANSWERS    root, sign-in, payments, admin: http types in, http types out
//!     api/       DESCRIBES  requests and answers of our own routes, as types
//!     demo/      PRETENDS   a stand-in provider for the first five minutes
//!     dial/      CONNECTS   every connection out: looked up, checked, dialled in one place
//!     fetch      CALLS      single calls of the gateway itself, over dial/
//!     issuers/   VERIFIES   sign-in: issuers' keys, ID tokens, codes
//!     stripe/    BILLS      payments: Stripe's calls, its signed events
//!     outbox/    NOTIFIES   events for apps, signed, retried, bounded
//!     settings/  what the operator wrote     telemetry/  what we tell     serve/  build, run, recover
//!
//!     client --> listener, worker                                         serve/
//!                  |
//!     front        PROXY protocol, TLS, HTTP/1.1 or HTTP/2                proxy/downstream/front.rs
//!                  |
//!     gateway      impl ProxyHttp: request_filter                         proxy/gateway.rs
//!                  |
//!     call         read downwards; every `?` is one GatewayError          proxy/call.rs
//!                  |- downstream/  route, body, reply, CORS
//!                  |- admission/   authenticate, estimate, admit (window + balance + hold, ATOMIC)
//!                  |- cache/       an answer that is known, or an equal call's, for a fee
//!                  |- attempts/    endpoint after endpoint, until one answers
//!                  |- upstream/    request, connection to a checked address, lifetime of the hold
//!                  |- relay/       chunk by chunk past the dialect's meter
//!                  |- settlement/  usage -> charge -> store.settle -> one record; on every way out
//!                  '- limits/      connections, in flight, body memory, load shed, failed keys
//! ```

pub mod api;
pub mod cli;
pub mod demo;
pub mod dial;
pub mod dialect;
pub mod fetch;
pub mod host_port;
pub mod http1;
pub mod issuers;
pub mod json;
pub mod local;
pub mod nearest;
pub mod outbox;
pub mod proxy;
pub mod rules;
pub mod serve;
pub mod settings;
pub mod store;
pub mod stripe;
pub mod tables;
pub mod telemetry;
pub mod threads;
pub mod url;
