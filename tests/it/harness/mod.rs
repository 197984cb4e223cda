//! Harness of the integration tests: real servers, real sockets, real processes.
//!
//! Every guard owns its child process and directory and removes both when dropped, also in a panic. Tests
//! wait for conditions with `eventually` and never sleep for a fixed time. A missing server program fails the
//! test that needs it; nothing is skipped.

pub mod authority;
pub mod boot;
pub mod browser;
pub mod chaos;
pub mod clock;
pub mod cluster;
pub mod dir;
pub mod disk_model;
pub mod dns;
pub mod doors;
pub mod frames;
pub mod gateway;
pub mod http;
pub mod http2;
pub mod issuer;
pub mod net;
pub mod origin;
pub mod process;
pub mod project;
pub mod provider;
pub mod recorder;
pub mod redis;
pub mod redis_tls;
pub mod resp;
pub mod run;
pub mod sample;
pub mod script;
mod self_tests;
pub mod sentinel;
pub mod setup;
pub mod small_disk;
pub mod wait;
pub mod wire;

pub use authority::Authority;
pub use browser::{Browser, Page};
pub use chaos::Chaos;
pub use cluster::Cluster;
pub use dir::{TempDir, copy};
pub use doors::Doors;
pub use gateway::{
    CHAT_PATH, Gateway, balance, chat, chat_request, chat_streaming, me, mint, resullm, small_call,
    spent,
};
pub use http::{Client, Response, Streaming, raw, raw_for};
pub use http2::Http2;
pub use net::free_port;
pub use origin::Origin;
pub use provider::Provider;
pub use recorder::Recorder;
pub use redis::Redis;
pub use redis_tls::RedisTls;
pub use resp::Reply;
pub use run::run;
pub use sample::{Sample, sample, sample_at};
pub use script::{Gate, Script, Step, Tally};
pub use sentinel::Sentinel;
pub use setup::Setup;
pub use small_disk::SmallDisk;
pub use wait::{eventually, within};
