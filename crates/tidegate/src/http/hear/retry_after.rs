//! [`retry_after`]: the field, in both its forms.

use std::time::{Duration, UNIX_EPOCH};

use http::HeaderMap;
use http::header::{DATE, HeaderName, RETRY_AFTER};

use crate::clock;

use super::LONGEST;

/// The moment in `Retry-After` (RFC 9110 §10.2.3), in whole seconds or as a date, counted from now.
///
/// A date is compared with the response's own `Date`, if it has one: the clock that made it, however wrong that is. At
/// most a day, also where the number does not fit into anything. `None` where there is no field or it cannot be read
/// (negative, a fraction, words), and also for 0 or a date that has passed: they name no moment ahead, and who
/// obeyed them to the letter would ask again and again. Of several fields the longest counts.
///
/// ```
/// use std::time::Duration;
/// use http::{HeaderMap, HeaderValue};
/// use tidegate::http::retry_after;
///
/// let mut headers = HeaderMap::new();
/// headers.insert("retry-after", HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
/// headers.insert("date", HeaderValue::from_static("Sun, 06 Nov 1994 08:49:30 GMT"));
/// assert_eq!(retry_after(&headers), Some(Duration::from_secs(7)));
/// headers.insert("retry-after", HeaderValue::from_static("120"));
/// assert_eq!(retry_after(&headers), Some(Duration::from_secs(120)));
/// ```
#[must_use]
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers
        .get_all(RETRY_AFTER)
        .iter()
        .filter_map(|value| {
            let value = value.to_str().ok()?.trim_matches([' ', '\t']);
            if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
                return until(value, headers);
            }
            // Digits only: what cannot be parsed is too large.
            Some(value.parse().map_or(LONGEST, Duration::from_secs))
        })
        .max()
        .filter(|after| !after.is_zero())
        .map(|after| after.min(LONGEST))
}

fn until(value: &str, headers: &HeaderMap) -> Option<Duration> {
    let at = httpdate::parse_http_date(value).ok()?;
    let date = |name: HeaderName| httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok();
    let now = date(DATE).unwrap_or_else(|| UNIX_EPOCH + Duration::from_nanos(clock::unix_now()));
    at.duration_since(now).ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn of(value: &str, date: Option<&str>) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_str(value).unwrap());
        if let Some(date) = date {
            headers.insert(DATE, HeaderValue::from_str(date).unwrap());
        }
        retry_after(&headers).map(|after| after.as_secs())
    }

    #[test]
    fn wild_values_are_bounded() {
        const DAY: u64 = 86_400;
        for (value, expected) in [
            ("1", Some(1)),
            (" 7 ", Some(7)),
            ("86401", Some(DAY)),
            ("31536000000", Some(DAY)),
            ("99999999999999999999999999999999999", Some(DAY)),
            ("0", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("1e3", None),
            ("", None),
            ("soon", None),
            ("12 monkeys", None),
            ("Sun, 06 Nov 1994 08:49:37 GMT", None),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(DAY)),
            ("Sun, 99 Nov 1994 08:49:37 GMT", None),
        ] {
            assert_eq!(of(value, None), expected, "{value:?}");
        }
    }

    #[test]
    fn the_servers_own_clock_counts_however_wrong() {
        for (at, date, expected) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:07 GMT", Some(30)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:07 GMT", Some(30)),
            ("Sun Nov  6 08:49:37 1994", "Sun, 06 Nov 1994 08:49:07 GMT", Some(30)),
            ("Fri, 06 Nov 2099 08:49:37 GMT", "Fri, 06 Nov 2099 08:49:36 GMT", Some(1)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:38 GMT", None),
            ("Fri, 06 Nov 2099 08:49:37 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", Some(86_400)),
            ("5", "nonsense", Some(5)),
        ] {
            assert_eq!(of(at, Some(date)), expected, "{at} at {date}");
        }
    }

    #[test]
    fn of_several_the_longest_counts() {
        let mut headers = HeaderMap::new();
        for value in ["3", "soon", "9", "5"] {
            headers.append(RETRY_AFTER, HeaderValue::from_static(value));
        }
        assert_eq!(retry_after(&headers), Some(Duration::from_secs(9)));
    }

    proptest! {
        #[test]
        fn seconds_are_the_naive_models(seconds in any::<u128>()) {
            let expected = u64::try_from(seconds.min(86_400)).unwrap();
            prop_assert_eq!(of(&seconds.to_string(), None), (expected > 0).then_some(expected));
        }

        #[test]
        fn dates_are_the_naive_models(now in 0_u64..4_000_000_000, after in -100_000_i64..200_000) {
            let date = |seconds: u64| httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
            let at = now.saturating_add_signed(after);
            let expected = (at > now).then(|| (at - now).min(86_400));
            prop_assert_eq!(of(&date(at), Some(&date(now))), expected);
        }

        #[test]
        fn whatever_it_says_nothing_breaks(value in "[ -~]{0,40}", date in "[ -~]{0,40}") {
            prop_assert!(of(&value, Some(&date)).is_none_or(|after| (1..=86_400).contains(&after)));
        }
    }
}
