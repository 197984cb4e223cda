//! Recovery at a start, before it serves: settles and records what crashed processes left open, and seeds tenants.

use crate::rules::account::Orphans;
use crate::rules::account::Report;
use crate::rules::amount::{Millis, Tokens};
use crate::rules::date::rfc3339;
use crate::rules::tenant::TenantId;
use crate::settings::Settings;
use crate::store::config_secrets::ConfigSecrets;
use crate::store::journal::{DeadPages, Journal, JournalError, OpenLease, Unfinished, Unrecorded};
use crate::store::name::{AccountName, LogName};
use crate::store::{Agreement, Clock, Store, StoreError};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Opens the journal in `accounts.journal` and first settles what crashed processes left open there.
pub async fn open_journal(settings: &Settings, store: &dyn Store) -> Result<Journal, String> {
    let dir = std::path::Path::new(&settings.accounts.journal);
    Ok(match Journal::open(dir) {
        Ok((journal, pages)) => {
            settle_dead_pages(pages, store, settings.accounts.orphans).await;
            journal
        }
        // Unreadable holds may have cost something, so the gateway must not ignore them: it refuses to start.
        Err(JournalError::Damaged(why)) => {
            return Err(format!(
                "{why}: this journal has unsettled requests of an earlier process. Restore it, or move it away: then their holds expire and are charged by accounts.orphans"
            ));
        }
        Err(JournalError::Unwritable(error)) => {
            log::warn!(
                "No journal in {}: {error}. After a crash, tokens of requests in flight stay held until they expire (accounts.hold_ttl)",
                dir.display()
            );
            Journal::none()
        }
    })
}

/// Settles the requests and leases that dead processes left in their journal pages, then deletes the pages.
async fn settle_dead_pages(pages: DeadPages, store: &dyn Store, orphans: Orphans) {
    // The known cost may be less than what was served. With `accounts.orphans: spend`, an undecided hold is
    // not settled here: it expires and is charged in full.
    let certain = |open: &&Unfinished| open.decided || orphans == Orphans::Known;
    let unfinished: Vec<&Unfinished> = pages.unfinished.iter().filter(certain).collect();
    let Some(of_requests) = settle_requests(&unfinished, store).await else {
        return;
    };
    let Some(of_leases) = settle_leases(&pages.leases, store, orphans).await else {
        return;
    };
    let records = match write_records(&pages.unrecorded, store, orphans).await {
        Ok(records) => records,
        Err(error) => {
            log::error!(
                "Usage records of an earlier process cannot be written now: {error}. The journal is kept, and the next start retries"
            );
            return;
        }
    };
    let tokens = of_requests + of_leases;
    if !unfinished.is_empty() || tokens > 0 || records > 0 {
        let requests = unfinished.len();
        log::info!(
            requests = requests, tokens = tokens, records = records;
            "Settled {requests} requests of an earlier process, {tokens} tokens charged, and wrote {records} usage records that it had not written"
        );
    }
    // The pages are deleted only after the store has flushed, so that a power loss cannot lose the
    // settlements.
    if let Err(error) = store.flush().await {
        log::error!(
            "The store could not flush the settlements of an earlier process: {error}. The journal is kept, and the next start repeats them"
        );
        return;
    }
    pages.delete();
}

/// Records in one write.
const RECORDS_PER_WRITE: usize = 500;

/// Writes the usage records that dead processes may not have written. Returns how many.
async fn write_records(
    unrecorded: &[Unrecorded],
    store: &dyn Store,
    orphans: Orphans,
) -> Result<usize, StoreError> {
    let now = Clock::Store.now();
    let mut by_tenant: BTreeMap<TenantId, Vec<String>> = BTreeMap::new();
    for one in unrecorded {
        // An undecided hold is not settled here with `accounts.orphans: spend`.
        if one.settled.is_none() && orphans == Orphans::Spend {
            continue;
        }
        if let Some((tenant, record)) = record(one, now) {
            by_tenant.entry(tenant).or_default().push(record);
        }
    }
    let mut written = 0;
    for (tenant, records) in &by_tenant {
        for records in records.chunks(RECORDS_PER_WRITE) {
            store.record(&LogName::usage(tenant), records).await?;
            written += records.len();
        }
    }
    Ok(written)
}

