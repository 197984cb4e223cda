//! What is told of a settled call: the note in the account's ledger, and the usage record without its status.
//!
//! It is written once, when the hold ends, and stands in the journal until the usage record is written: a crash loses
//! neither.

use super::members::MemberWriter;
use crate::rules::amount::Millis;
use crate::rules::charge::{Basis, Charge};
use crate::rules::date::rfc3339;
use crate::rules::issued_key::{IssuedKey, KeyId};
use crate::rules::price::{Rate, Usage};
use crate::rules::tenant::TenantId;
use std::sync::Arc;

/// Initial capacity in bytes; usual members fit.
const USUAL_BYTES: usize = 256;
/// One token of the balance in the unit of a [`Rate`].
const RATE_UNIT: u64 = 1_000_000;

/// Identity of a call, for its usage record.
pub(crate) struct Labels {
    /// Hash of the account, from which the key cannot be derived.
    pub account: String,
    /// ID of the key that made the call, which tells the keys of an account apart.
    pub key: KeyId,
    /// User group whose limits apply.
    pub group: Arc<str>,
    /// The key, where it is one of a person's.
    pub issued: Option<Arc<IssuedKey>>,
    pub endpoint: Arc<str>,
    pub model: Option<Arc<str>>,
    /// Path of the call, as `chat/completions`.
    pub call: &'static str,
}

/// Receipt of a settled call.
pub(crate) struct Receipt {
    /// ID of the hold, which no other call has.
    pub id: String,
    pub at: Millis,
    /// MemberWriter that the ledger and the usage record share.
    members: String,
    pub charge: Charge,
}

/// Returns the members of a usage record that are known when the hold begins.
pub(crate) fn context(tenant: &TenantId, labels: &Labels, request: &str) -> String {
    let mut members = MemberWriter::with_capacity(USUAL_BYTES);
    who(&mut members, tenant, labels);
    what(&mut members, labels, request);
    members.text().to_owned()
}

fn who(members: &mut MemberWriter, tenant: &TenantId, labels: &Labels) {
    members.plain("tenant", tenant.as_str());
    members.string("account", &labels.account);
    members.plain("key", &labels.key.to_string());
    members.string("group", &labels.group);
}

fn what(members: &mut MemberWriter, labels: &Labels, request: &str) {
    members.string("endpoint", &labels.endpoint);
    members.string_or_null("model", labels.model.as_deref());
    members.plain("call", labels.call);
    members.string("requestId", request);
}

impl Receipt {
    pub(crate) fn of(
        (id, at): (&str, Millis),
        labels: &Labels,
        request: &str,
        (usage, rate): (Usage, Rate),
        charge: Charge,
    ) -> Receipt {
        let mut members = MemberWriter::with_capacity(USUAL_BYTES);
        what(&mut members, labels, request);
        members.number("tokensIn", usage.input().count());
        members.number("tokensOut", usage.output.count());
        members.number("tokensCached", usage.cache_read.count());
        members.plain("basis", basis(charge.basis));
        if let Some(counted) = &charge.counted {
            members.number("countedIn", counted.input().count());
            members.number("countedOut", counted.output.count());
        }
        if matches!(charge.basis, Basis::Reported | Basis::Counted) {
            members.raw("rate", &rate_text(rate));
        }
        Receipt {
            id: id.to_owned(),
            at,
            members: members.text().to_owned(),
            charge,
        }
    }

    /// Returns the note of the posting, a JSON object.
    pub(crate) fn note(&self) -> String {
        format!("{{{}}}", self.members)
    }

    /// Returns the members of the note.
    pub(crate) fn members(&self) -> &str {
        &self.members
    }

    /// Writes the usage record without status and latency.
    pub(crate) fn begin_record(&self, tenant: &TenantId, labels: &Labels) -> MemberWriter {
        let mut record = MemberWriter::with_capacity(2 * USUAL_BYTES);
        record.plain("time", &rfc3339(self.at));
        who(&mut record, tenant, labels);
        record.append(&self.members);
        let is_reported = self.charge.basis == Basis::Reported;
        record.raw("reported", if is_reported { "true" } else { "false" });
        record.number("cost", self.charge.cost.count());
        record.plain("id", &self.id);
        record
    }
}

/// Value of the `basis` member.
fn basis(basis: Basis) -> &'static str {
    match basis {
        Basis::Reported => "reported",
        Basis::Counted => "counted",
        Basis::Held => "held",
        Basis::Cached => "cached",
        Basis::Nothing => "nothing",
    }
}

/// Value of the `rate` member: a number where all kinds of tokens cost the same, else an object.
fn rate_text(rate: Rate) -> String {
    let Rate {
        input,
        output,
        cache_read,
        cache_write,
    } = rate;
    if [output, cache_read, cache_write] == [input; 3] {
        return decimal(input);
    }
    let mut members = MemberWriter::with_capacity(64);
    members.raw("input", &decimal(input));
    members.raw("output", &decimal(output));
    if (cache_read, cache_write) != (input, input) {
        members.raw("cacheRead", &decimal(cache_read));
        members.raw("cacheWrite", &decimal(cache_write));
    }
    members.object()
}

/// Returns millionths as a decimal number.
fn decimal(millionths: u64) -> String {
    let (whole, part) = (millionths / RATE_UNIT, millionths % RATE_UNIT);
    match part {
        0 => whole.to_string(),
        part => format!("{whole}.{part:06}")
            .trim_end_matches('0')
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_written_as_in_the_config() {
        assert_eq!(rate_text(Rate::flat(RATE_UNIT)), "1");
        let dear = Rate {
            input: 250_000,
            output: 4_000_000,
            cache_read: 25_000,
            cache_write: 250_001,
        };
        let expected = r#"{"input":0.25,"output":4,"cacheRead":0.025,"cacheWrite":0.250001}"#;
        assert_eq!(rate_text(dear), expected);
        let input = 250_000;
        let plain = Rate {
            output: 3,
            ..Rate::flat(input)
        };
        assert_eq!(rate_text(plain), r#"{"input":0.25,"output":0.000003}"#);
    }
}
