//! The query of `GET /admin/usage`, read: which records count, what they are summed by, and the form of the answer.

use super::record::{Dimension, Event, NAMELESS};
use crate::api::{MAX_DAYS, MAX_EVENTS, OwnUsageQuery, USUAL_DAYS, UsageFormat, UsageQuery};
use crate::local::answer::Refusal;
use crate::rules::amount::Millis;
use crate::rules::date::{moment, rfc3339};
use crate::rules::identity::form;
use crate::rules::issued_key::KeyId;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

const PARAMETERS: &str =
    "days, since, until, model, key, account, group, endpoint, by, limit, format";

/// A [`UsageQuery`], read.
pub(super) struct Wanted {
    pub since: Millis,
    /// `since` as records have it: their texts are in the order of time.
    first: String,
    until: Option<String>,
    filters: Vec<(Dimension, String)>,
    /// Dimensions of the rows. `None`: not asked for.
    pub by: Option<Vec<Dimension>>,
    pub limit: usize,
    pub format: UsageFormat,
}

impl Wanted {
    /// Parses a query; parameters that are not in [`UsageQuery`] are refused with 400.
    pub(super) fn parse(query: &str, now: Millis) -> Result<Wanted, Refusal> {
        let read = read(query)?;
        let until = read
            .until
            .as_deref()
            .map(|text| named_moment("until", text));
        let until = until.transpose()?;
        let since = match (&read.since, read.days) {
            (Some(_), Some(_)) => {
                let why = "days and since exclude each other: give one of them";
                return Err(Refusal::Bad(why.to_owned()));
            }
            (Some(text), None) => named_moment("since", text)?,
            (None, days) => days_before(until.unwrap_or(now), days.unwrap_or(USUAL_DAYS)),
        };
        if until.is_some_and(|until| until <= since) {
            return Err(Refusal::Bad("until must be later than since".to_owned()));
        }
        Ok(Wanted {
            since,
            first: rfc3339(since),
            until: until.map(rfc3339),
            by: read.by.as_deref().map(dimensions).transpose()?,
            limit: read.limit,
            format: read.format,
            filters: filters(read)?,
        })
    }

    /// Parses the query of `GET /auth/usage`, for the records of one account.
    pub(super) fn parse_own(query: &str, account: String, now: Millis) -> Result<Wanted, Refusal> {
        let mut days = OwnUsageQuery::default().days;
        for (name, value) in fields(query)? {
            match name.as_str() {
                "days" => days = within(&name, &value, 1..=MAX_DAYS)?,
                _ => return Err(Refusal::Bad("The only parameter here is days".to_owned())),
            }
        }
        Ok(Wanted::of_account(account, days_before(now, days)))
    }

    /// Returns the wish for all records of an account since a moment.
    pub(super) fn of_account(account: String, since: Millis) -> Wanted {
        Wanted {
            since,
            first: rfc3339(since),
            until: None,
            filters: vec![(Dimension::Account, account)],
            by: None,
            limit: 0,
            format: UsageFormat::Json,
        }
    }

    /// Whether a record counts.
    pub(super) fn takes(&self, event: &Event<'_>) -> bool {
        self.is_since(event.time)
            && self.until.as_deref().is_none_or(|until| event.time < until)
            && self
                .filters
                .iter()
                .all(|(of, name)| event.name(*of) == name)
    }

    /// Whether the moment of a record is `since` or later.
    pub(super) fn is_since(&self, time: &str) -> bool {
        time >= self.first.as_str()
    }
}

fn read(query: &str) -> Result<UsageQuery, Refusal> {
    let mut read = UsageQuery::default();
    for (name, value) in fields(query)? {
        match name.as_str() {
            "days" => read.days = Some(within(&name, &value, 1..=MAX_DAYS)?),
            "limit" => read.limit = within(&name, &value, 0..=MAX_EVENTS)?,
            "format" => read.format = format(&value)?,
            "since" => read.since = Some(value),
            "until" => read.until = Some(value),
            "model" => read.model = Some(value),
            "key" => read.key = Some(value),
            "account" => read.account = Some(value),
            "group" => read.group = Some(value),
            "endpoint" => read.endpoint = Some(value),
            "by" => read.by = Some(value),
            _ => {
                let why = format!("{name} is not one of: {PARAMETERS}");
                return Err(Refusal::Bad(why));
            }
        }
    }
    Ok(read)
}