/// Returns the usage record of a request of a dead process, and its tenant. `None`: nothing is known of it but its cost.
fn record(of: &Unrecorded, now: Millis) -> Option<(TenantId, String)> {
    let members = |text: &str| serde_json::from_str::<Map<String, Value>>(&format!("{{{text}}}"));
    let mut record = members(&of.context).ok()?;
    let tenant = TenantId::parse(record.get("tenant")?.as_str()?)?;
    let mut add = |name: &str, value: Value| record.insert(name.to_owned(), value);
    for name in [
        "tokensIn",
        "tokensOut",
        "tokensCached",
        "status",
        "latencyMs",
    ] {
        add(name, 0.into());
    }
    let basis = if of.cost.is_zero() {
        "nothing"
    } else {
        "known"
    };
    add("basis", basis.into());
    add("time", rfc3339(now).into());
    if let Some((at, note)) = &of.settled {
        add("time", rfc3339(*at).into());
        for (name, value) in members(note).ok()? {
            add(&name, value);
        }
    }
    let is_reported = record.get("basis").is_some_and(|basis| basis == "reported");
    let mut add = |name: &str, value: Value| record.insert(name.to_owned(), value);
    add("reported", is_reported.into());
    add("cost", of.cost.count().into());
    add("id", of.id.clone().into());
    add("recovered", true.into());
    Some((tenant, Value::Object(record).to_string()))
}

/// Settles requests of dead processes, and returns the tokens charged. `None`: the store failed.
async fn settle_requests(unfinished: &[&Unfinished], store: &dyn Store) -> Option<u64> {
    let mut tokens = 0;
    for (number, open) in unfinished.iter().enumerate() {
        match store
            .settle(&open.account, &open.id, open.used, true, "")
            .await
        {
            Ok(settled) => {
                let charged = settled.map_or(0, |settled| settled.charged.count());
                tokens += charged;
                log_settled(number, &open.account, charged);
            }
            Err(error @ StoreError::Damaged { .. }) => {
                log::error!(
                    "A request of an earlier process cannot be settled: {error}. It is skipped; restore the record"
                );
            }
            Err(error) => {
                // The pages stay for the next start. The holds may have expired by then; that is harmless,
                // because settling also charges an expired hold that was not charged.
                log::error!(
                    "Requests of an earlier process cannot be settled now: {error}. The journal is kept, and the next start retries"
                );
                return None;
            }
        }
    }
    Some(tokens)
}

/// Reports what dead processes spent of leases, and returns the tokens charged. `None`: the store failed.
async fn settle_leases(leases: &[OpenLease], store: &dyn Store, orphans: Orphans) -> Option<u64> {
    let mut tokens = 0;
    for (number, lease) in leases.iter().enumerate() {
        match settle_lease(lease, store, orphans).await {
            Ok(charged) => {
                tokens += charged;
                log_settled(number, &lease.account, charged);
            }
            Err(error @ StoreError::Damaged { .. }) => {
                log::error!(
                    "Spending on a lease of an earlier process cannot be reported: {error}. It is skipped; restore the record"
                );
            }
            Err(error) => {
                log::error!(
                    "Spending on leases of an earlier process cannot be reported now: {error}. The journal is kept, and the next start retries"
                );
                return None;
            }
        }
    }
    Some(tokens)
}

/// Accounts that are named in the log when an earlier process is settled, of requests and of leases.
const MAX_SETTLED_LINES: usize = 100;

/// Logs what an account was charged for an earlier process.
fn log_settled(number: usize, account: &AccountName, charged: u64) {
    if charged == 0 || number >= MAX_SETTLED_LINES {
        return;
    }
    let account = account.id();
    log::info!(
        account = account.as_str(), tokens = charged;
        "Account {account} was charged {charged} tokens for an earlier process"
    );
}

/// Added to a dead process's last report number, so that none of its delayed commands can have a higher one.
const REPORT_NUMBER_GAP: u64 = 1 << 40;

/// Reports to the store what a dead process had spent of a lease; returns the tokens charged. With
/// `accounts.orphans: known`, requests in flight are charged their known cost and the rest returns to the
/// balance; with `spend`, the rest expires and is charged.
async fn settle_lease(
    lease: &OpenLease,
    store: &dyn Store,
    orphans: Orphans,
) -> Result<u64, StoreError> {
    let is_known = orphans == Orphans::Known;
    let under_way = if is_known { lease.known } else { Tokens::ZERO };
    let back = if is_known { Tokens::MAX } else { Tokens::ZERO };
    let report = |number, spent, back, ends| Report {
        instance: &lease.name,
        number,
        spent,
        back,
        ttl: DEAD_LEASE_TTL,
        retry: true,
        ends,
        before: None,
        begun: None,
        lines: &[],
    };
    let mut reports = Vec::new();
    if let Some(spent) = lease.in_doubt {
        reports.push(report(lease.number, spent, Tokens::ZERO, false));
    }
    let later = lease.number + REPORT_NUMBER_GAP;
    reports.push(report(later, lease.spent.plus(under_way), back, false));
    if is_known {
        reports.push(report(later + 1, Tokens::ZERO, back, true));
    }
    let mut tokens = 0;
    for report in &reports {
        let reported = store.report(&lease.account, report).await?;
        tokens += reported.map_or(0, |reported| reported.settlement.charged.count());
    }
    Ok(tokens)
}

