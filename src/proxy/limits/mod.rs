//! Bounds on what clients can make this process do at one time. [`gate`] applies them, in the order of cost.

pub mod auth_failures;
pub mod body_memory;
pub mod connections;
pub mod gate;
pub mod in_flight;
pub mod load_shed;
pub mod refused_work;

use auth_failures::AuthFailures;
use body_memory::BodyMemory;
use connections::Connections;
use in_flight::InFlight;
use refused_work::RefusedWork;
use std::sync::Arc;

/// All limiters of this process.
pub struct Limits {
    pub in_flight: Arc<InFlight>,
    pub connections: Arc<Connections>,
    pub body_memory: BodyMemory,
    pub auth_failures: AuthFailures,
    /// Wrong admin tokens: far fewer guesses are allowed than of keys.
    pub admin_failures: AuthFailures,
    pub refused_work: RefusedWork,
    /// `server.max_requests`.
    pub max_requests: usize,
    /// `server.max_requests_per_tenant`.
    pub max_requests_per_tenant: usize,
}
