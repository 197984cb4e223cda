//! Calendar months in UTC, for billing periods: a month after 31 January is 28 or 29 February.
//!
//! Pure. Periods are counted from the anchor, so that the day comes back: 31 January, 28 February, 31 March.

const SECONDS_PER_DAY: u64 = 86_400;
const MONTH_NAMES: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

/// Adds calendar months to a Unix time, at the same time of day.
pub(super) fn add_months(unix: u64, months: u64) -> u64 {
    let (year, month, day) = civil(unix / SECONDS_PER_DAY);
    let count = year * 12 + month - 1 + months;
    let (year, month) = (count / 12, count % 12 + 1);
    let day = day.min(month_days(year, month));
    days(year, month, day) * SECONDS_PER_DAY + unix % SECONDS_PER_DAY
}

pub(super) fn add_days(unix: u64, days: u64) -> u64 {
    unix.saturating_add(days.saturating_mul(SECONDS_PER_DAY))
}

/// Date as Stripe's descriptions have it: `02 Mar 2026`.
pub(super) fn date(unix: u64) -> String {
    let (year, month, day) = civil(unix / SECONDS_PER_DAY);
    let name = usize::try_from(month - 1).ok();
    let name = name.and_then(|index| MONTH_NAMES.get(index));
    format!("{day:02} {} {year}", name.copied().unwrap_or_default())
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn month_days(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of a later year.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let before = year - 1;
    let years = before * 365 + before / 4 - before / 100 + before / 400;
    let months: u64 = (1..month).map(|month| month_days(year, month)).sum();
    // 719,162 days lie between 0001-01-01 and 1970-01-01.
    years + months + day - 1 - 719_162
}

/// Year, month and day of a number of days since 1970-01-01.
fn civil(since: u64) -> (u64, u64, u64) {
    let mut year = 1970 + since / 366;
    while days(year + 1, 1, 1) <= since {
        year += 1;
    }
    let mut month = 1;
    while month < 12 && days(year, month + 1, 1) <= since {
        month += 1;
    }
    (year, month, since - days(year, month, 1) + 1)
}

#[cfg(test)]
#[path = "calendar_tests.rs"]
mod tests;
