//! What the gateway tells its operator: log lines and metrics. Never a key, a token or a prompt.

pub mod log;
pub mod metrics;
pub mod panics;
