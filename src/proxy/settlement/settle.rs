//! Settle: charges a call and ends its hold. Runs on every way out of a call, and is idempotent: only the
//! first run has an effect.

use crate::proxy::admission::token_counter::TokenCounter;
use crate::proxy::exchange::Admitted;
use crate::proxy::settlement::bill::{Bill, Hold};
use crate::proxy::settlement::deliver::Delivery;
use crate::proxy::settlement::receipt::Receipt;
use crate::rules::amount::Tokens;
use crate::rules::charge::{Basis, Charge, Doubt};
use crate::store::Clock;
use crate::telemetry::fields::About;
use crate::telemetry::metrics::Metrics;
use log::Level;
use std::sync::Arc;

/// Copies of an answer's text in memory while it waits to be counted, with its buffer's spare capacity.
pub(crate) const TEXT_COPIES: usize = 3;

pub struct Settlement {
    pub delivery: Arc<Delivery>,
    pub counter: Arc<TokenCounter>,
    pub metrics: Arc<Metrics>,
}

impl Settlement {
    /// Ends the hold, unless that was done before. Returns the balance that is left, where the store could
    /// say.
    pub async fn settle(&self, call: &mut Admitted<'_, '_>) -> Option<Tokens> {
        call.bill.hold()?;
        if let Some(texts) = call.bill.take_uncounted() {
            let fits = call.body_memory.grow_to(TEXT_COPIES * texts.bytes());
            let count = move || texts.count();
            let tenant = call.tenant.as_str();
            if fits && let Some(counted) = self.counter.run_patiently(tenant, count).await {
                call.bill.set_counted(&counted);
            }
        }
        let (hold, charge) = call.bill.close()?;
        self.count(&charge, &hold, call.about());
        let (now, request) = (Clock::Store.now(), call.reply.request_id());
        let spent = (call.bill.usage(), call.bill.rate());
        let labels = call.bill.labels();
        let receipt = Receipt::of((&hold.id, now), labels, request, spent, charge);
        let left = self.delivery.settle(hold, &receipt, call.about()).await;
        call.bill.set_receipt(receipt);
        left
    }

    /// Writes the known cost of a running call to the journal, if that is due ([`Bill::due_note`]).
    pub(crate) fn note(&self, bill: &mut Bill) {
        if let Some((id, cost)) = bill.due_note() {
            self.delivery.journal.know(id, cost);
        }
    }

    /// Counts the charge in the metrics: by its `basis`, what it is beyond its hold, and reported usage that was not
    /// credible. An overrun is what the store could not charge, see [`super::deliver::charged`].
    fn count(&self, charge: &Charge, hold: &Hold, about: About<'_>) {
        let metrics = &self.metrics;
        let beyond_hold = charge.cost.minus(hold.held);
        metrics.tokens_beyond_hold.add(beyond_hold.count());
        match charge.basis {
            Basis::Counted => metrics.charges_counted.add(1),
            Basis::Held => metrics.charges_held.add(1),
            Basis::Reported | Basis::Cached | Basis::Nothing => {}
        }
        let Some(doubt) = charge.doubt else {
            return;
        };
        let counter = match doubt {
            Doubt::Zero => &metrics.doubted_nought,
            Doubt::BelowDelivered => &metrics.doubted_below_delivered,
            Doubt::Absurd => &metrics.doubted_absurd,
        };
        counter.add(1);
        about.log(
            module_path!(),
            Level::Debug,
            &[],
            format_args!(
                "The usage that the provider reported was rejected ({doubt:?}); the call was charged by its own count"
            ),
        );
    }
}
