//! Client programs that people use, through the built gateway: official SDKs, frameworks and coding agents.

mod agents;
mod cached;
mod calls;
mod errors;
mod frameworks;
mod google;
mod official;
mod provider;
mod translated;
mod turns;
mod typescript;
