//! Observability for the operator: log lines (`log`), panics as log lines (`panics`) and Prometheus
//! `metrics`.
//!
//! No output may ever contain a key, a token or a prompt.

pub mod counter;
pub mod fields;
pub mod log;
pub mod metrics;
pub mod panics;
pub mod series;
pub mod throttle;
