//! Events for the app about a payment: its grant, and the group that it has moved an account to.

use super::owner::Owner;
use super::purchase::Applied;
use crate::local::Local;
use crate::outbox::event::{AppEvent, EventData};
use crate::rules::app_event::AppEventType;
use crate::store::tenants::Tenant;

/// Tells the app what an event of Stripe's has done. Stripe's repeats of it are the same events for the app.
pub(super) fn tell(local: &Local, tenant: &Tenant, owner: &Owner, applied: &Applied, event: &str) {
    let data = || EventData {
        account: Some(owner.account.part().to_owned()),
        tokens_left: Some(applied.left),
        ..EventData::default()
    };
    for entry in applied.payments.entries() {
        let before = applied.before.get(&entry.object).copied();
        let is_new = entry.event == event || entry.tokens > before.unwrap_or_default();
        if is_new && !entry.tokens.is_zero() {
            let received = AppEvent {
                kind: AppEventType::PaymentReceived,
                mark: format!("{}:{}", owner.purchases, entry.object),
                data: EventData {
                    payment: Some(entry.kind.word().to_owned()),
                    object: Some(entry.object),
                    tokens: Some(entry.tokens),
                    ..data()
                },
            };
            local.outbox.send(tenant, received);
        }
    }
    if let Some(group) = &applied.change.group {
        let changed = AppEvent {
            kind: AppEventType::PlanChanged,
            mark: format!("{}:{event}:{group}", owner.purchases),
            data: EventData {
                group: Some(group.clone()),
                group_before: Some(applied.group_before.clone()),
                ..data()
            },
        };
        local.outbox.send(tenant, changed);
    }
}
