//! Tests of months of different lengths.

use super::*;

/// 2026-01-31 12:00:00 UTC
const LAST_OF_JANUARY: u64 = 1_769_860_800;

#[test]
fn months_end_on_their_last_day_and_the_anchors_day_comes_back() {
    let dates = [0, 1, 2, 3, 13, 25].map(|months| date(add_months(LAST_OF_JANUARY, months)));

    assert_eq!(
        dates,
        [
            "31 Jan 2026",
            "28 Feb 2026",
            "31 Mar 2026",
            "30 Apr 2026",
            "28 Feb 2027",
            "29 Feb 2028"
        ]
    );
    assert_eq!(add_months(LAST_OF_JANUARY, 1) % SECONDS_PER_DAY, 12 * 3_600);
}

#[test]
fn dates_are_right_at_the_edges_of_years() {
    assert_eq!(date(0), "01 Jan 1970");
    assert_eq!(date(951_782_400), "29 Feb 2000");
    assert_eq!(date(1_767_225_599), "31 Dec 2025");
    assert_eq!(date(1_767_225_600), "01 Jan 2026");
    assert_eq!(date(4_107_542_400), "01 Mar 2100");
    assert_eq!(date(add_days(LAST_OF_JANUARY, 1)), "01 Feb 2026");
}
