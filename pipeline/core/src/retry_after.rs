//! How long an answer asks us to wait: `Retry-After` in all the forms that are sent, never longer than a day.

use std::time::Duration;

use tributary_schemas::time::Timestamp;

/// The longest wait that anybody may ask of us (design §5, §7).
pub const MOST: Duration = Duration::from_secs(24 * 3_600);
/// A number from here on is a moment in seconds since 1970 (2001 and later), not a span of 31 years.
const EPOCH_SECONDS: u64 = 1_000_000_000;
/// From here on one in milliseconds.
const EPOCH_MILLIS: u64 = 100_000_000_000;

/// Reads `Retry-After`: seconds or a date (RFC 9110 §10.2.3), or, as many send it, a moment in seconds or milliseconds
/// since 1970. A moment that has passed is no wait. `None`: neither.
pub fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let wait = if text.starts_with(|first: char| first.is_ascii_digit()) {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        // More digits than a u64 has are a very long wait, whatever they mean.
        match whole.parse().unwrap_or(u64::MAX) {
            seconds @ ..EPOCH_SECONDS => Duration::from_secs(seconds),
            seconds @ ..EPOCH_MILLIS => at(Duration::from_secs(seconds)).since(now),
            millis => at(Duration::from_millis(millis)).since(now),
        }
    } else {
        let date = httpdate::parse_http_date(text).ok()?;
        at(date.duration_since(std::time::UNIX_EPOCH).unwrap_or_default()).since(now)
    };
    Some(wait.min(MOST))
}

fn at(since_epoch: Duration) -> Timestamp {
    Timestamp::from_micros(0).plus(since_epoch)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_wait_is_a_span_a_date_or_a_moment_and_at_most_a_day() {
        let now = Timestamp::from_micros(1_795_579_010 * 1_000_000);
        let day = Some(24 * 3_600);
        for (text, seconds) in [
            ("0", Some(0)),
            ("120", Some(120)),
            (" 120 ", Some(120)),
            ("1.5", Some(1)),
            ("86401", day),
            ("2592000", day),
            ("1795579070", Some(60)),
            ("1795579070.25", Some(60)),
            ("1795579070000", Some(60)),
            ("1795579000", Some(0)),
            ("99999999999999999999999999", day),
            ("Wed, 25 Nov 2026 03:57:50 GMT", Some(60)),
            ("Wednesday, 25-Nov-26 03:57:50 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("12h", None),
            ("", None),
        ] {
            assert_eq!(retry_after(text, now).map(|wait| wait.as_secs()), seconds, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_asks_for_more_than_a_day(text in "\\PC{0,40}|[0-9]{1,30}(\\.[0-9]{0,9})?", now in any::<i64>()) {
            prop_assert!(retry_after(&text, Timestamp::from_micros(now)).is_none_or(|wait| wait <= MOST));
        }
    }
}
