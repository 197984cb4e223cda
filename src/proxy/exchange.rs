//! State of one request that outlives the future which serves it.
//!
//! An error, a disconnect and a panic all end that future early. The [`Exchange`] outlives it, so the reply
//! can still be written and the hold still be settled. Each field is the result of one step.

use crate::proxy::downstream::reply::ReplyContext;
use crate::proxy::error::GatewayError;
use crate::proxy::limits::body_memory::{BodyMemory, Reservation};
use crate::proxy::outcome::RequestOutcome;
use crate::proxy::settlement::bill::Bill;
use crate::rules::tenant::TenantId;
use crate::telemetry::fields::About;
use std::time::{Duration, Instant};

pub(crate) struct Exchange<'a> {
    pub reply: ReplyContext,
    /// Tenant that the path names, whether or not there is one.
    pub tenant: Option<TenantId>,
    /// `None` until the call is admitted.
    pub bill: Option<Box<Bill>>,
    /// Bytes reserved in `server.max_buffered` for the request's bodies.
    pub body_memory: Reservation<'a>,
    pub timing: Timing,
    pub outcome: RequestOutcome,
}

/// Clock of a request: how long it lasts, and how much of that it waited for others.
pub(crate) struct Timing {
    pub started: Instant,
    /// Time spent waiting for the provider, or for the request's own body: no work of the gateway's.
    pub waited: Duration,
}

impl Timing {
    pub(crate) fn starting_now() -> Timing {
        Timing {
            started: Instant::now(),
            waited: Duration::ZERO,
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

impl<'a> Exchange<'a> {
    pub fn new(request_id: String, body_memory: &'a BodyMemory) -> Exchange<'a> {
        Exchange {
            reply: ReplyContext::new(request_id),
            tenant: None,
            bill: None,
            body_memory: body_memory.reservation(),
            timing: Timing::starting_now(),
            outcome: RequestOutcome::default(),
        }
    }

    /// Stores the [`Bill`] that admission has just opened, and returns the call as admitted.
    pub fn admit(&mut self, tenant: &TenantId, bill: Box<Bill>) -> Admitted<'_, 'a> {
        Admitted {
            tenant: self.tenant.get_or_insert_with(|| tenant.clone()),
            bill: self.bill.insert(bill),
            reply: &mut self.reply,
            body_memory: &mut self.body_memory,
            timing: &mut self.timing,
            outcome: &mut self.outcome,
        }
    }

    /// The request as an admitted call. `None` before admission.
    pub fn admitted(&mut self) -> Option<Admitted<'_, 'a>> {
        Some(Admitted {
            tenant: self.tenant.as_ref()?,
            bill: self.bill.as_deref_mut()?,
            reply: &mut self.reply,
            body_memory: &mut self.body_memory,
            timing: &mut self.timing,
            outcome: &mut self.outcome,
        })
    }

    /// Fields of this request's log lines.
    pub(crate) fn about(&self) -> About<'_> {
        let tenant = self.tenant.as_ref().filter(|_| self.outcome.has_tenant);
        about(tenant, self.bill.as_deref(), &self.reply, &self.outcome)
    }

    /// Notes an error of this request for its metrics, and logs it if the operator should see it.
    pub fn note(&mut self, error: &GatewayError) {
        self.outcome.note(error.refused(), error.provider_fault());
        error.log(self.about());
    }
}

/// An admitted call: view of an [`Exchange`] that has a bill.
pub struct Admitted<'e, 'a> {
    pub tenant: &'e TenantId,
    pub(crate) bill: &'e mut Bill,
    pub(crate) reply: &'e mut ReplyContext,
    pub(crate) body_memory: &'e mut Reservation<'a>,
    pub(crate) timing: &'e mut Timing,
    pub(crate) outcome: &'e mut RequestOutcome,
}

impl Admitted<'_, '_> {
    /// Notes an error of this call for its metrics, and logs it if the operator should see it.
    pub fn note(&mut self, error: &GatewayError) {
        self.outcome.note(error.refused(), error.provider_fault());
        error.log(self.about());
    }

    /// Returns the outcome so far, with the provider's failure that `error` is about, if it is about one.
    pub(crate) fn outcome_with(&self, error: Option<&GatewayError>) -> RequestOutcome {
        let mut outcome = *self.outcome;
        outcome.fault = outcome
            .fault
            .or(error.and_then(GatewayError::provider_fault));
        outcome
    }

    /// Fields of this call's log lines.
    pub(crate) fn about(&self) -> About<'_> {
        about(
            Some(self.tenant),
            Some(&*self.bill),
            self.reply,
            self.outcome,
        )
    }
}

fn about<'a>(
    tenant: Option<&'a TenantId>,
    bill: Option<&'a Bill>,
    reply: &'a ReplyContext,
    outcome: &RequestOutcome,
) -> About<'a> {
    let labels = bill.map(Bill::labels);
    let endpoint = reply.endpoint();
    About {
        tenant: tenant.map(TenantId::as_str),
        request: Some(reply.request_id()),
        account: labels.map(|labels| labels.account.as_str()),
        endpoint: (!endpoint.is_empty()).then_some(endpoint),
        model: labels.and_then(|labels| labels.model.as_deref()),
        code: outcome.refused.map(|refused| refused.code),
        status: outcome.refused.map(|refused| refused.status),
    }
}