/// Time to live of the remainder of a dead process's lease.
const DEAD_LEASE_TTL: Millis = Millis(1_000);

/// Refuses a start whose keys open no stored config: a wrong `secrets.key` would take every tenant down. One that
/// opens some is let through, and those that it does not open are logged.
pub async fn check_seals(settings: &Settings, store: &dyn Store) -> Result<(), String> {
    let secrets = ConfigSecrets::new(&settings.secrets);
    let failed = |error: StoreError| format!("Cannot read the tenants' configs: {error}");
    let (mut opened, mut closed) = (0, Vec::new());
    for id in store.tenants().await.map_err(failed)? {
        let Some(text) = store.config(&id).await.map_err(failed)? else {
            continue;
        };
        match secrets.opens_any(&id, &text) {
            Some(true) => opened += 1,
            Some(false) => closed.push(id.to_string()),
            None => {}
        }
    }
    if closed.is_empty() {
        return Ok(());
    }
    let (count, names) = (closed.len(), closed[..closed.len().min(5)].join(", "));
    let more = if count > 5 { ", …" } else { "" };
    if opened == 0 {
        return Err(format!(
            "secrets.key opens none of the {count} sealed configs in the store ({names}{more}): \
             it is not the key that sealed them, nor is one of secrets.old_keys"
        ));
    }
    log::error!("No key opens the secrets of {count} tenants, which cannot be used: {names}{more}");
    Ok(())
}

/// Fails if the keys in the store, or some of them, would not be found.
pub async fn check_key_secret(store: &dyn Store) -> Result<(), String> {
    let id = store.key_names().secret_id();
    let agreement = store.agree_on_secret(id.as_deref()).await;
    let why = match agreement.map_err(|error| format!("Cannot read the store: {error}"))? {
        Agreement::Agreed => return Ok(()),
        Agreement::OtherSecret => {
            "accounts.key_secret is not the one that this store's keys are named with, so none of them would be found. \
             If no key was ever hashed here, delete keys:secret from the store"
        }
        Agreement::NoSecret => {
            "this store's keys are named with a secret, and accounts.key_secret is not set, so none of them would be found. \
             If no key was ever hashed here, delete keys:secret from the store"
        }
        Agreement::HalfCopied => {
            "this store is being filled by `resullm store copy`, or that was broken off: then empty it and copy again"
        }
    };
    Err(why.to_owned())
}

/// Writes each config under `tenants` in the settings to the store if that tenant does not exist there.
pub async fn seed(settings: &Settings, store: &dyn Store) -> Result<(), String> {
    let secrets = ConfigSecrets::new(&settings.secrets);
    for (id, config) in &settings.tenants.0 {
        let failed = |error: &dyn std::fmt::Display| format!("Cannot seed tenant {id}: {error}");
        let id = TenantId::parse(id).ok_or_else(|| failed(&"not a tenant ID"))?;
        let text = serde_json::to_string(config).map_err(|error| failed(&error))?;
        let seeded = secrets.seed(store, &id, &text).await;
        seeded.map_err(|error| failed(&error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recovered(context: &str) -> Value {
        let unrecorded = Unrecorded {
            id: "h".to_owned(),
            context: context.to_owned(),
            settled: Some((
                Millis(7),
                r#""model":"m","basis":"reported","tokensIn":3"#.to_owned(),
            )),
            cost: Tokens::new(8),
        };
        let (_, text) = record(&unrecorded, Millis(9)).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_record_has_all_that_its_journal_lines_know() {
        let with_key = recovered(r#""tenant":"abc","account":"a","key":"0000000000ab""#);
        assert_eq!(with_key["key"], "0000000000ab");
        let known =
            ["model", "tokensIn", "cost", "reported", "recovered"].map(|name| &with_key[name]);
        let expected = [
            Value::from("m"),
            3.into(),
            8.into(),
            true.into(),
            true.into(),
        ];
        assert_eq!(known, expected.each_ref());

        // Journals of earlier versions do not know the key.
        let without = recovered(r#""tenant":"abc","account":"a""#);
        assert_eq!(
            (without.get("key"), &without["account"]),
            (None, &Value::from("a"))
        );
    }
}
