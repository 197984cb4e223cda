//! Formatting of moments as RFC 3339, for records and log lines.

use super::amount::Millis;

/// Formats a moment as RFC 3339 in UTC with milliseconds, like JavaScript's `toISOString`.
pub fn rfc3339(moment: Millis) -> String {
    let (days, rest) = (moment.0 / Millis::DAY.0, moment.0 % Millis::DAY.0);
    let (year, month, day) = civil(days);
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, milli) = (rest / 1_000 % 60, rest % 1_000);
    // Every request formats one, so digits are written in place, without `format!`.
    let mut text = *b"0000-00-00T00:00:00.000Z";
    let parts = [
        (0..4, year),
        (5..7, month),
        (8..10, day),
        (11..13, hour),
        (14..16, minute),
        (17..19, second),
        (20..23, milli),
    ];
    for (place, mut number) in parts {
        for digit in text[place].iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
    }
    text.iter().copied().map(char::from).collect()
}

/// Returns year, month and day of a day counted from 1970-01-01. Years begin in March here, so that the leap
/// day is the last of a year.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

/// Returns the day of the month, from 1, of a day counted from 1970-01-01.
pub(crate) fn day_of_month(days: u64) -> u64 {
    civil(days).2
}

/// Returns when the day began that an RFC 3339 text begins with. `None`: the text begins with no day since 1970.
pub(crate) fn start_of_day(text: &str) -> Option<Millis> {
    let number = |place: std::ops::Range<usize>| {
        let digits = text.get(place)?;
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse::<u64>().ok())?
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let has_dashes = text.get(4..5)? == "-" && text.get(7..8)? == "-";
    if !has_dashes || year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years begin in March, as in `civil`.
    let year = year - u64::from(month <= 2);
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    Some(Millis(days.saturating_sub(719_468) * Millis::DAY.0))
}

/// Parses what [`rfc3339`] writes.
pub(crate) fn parse(text: &str) -> Option<Millis> {
    let day = start_of_day(text)?;
    let number = |place: std::ops::Range<usize>| text.get(place)?.parse::<u64>().ok();
    let (hour, minute) = (number(11..13)?, number(14..16)?);
    let (second, milli) = (number(17..19)?, number(20..23)?);
    let seconds = (hour * 60 + minute) * 60 + second;
    let moment = day.plus(Millis(seconds * 1_000 + milli));
    (rfc3339(moment) == text).then_some(moment)
}

/// Parses a moment as people write it: also one without milliseconds, and a mere date, `2026-01-31`.
pub(crate) fn moment(text: &str) -> Option<Millis> {
    let seconds = text.strip_suffix('Z').filter(|text| text.len() == 19);
    match (seconds, text.len()) {
        (Some(seconds), _) => parse(&format!("{seconds}.000Z")),
        (None, 10) => parse(&format!("{text}T00:00:00.000Z")),
        _ => parse(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_everyone_writes_them() {
        for (moment, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_799_999, "2000-02-29T23:59:59.999Z"),
            (1_767_225_600_001, "2026-01-01T00:00:00.001Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59.000Z"),
        ] {
            assert_eq!(rfc3339(Millis(moment)), text);
        }
    }

    #[test]
    fn a_day_is_read_from_what_is_written() {
        for day in [0, 58, 59, 60, 11_016, 20_512, 47_540, 2_932_896] {
            let text = rfc3339(Millis(day * 86_400_000 + 5));
            assert_eq!(
                start_of_day(&text),
                Some(Millis(day * 86_400_000)),
                "{text}"
            );
        }
        for wrong in [
            "",
            "2026",
            "2026-13-01",
            "2026-00-10",
            "1969-12-31",
            "2026/01/01",
            "é026-01-01",
        ] {
            assert_eq!(start_of_day(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_moment_reads_as_it_is_written() {
        for moment in [0, 951_826_799_999, 1_800_000_000_001, 1_830_297_599_000] {
            assert_eq!(parse(&rfc3339(Millis(moment))), Some(Millis(moment)));
        }
        for wrong in [
            "",
            "2027-01-15",
            "2027-01-15T25:00:00.000Z",
            "2027-01-15T08:00:00Z",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_moment_may_be_a_mere_date() {
        for (text, moment_of) in [
            ("1970-01-02", Some(86_400_000)),
            ("1970-01-01T00:00:01Z", Some(1_000)),
            ("1970-01-01T00:00:01.002Z", Some(1_002)),
            ("1970-02-30", None),
            ("1970-01-01T00:00:01", None),
            ("yesterday", None),
            ("ééééé", None),
        ] {
            assert_eq!(moment(text), moment_of.map(Millis), "{text}");
        }
    }
}
