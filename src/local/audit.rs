//! The log of changes: every change over an admin route is noted before it is made and again with what came of it.
//!
//! A change that cannot be noted is not made (503). One whose end cannot be noted is listed as `unknown`. No secret, key
//! or token may be put into a [`ChangeNote`]: it is kept for as long as `retention.audit` says.

use super::admin::Actor;
use super::answer::Refusal;
use super::{Local, Request};
use crate::api::{AuditOutcome, AuditRecord};
use crate::rules::amount::Millis;
use crate::rules::config::Changes;
use crate::rules::date::rfc3339;
use crate::rules::tenant::TenantId;
use crate::store::Clock;
use crate::store::name::LogName;
use crate::telemetry::fields::About;
use log::Level;
use serde_json::{Map, Value};
use std::sync::atomic::{AtomicU64, Ordering};

/// Beginnings of the actions that stand in [`LogName::operator_audit`] too, where the operator made them.
const OF_OPERATOR: [&str; 4] = ["tenant.", "config.", "token.", "tokens."];

/// A change, as its [`AuditRecord`] tells it.
#[derive(Clone, Default)]
pub(super) struct ChangeNote {
    pub action: &'static str,
    target: Map<String, Value>,
    told: Changes,
}

impl ChangeNote {
    pub fn new(action: &'static str) -> ChangeNote {
        ChangeNote {
            action,
            ..ChangeNote::default()
        }
    }

    /// Names the thing that is changed; never by a key or token.
    pub fn of(mut self, kind: &str, id: impl Into<Value>) -> ChangeNote {
        self.target.insert(kind.to_owned(), id.into());
        self
    }

    pub fn before(mut self, name: &str, value: impl Into<Value>) -> ChangeNote {
        self.told.before.insert(name.to_owned(), value.into());
        self
    }

    pub fn after(mut self, name: &str, value: impl Into<Value>) -> ChangeNote {
        self.told.after.insert(name.to_owned(), value.into());
        self
    }

    /// Tells the fields of a config that differ, in place of `before` and `after`.
    pub fn fields(self, told: Changes) -> ChangeNote {
        ChangeNote { told, ..self }
    }
}

/// Makes a change: `making` returns what came of it, and the change as it was made. The one that is given is noted first.
pub(super) async fn audited<T>(
    local: &Local,
    request: &Request<'_>,
    by: &Actor,
    tenant: &TenantId,
    change: ChangeNote,
    making: impl Future<Output = Result<(T, ChangeNote), Refusal>>,
) -> Result<T, Refusal> {
    let now = Clock::Store.now();
    let begun = AuditRecord {
        id: new_id(now),
        time: rfc3339(now),
        outcome: AuditOutcome::Unknown,
        action: change.action.to_owned(),
        by: by.name().to_owned(),
        scope: by.scope(),
        address: request.sender(),
        request_id: request.id.to_owned(),
        tenant: tenant.as_str().to_owned(),
        target: change.target,
        before: change.told.before,
        after: change.told.after,
        omitted: change.told.omitted,
    };
    let logs = logs(by, tenant, change.action);
    for log in &logs {
        local.store.record(log, &[text(&begun)]).await?;
    }
    // A log of an embedded store waits for no flush by itself.
    local.store.flush().await?;
    let made = making.await;
    let ended = match &made {
        Ok((_, note)) => AuditRecord {
            outcome: AuditOutcome::Done,
            target: note.target.clone(),
            before: note.told.before.clone(),
            after: note.told.after.clone(),
            omitted: note.told.omitted,
            ..begun
        },
        // What the store did not confirm may have been made.
        Err(refusal) if refusal.status_and_code().0 >= 500 => return Err(refusal.clone()),
        Err(_) => AuditRecord {
            outcome: AuditOutcome::Refused,
            ..begun
        },
    };
    note_end(local, &logs, &ended).await;
    made.map(|(outcome, _)| outcome)
}

/// Returns the ID of a change. Changes of one process are in the order of their IDs.
fn new_id(now: Millis) -> String {
    static CHANGES: AtomicU64 = AtomicU64::new(0);
    let number = CHANGES.fetch_add(1, Ordering::Relaxed);
    let (_, random) = uuid::Uuid::new_v4().as_u64_pair();
    format!("{:013}-{number:016x}{random:016x}", now.0)
}

/// Notes what came of a change. Without this it is listed as `unknown`.
async fn note_end(local: &Local, logs: &[LogName], ended: &AuditRecord) {
    for log in logs {
        if let Err(error) = local.store.record(log, &[text(ended)]).await {
            let about = About {
                tenant: Some(&ended.tenant),
                request: Some(&ended.request_id),
                ..About::default()
            };
            let action = ended.action.as_str();
            let line = format_args!(
                "The end of a change was not noted: {error}. The log of changes lists {action} as unknown"
            );
            about.log(module_path!(), Level::Warn, &[], line);
        }
    }
}

fn logs(by: &Actor, tenant: &TenantId, action: &str) -> Vec<LogName> {
    let is_of_operator = OF_OPERATOR.iter().any(|start| action.starts_with(start));
    let operators = (*by == Actor::Operator && is_of_operator).then(LogName::operator_audit);
    std::iter::once(LogName::audit(tenant))
        .chain(operators)
        .collect()
}

fn text(record: &AuditRecord) -> String {
    serde_json::to_string(record).unwrap_or_default()
}