/// Returns the parameters of a query. A parameter that is there twice is refused: one of the two would be ignored.
fn fields(query: &str) -> Result<Vec<(String, String)>, Refusal> {
    let mut names = BTreeSet::new();
    let mut fields = Vec::new();
    for field in form::fields(query) {
        let wrong = |name: &str, why: &str| Refusal::Bad(format!("{name} {why}"));
        let (name, value) = field.map_err(|name| wrong(name, "is not percent-encoded UTF-8"))?;
        if !names.insert(name.clone()) {
            return Err(wrong(&name, "is there twice"));
        }
        fields.push((name, value));
    }
    Ok(fields)
}

fn within<T: FromStr + PartialOrd + Display>(
    name: &str,
    value: &str,
    range: RangeInclusive<T>,
) -> Result<T, Refusal> {
    let number = value.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| {
        let (least, most) = (range.start(), range.end());
        Refusal::Bad(format!(
            "{name} must be a whole number from {least} to {most}"
        ))
    })
}

fn format(value: &str) -> Result<UsageFormat, Refusal> {
    match value {
        "json" => Ok(UsageFormat::Json),
        "csv" => Ok(UsageFormat::Csv),
        _ => Err(Refusal::Bad("format must be json or csv".to_owned())),
    }
}

fn named_moment(name: &str, text: &str) -> Result<Millis, Refusal> {
    moment(text).ok_or_else(|| {
        let example = "2026-01-31T12:00:00Z, or a date such as 2026-01-31";
        Refusal::Bad(format!("{name} must be a moment in UTC such as {example}"))
    })
}

fn days_before(moment: Millis, days: u64) -> Millis {
    moment.minus(Millis(days * Millis::DAY.0))
}

fn dimensions(text: &str) -> Result<Vec<Dimension>, Refusal> {
    let mut by = Vec::new();
    for word in text.split(',') {
        match Dimension::parse(word).filter(|dimension| !by.contains(dimension)) {
            Some(dimension) => by.push(dimension),
            None => {
                let all = Dimension::ALL.map(Dimension::word).join(", ");
                let why = format!("by must be some of {all}, each once, separated by commas");
                return Err(Refusal::Bad(why));
            }
        }
    }
    Ok(by)
}

