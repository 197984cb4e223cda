//! Refuses a request that would exceed a limit of this process, before anything else is done for it.

use super::Limits;
use super::auth_failures::AuthFailures;
use super::in_flight::TenantGuard;
use super::load_shed;
use crate::proxy::error::GatewayError;
use crate::store::tenants::Tenant;
use crate::telemetry::metrics::Metrics;
use std::net::IpAddr;
use std::time::Instant;

/// 503 beyond `server.max_requests`, or while this worker sheds load. The request at hand is counted already.
pub(crate) fn check_load(limits: &Limits, metrics: &Metrics) -> Result<(), GatewayError> {
    if limits.in_flight.count() > limits.max_requests {
        metrics.shed_requests.add(1);
    } else if load_shed::sheds_next_call() {
        metrics.shed_late.add(1);
    } else {
        return Ok(());
    }
    Err(GatewayError::Overloaded)
}

/// 429 for an address with too many failed keys. `address` is asked for only while any address is blocked.
pub fn check_address(
    limits: &Limits,
    address: impl FnOnce() -> IpAddr,
) -> Result<(), GatewayError> {
    check_failures(&limits.auth_failures, address)
}

/// 429 for an address with too many wrong admin tokens, where one is asked for.
pub(crate) fn check_admin(
    limits: &Limits,
    address: impl FnOnce() -> IpAddr,
) -> Result<(), GatewayError> {
    check_failures(&limits.admin_failures, address)
}

fn check_failures(
    failures: &AuthFailures,
    address: impl FnOnce() -> IpAddr,
) -> Result<(), GatewayError> {
    if !failures.may_block() {
        return Ok(());
    }
    match failures.blocked_for(address(), Instant::now()) {
        Some(wait) => Err(GatewayError::TooManyWrongKeys { wait: wait.into() }),
        None => Ok(()),
    }
}

/// 503 for a body or an answer that does not fit in `server.max_buffered`.
pub(crate) fn no_memory(metrics: &Metrics) -> GatewayError {
    metrics.shed_bodies.add(1);
    GatewayError::Overloaded
}

/// 503 beyond `server.max_requests_per_tenant`. The guard counts the call while it lasts.
pub(crate) fn enter_tenant<'a>(
    limits: &Limits,
    metrics: &Metrics,
    tenant: &'a Tenant,
) -> Result<TenantGuard<'a>, GatewayError> {
    let guard = TenantGuard::enter(&tenant.in_flight, limits.max_requests_per_tenant);
    guard.ok_or_else(|| {
        metrics.shed_tenants.add(1);
        GatewayError::Overloaded
    })
}
