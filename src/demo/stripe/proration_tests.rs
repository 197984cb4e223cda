//! Tests of shares and their rounding.

use super::*;

const MONTH: Span = Span {
    start: 1_000,
    end: 1_000 + 30 * 86_400,
};

#[test]
fn half_a_month_is_half_the_price() {
    let half = Remaining::at(MONTH.start + 15 * 86_400, MONTH);

    assert_eq!(half.of(1_000), 500);
    assert_eq!(half.of(-1_000), -500);
    assert_eq!(half.of(1_001), 501);
    assert_eq!(half.of(-1_001), -501);
}

#[test]
fn times_outside_the_period_count_as_its_ends() {
    assert_eq!(Remaining::at(0, MONTH).of(999), 999);
    assert_eq!(Remaining::at(u64::MAX, MONTH).of(999), 0);
    let empty = Span { start: 5, end: 5 };
    assert_eq!(Remaining::at(5, empty).of(999), 0);
}

#[test]
fn discounts_round_to_the_cent() {
    assert_eq!(percent_of(999, 50), 500);
    assert_eq!(percent_of(999, 0), 0);
    assert_eq!(percent_of(-999, 33), -330);
    assert_eq!(percent_of(999, 200), 999);
}