fn filters(read: UsageQuery) -> Result<Vec<(Dimension, String)>, Refusal> {
    let given = [
        (Dimension::Model, read.model),
        (Dimension::Key, read.key),
        (Dimension::Account, read.account),
        (Dimension::Group, read.group),
        (Dimension::Endpoint, read.endpoint),
    ];
    let mut filters = Vec::new();
    for (of, name) in given {
        let Some(name) = name else { continue };
        let rule = match of {
            // A whole key in a query would end in the logs of whatever stands in front.
            Dimension::Key if name != NAMELESS && KeyId::parse(&name).is_none() => {
                "must be the ID of a key, 12 hex digits, or -"
            }
            _ if name.is_empty() => "must not be empty",
            _ => {
                filters.push((of, name));
                continue;
            }
        };
        return Err(Refusal::Bad(format!("{} {rule}", of.word())));
    }
    Ok(filters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::date;

    const NOW: &str = "2026-12-01T12:00:00.000Z";

    fn wanted(query: &str) -> Result<Wanted, String> {
        let now = date::parse(NOW).unwrap();
        Wanted::parse(query, now).map_err(|refusal| match refusal {
            Refusal::Bad(why) => why,
            other => panic!("{other:?}"),
        })
    }

    fn span(query: &str) -> (String, Option<String>) {
        let wanted = wanted(query).unwrap_or_else(|why| panic!("{why}"));
        (wanted.first, wanted.until)
    }

    #[test]
    fn the_time_asked_for_is_days_or_from_one_moment_to_another() {
        let at = |text: &str| text.to_owned();
        assert_eq!(span(""), (at("2026-11-01T12:00:00.000Z"), None));
        assert_eq!(span("days=1"), (at("2026-11-30T12:00:00.000Z"), None));
        assert_eq!(
            span("since=2026-01-31"),
            (at("2026-01-31T00:00:00.000Z"), None)
        );
        assert_eq!(
            span("since=2026-01-01&until=2026-02-01T00%3A00%3A00Z"),
            (
                at("2026-01-01T00:00:00.000Z"),
                Some(at("2026-02-01T00:00:00.000Z"))
            )
        );
        assert_eq!(
            span("until=2026-11-11&days=10"),
            (
                at("2026-11-01T00:00:00.000Z"),
                Some(at("2026-11-11T00:00:00.000Z"))
            )
        );
    }

    #[test]
    fn a_query_is_understood_as_it_is_encoded() {
        let read = wanted(
            "model=meta-llama%2FLlama+4%0D&key=0123456789ab&account=a&by=key,day&limit=0&format=csv",
        );
        let read = read.unwrap_or_else(|why| panic!("{why}"));
        let model = (Dimension::Model, "meta-llama/Llama 4\r".to_owned());
        assert_eq!(read.filters[0], model);
        assert_eq!(read.filters.len(), 3);
        assert_eq!(read.by, Some(vec![Dimension::Key, Dimension::Day]));
        assert_eq!((read.limit, read.format), (0, UsageFormat::Csv));
        assert!(wanted("model=-&key=-").is_ok());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (query, place) in [
            ("days=0", "days"),
            ("days=367", "days"),
            ("days=x", "days"),
            ("days", "days"),
            ("limit=10001", "limit"),
            ("since=yesterday", "since"),
            ("until=2026-02-30", "until"),
            ("since=2026-01-02&until=2026-01-02", "until"),
            ("since=2026-01-01&days=3", "days and since"),
            ("key=user_0b8f", "key"),
            ("key=", "key"),
            ("group=", "group"),
            ("model=%zz", "model"),
            ("model=a&model=b", "model"),
            ("by=day,day", "by"),
            ("by=", "by"),
            ("by=colour", "by"),
            ("format=xml", "format"),
            ("colour=red", "colour is not one of: days, since,"),
        ] {
            let why = wanted(query).err().unwrap_or_else(|| panic!("{query}"));
            assert!(why.starts_with(place), "{query}: {why}");
        }
    }

    #[test]
    fn the_parameters_are_those_of_the_type() {
        let query = UsageQuery::default();
        let some = || Some("x".to_owned());
        let all = UsageQuery {
            days: Some(1),
            since: some(),
            until: some(),
            model: some(),
            key: some(),
            account: some(),
            group: some(),
            endpoint: some(),
            by: some(),
            ..query
        };
        let all = serde_json::to_value(all).unwrap();
        let names: Vec<&str> = all
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(names.join(", "), PARAMETERS);
    }

    #[test]
    fn a_record_counts_if_it_is_of_the_time_and_of_all_names() {
        let text = r#"{"time":"2026-11-30T00:00:00.000Z","account":"a","group":"g","endpoint":"e","model":"m"}"#;
        let event = Event::parse(text).unwrap();
        for (query, takes) in [
            ("", true),
            ("since=2026-11-30", true),
            ("since=2026-11-30T00:00:00.001Z", false),
            ("until=2026-11-30", false),
            ("until=2026-11-30T00:00:00.001Z", true),
            ("model=m&group=g&endpoint=e&account=a&key=-", true),
            ("model=m&group=h", false),
            ("key=0123456789ab", false),
        ] {
            let wanted = wanted(query).unwrap_or_else(|why| panic!("{why}"));
            assert_eq!(wanted.takes(&event), takes, "{query}");
        }
    }
}
