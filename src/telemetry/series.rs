//! Series labelled by tenant and endpoint, in families with a bound on their number.
//!
//! A label's value is a tenant's ID, an endpoint's name, or a word of a fixed list; never what a client sent.
//! Beyond the bounds everything counts as `_other`, so no tenant can fill the memory or push out the others.

use super::counter::{Counter, FIRST_BYTE, Histogram, Shared};
use super::fields::About;
use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::{MetricType, TypedMetric};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Value of a label beyond the bounds. No tenant ID begins with an underscore.
const OTHER: &str = "_other";
/// Lines that a family may have in the text format, without its rows of [`OTHER`] tenants.
const MAX_LINES: usize = 2_000;
/// Part of [`MAX_LINES`] that one tenant may take.
const TENANTS_SHARE: usize = 10;
/// Endpoints of a tenant that have series of their own; its further ones count as [`OTHER`].
const MAX_NAMED_ENDPOINTS: usize = 16;
/// Lines that one call of [`Families::log_refusals`] writes.
const MAX_REFUSAL_LINES: usize = 20;

/// A label and its value.
type Label = (&'static str, Arc<str>);

/// Metrics of one name, by tenant and further labels.
#[derive(Clone, Debug)]
pub struct Family<M> {
    rows: Arc<Mutex<Rows<M>>>,
    make: fn() -> M,
    /// Rows that the family may have.
    most: usize,
}

#[derive(Debug)]
struct Rows<M> {
    by_tenant: BTreeMap<Arc<str>, BTreeMap<Vec<Label>, M>>,
    count: usize,
}

impl<M: Shared> Family<M> {
    /// `lines`: lines of one row in the text format.
    fn new(make: fn() -> M, lines: usize) -> Family<M> {
        let rows = Rows {
            by_tenant: BTreeMap::new(),
            count: 0,
        };
        Family {
            rows: Arc::new(Mutex::new(rows)),
            make,
            most: MAX_LINES / lines,
        }
    }

    /// Returns the row of these labels. Where the tenant has too many already, that of `bounded`; where the family
    /// has, that of the tenant [`OTHER`] and `bounded`.
    fn row(&self, tenant: &Arc<str>, labels: Vec<Label>, bounded: Vec<Label>) -> M {
        let rows = &mut *self.rows.lock();
        let known = rows.by_tenant.get(tenant);
        if let Some(row) = known.and_then(|known| known.get(&labels)) {
            return row.clone();
        }
        let of_tenant = known.map_or(0, BTreeMap::len);
        let is_full = rows.count >= self.most;
        let (tenant, labels) = if is_full {
            (Arc::from(OTHER), bounded)
        } else if of_tenant >= self.most / TENANTS_SHARE {
            (tenant.clone(), bounded)
        } else {
            (tenant.clone(), labels)
        };
        let of_tenant = rows.by_tenant.entry(tenant).or_default();
        let before = of_tenant.len();
        let row = of_tenant.entry(labels).or_insert_with(self.make).clone();
        rows.count += of_tenant.len() - before;
        row
    }

    /// Removes the rows that nobody else holds: their tenants or endpoints are no more.
    fn remove_unused(&self) {
        let rows = &mut *self.rows.lock();
        rows.by_tenant.retain(|_, rows| {
            rows.retain(|_, row| row.is_shared());
            !rows.is_empty()
        });
        rows.count = rows.by_tenant.values().map(BTreeMap::len).sum();
    }

    /// Calls `visit` with the tenant, further labels and metric of each row.
    fn each(&self, mut visit: impl FnMut(&str, &[(&'static str, Arc<str>)], &M)) {
        for (tenant, rows) in &self.rows.lock().by_tenant {
            for (labels, metric) in rows {
                visit(tenant, labels, metric);
            }
        }
    }
}

impl<M: TypedMetric> TypedMetric for Family<M> {
    const TYPE: MetricType = M::TYPE;
}

impl<M: EncodeMetric + TypedMetric + Shared> EncodeMetric for Family<M> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        // Copied, so that no call waits for the lock while the text is written.
        let mut rows = Vec::new();
        self.each(|tenant, labels, metric| {
            let tenant = [("tenant", tenant.to_owned())];
            rows.push(((tenant, labels.to_vec()), metric.clone()));
        });
        for (labels, metric) in &rows {
            metric.encode(encoder.encode_family(labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// Count of one error of a tenant, and how many of them the log has told of.
#[derive(Clone, Debug, Default)]
pub struct ErrorCount {
    count: Counter,
    told: Arc<AtomicU64>,
}

impl Shared for ErrorCount {
    fn is_shared(&self) -> bool {
        self.count.is_shared()
    }
}

impl TypedMetric for ErrorCount {
    const TYPE: MetricType = MetricType::Counter;
}

impl EncodeMetric for ErrorCount {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        self.count.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// The families that have series by tenant.
#[derive(Clone, Debug)]
pub struct Families {
    /// Errors that the gateway answered itself, by code and status.
    pub errors: Family<ErrorCount>,
    /// Provider calls, by endpoint and outcome.
    pub provider_answers: Family<Counter>,
    /// Time to the first byte of a provider's answer, by endpoint.
    pub first_byte: Family<Histogram>,
    /// Failed attempts that another one followed, by endpoint.
    pub failovers: Family<Counter>,
}

impl Default for Families {
    fn default() -> Families {
        let histogram = || Histogram::new(FIRST_BYTE);
        Families {
            errors: Family::new(ErrorCount::default, 1),
            provider_answers: Family::new(Counter::default, 1),
            first_byte: Family::new(histogram, Histogram::lines(FIRST_BYTE)),
            failovers: Family::new(Counter::default, 1),
        }
    }
}

impl Families {
    /// Returns the series of a tenant. `""`: requests of no known tenant.
    pub fn tenant(&self, id: &str) -> TenantSeries {
        TenantSeries {
            tenant: Arc::from(id),
            families: self.clone(),
            errors: ByWord::default(),
        }
    }

    /// Logs how many requests of each tenant were refused with each code since the last call: at most
    /// `MAX_REFUSAL_LINES`, the rest the next time.
    pub fn log_refusals(&self) {
        if !log::log_enabled!(log::Level::Info) {
            return;
        }
        let mut lines = Vec::new();
        self.errors.each(|tenant, labels, errors| {
            let count = errors.count.value();
            let news = count - errors.told.load(Ordering::Relaxed);
            if news > 0 && lines.len() < MAX_REFUSAL_LINES {
                errors.told.store(count, Ordering::Relaxed);
                lines.push((tenant.to_owned(), labels.to_vec(), news));
            }
        });
        for (tenant, labels, count) in lines {
            let label = |name: &str| {
                let mut labels = labels.iter();
                labels
                    .find(|(known, _)| *known == name)
                    .map(|(_, value)| &**value)
            };
            let (code, status) = (label("code"), label("status"));
            let about = About {
                tenant: (!tenant.is_empty()).then_some(&*tenant),
                code,
                status: status.and_then(|status| status.parse().ok()),
                ..About::default()
            };
            let (code, status) = (code.unwrap_or_default(), status.unwrap_or_default());
            let more = [("count", count.into())];
            about.log(
                module_path!(),
                log::Level::Info,
                &more,
                format_args!("Requests that got {status} {code} in the last second: {count}"),
            );
        }
    }

    /// Removes the series that no config in use, and no call, holds any more.
    pub fn remove_unused(&self) {
        self.errors.remove_unused();
        self.provider_answers.remove_unused();
        self.first_byte.remove_unused();
        self.failovers.remove_unused();
    }
}

/// Series of one tenant. Found when its config is read, so that a request looks nothing up.
#[derive(Debug)]
pub struct TenantSeries {
    tenant: Arc<str>,
    families: Families,
    errors: ByWord<ErrorCount, 24>,
}

impl TenantSeries {
    /// Counts an error that the gateway answered itself.
    pub fn count_error(&self, code: &'static str, status: u16) {
        let row = || {
            let labels = |code: &str| {
                let status = Arc::from(status.to_string());
                vec![("code", Arc::from(code)), ("status", status)]
            };
            let (labels, bounded) = (labels(code), labels(OTHER));
            self.families.errors.row(&self.tenant, labels, bounded)
        };
        self.errors.with(code, row, |errors| errors.count.add(1));
    }

    /// Returns the series of the `nth` endpoint of the tenant's config.
    pub fn endpoint(&self, name: &str, nth: usize) -> EndpointSeries {
        let is_named = nth < MAX_NAMED_ENDPOINTS;
        EndpointSeries {
            tenant: self.tenant.clone(),
            endpoint: Arc::from(if is_named { name } else { OTHER }),
            families: self.families.clone(),
            answers: ByWord::default(),
            first_byte: OnceLock::new(),
            failovers: OnceLock::new(),
        }
    }
}

/// Series of one endpoint of a tenant.
#[derive(Debug)]
pub struct EndpointSeries {
    tenant: Arc<str>,
    endpoint: Arc<str>,
    families: Families,
    answers: ByWord<Counter, 16>,
    first_byte: OnceLock<Histogram>,
    failovers: OnceLock<Counter>,
}

impl EndpointSeries {
    /// Counts a call of the provider by its outcome, a word of a fixed list.
    pub fn count_answer(&self, outcome: &'static str) {
        let row = || {
            let labels = |endpoint| vec![("endpoint", endpoint), ("outcome", Arc::from(outcome))];
            let (named, bounded) = (labels(self.endpoint.clone()), labels(Arc::from(OTHER)));
            let family = &self.families.provider_answers;
            family.row(&self.tenant, named, bounded)
        };
        self.answers.with(outcome, row, |answers| answers.add(1));
    }

    /// Counts a failed attempt that another one followed.
    pub fn count_failover(&self) {
        let row = || self.row(&self.families.failovers);
        self.failovers.get_or_init(row).add(1);
    }

    /// Records the time from sending a call to the first byte of its answer.
    pub fn record_first_byte(&self, span: Duration) {
        let row = || self.row(&self.families.first_byte);
        self.first_byte.get_or_init(row).record(span);
    }

    /// Returns the endpoint's row of a family that has no further labels.
    fn row<M: Shared>(&self, family: &Family<M>) -> M {
        let labels = |endpoint| vec![("endpoint", endpoint)];
        let (named, bounded) = (labels(self.endpoint.clone()), labels(Arc::from(OTHER)));
        family.row(&self.tenant, named, bounded)
    }
}

/// Series by a word of a fixed list: found without a lock, made when the word first occurs.
#[derive(Debug)]
struct ByWord<M, const MOST: usize>([OnceLock<(&'static str, M)>; MOST]);

impl<M, const MOST: usize> Default for ByWord<M, MOST> {
    fn default() -> Self {
        ByWord([const { OnceLock::new() }; MOST])
    }
}

impl<M, const MOST: usize> ByWord<M, MOST> {
    /// Passes the series of `word` to `use_it`. `make`: its row of the family.
    fn with(&self, word: &'static str, make: impl Fn() -> M, use_it: impl FnOnce(&M)) {
        for cell in &self.0 {
            let (known, series) = cell.get_or_init(|| (word, make()));
            if *known == word {
                return use_it(series);
            }
        }
        // More words than cells: the row is looked up every time.
        use_it(&make());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines<M: Shared>(
        family: &Family<M>,
        value: impl Fn(&M) -> u64,
    ) -> Vec<(String, String, u64)> {
        let mut lines = Vec::new();
        family.each(|tenant, labels, count| {
            let labels: Vec<&str> = labels.iter().map(|(_, value)| &**value).collect();
            lines.push((tenant.to_owned(), labels.join(" "), value(count)));
        });
        lines
    }

    fn errors(families: &Families) -> Vec<(String, String, u64)> {
        lines(&families.errors, |errors| errors.count.value())
    }

    fn answers(families: &Families) -> Vec<(String, String, u64)> {
        lines(&families.provider_answers, Counter::value)
    }

    #[test]
    fn rows_of_one_word_are_one_row() {
        let families = Families::default();
        let tenant = families.tenant("t");
        for _ in 0..3 {
            tenant.count_error("overloaded", 503);
            families.tenant("t").count_error("overloaded", 503);
        }
        let expected = ("t".to_owned(), "overloaded 503".to_owned(), 6);
        assert_eq!(errors(&families), [expected]);
    }

    #[test]
    fn hostile_names_take_a_bounded_number_of_rows_and_leave_the_others_theirs() {
        let families = Families::default();
        let hostile = families.tenant("hostile");
        let endpoints: Vec<EndpointSeries> = (0..10_000)
            .map(|nth| hostile.endpoint(&format!("endpoint-{nth}"), nth))
            .collect();
        for endpoint in &endpoints {
            for outcome in ["2xx", "4xx", "5xx", "broken"] {
                endpoint.count_answer(outcome);
            }
            endpoint.record_first_byte(Duration::from_secs(1));
        }
        let polite = families.tenant("polite").endpoint("openai", 0);
        polite.count_answer("2xx");

        let rows = answers(&families);
        assert!(
            rows.len() <= 4 * (MAX_NAMED_ENDPOINTS + 1) + 1,
            "{}",
            rows.len()
        );
        let sum: u64 = rows.iter().map(|(.., count)| count).sum();
        assert_eq!(sum, 40_001);
        assert!(rows.contains(&("polite".to_owned(), "openai 2xx".to_owned(), 1)));
    }

    #[test]
    fn families_are_bounded_however_many_tenants_there_are() {
        let families = Families::default();
        for id in 0..5_000 {
            families
                .tenant(&format!("t{id}"))
                .count_error("overloaded", 503);
        }
        let rows = errors(&families);
        assert_eq!(rows.len(), MAX_LINES + 1);
        let other = rows.iter().find(|(tenant, ..)| tenant == OTHER);
        assert_eq!(
            other.map(|(.., count)| *count),
            Some(5_000 - MAX_LINES as u64)
        );
    }

    #[test]
    fn series_that_nobody_holds_leave_room_and_the_others_go_on() {
        let families = Families::default();
        let tenant = families.tenant("t");
        let endpoint = |name: &str, nth| {
            let endpoint = tenant.endpoint(name, nth);
            endpoint.count_answer("2xx");
            endpoint.record_first_byte(Duration::from_secs(1));
            endpoint
        };
        let kept = endpoint("kept", 0);
        drop(endpoint("gone", 1));
        families.tenant("gone").count_error("overloaded", 503);

        families.remove_unused();
        kept.count_answer("2xx");

        assert_eq!(errors(&families), []);
        let row = ("t".to_owned(), "kept 2xx".to_owned(), 2);
        assert_eq!(answers(&families), [row]);
        assert_eq!(families.provider_answers.rows.lock().count, 1);
        assert_eq!(families.first_byte.rows.lock().count, 1);
    }
}
