//! Bounds on what clients can make this process do at one time: connections, requests, body memory, failed keys.

pub mod auth_failures;
pub mod body_memory;
pub mod connections;
pub mod in_flight;
pub mod load_shed;
pub mod refused_work;
