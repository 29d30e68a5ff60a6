//! How long the client says it will wait.

use std::time::Duration;

use http::HeaderMap;

/// Longest time a client may name. A longer one says nothing anybody could act on, and keeps sums from
/// overflowing.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The time the client leaves for an answer, counted from the head's arrival; `None` if it does not say.
///
/// Read from `grpc-timeout` (gRPC over HTTP/2: up to eight digits and a unit), `X-Request-Timeout` (seconds,
/// with an optional fraction, or a number with `ms` or `s`) and `Prefer: wait=` (RFC 7240 §4.3, seconds). The
/// shortest counts. A value that cannot be read is ignored: it is advice, and a wrong guess would refuse work
/// that has time.
///
/// ```
/// use std::time::Duration;
/// use http::{HeaderMap, HeaderValue};
///
/// let mut headers = HeaderMap::new();
/// headers.insert("grpc-timeout", HeaderValue::from_static("250m"));
/// assert_eq!(tidegate::http::time_left(&headers), Some(Duration::from_millis(250)));
/// ```
#[must_use]
pub fn time_left(headers: &HeaderMap) -> Option<Duration> {
    time_left_in(headers)
}

/// The fields of a request's head, in the types of any version of the http crate.
pub(crate) trait Fields {
    /// The values of `name` that are text.
    fn texts(&self, name: &'static str) -> impl Iterator<Item = &str>;
}

impl Fields for HeaderMap {
    fn texts(&self, name: &'static str) -> impl Iterator<Item = &str> {
        self.get_all(name).iter().filter_map(|value| value.to_str().ok())
    }
}

/// [`time_left`], for fields of any kind.
pub(crate) fn time_left_in(fields: &impl Fields) -> Option<Duration> {
    let grpc = fields.texts("grpc-timeout").next().and_then(grpc_timeout);
    let request = fields.texts("x-request-timeout").next().and_then(request_timeout);
    let prefer = fields.texts("prefer").find_map(prefer_wait);
    [grpc, request, prefer].into_iter().flatten().min().map(|time| time.min(LONGEST))
}

/// `grpc-timeout: 100m`: at most eight digits, then one of H M S m u n.
fn grpc_timeout(value: &str) -> Option<Duration> {
    let unit = value.chars().last()?;
    let digits = value.strip_suffix(unit)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    Some(match unit {
        'H' => Duration::from_secs(amount.saturating_mul(3600)),
        'M' => Duration::from_secs(amount.saturating_mul(60)),
        'S' => Duration::from_secs(amount),
        'm' => Duration::from_millis(amount),
        'u' => Duration::from_micros(amount),
        'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// `1.5`, `2s` or `250ms`.
fn request_timeout(value: &str) -> Option<Duration> {
    let value = value.trim();
    let (number, scale) = match (value.strip_suffix("ms"), value.strip_suffix('s')) {
        (Some(number), _) => (number, 0.001),
        (None, Some(number)) => (number, 1.0),
        (None, None) => (value, 1.0),
    };
    if !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    let seconds = number.parse::<f64>().ok()? * scale;
    Duration::try_from_secs_f64(seconds.min(LONGEST.as_secs_f64())).ok()
}

/// `wait=10` among the preferences of one field.
fn prefer_wait(value: &str) -> Option<Duration> {
    value.split([',', ';']).find_map(|part| {
        let (name, seconds) = part.split_once('=')?;
        if !name.trim().eq_ignore_ascii_case("wait") {
            return None;
        }
        let seconds: u64 = seconds.trim().trim_matches('"').parse().ok()?;
        Some(Duration::from_secs(seconds))
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(name: &'static str, value: &'static str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        time_left(&headers)
    }

    #[test]
    fn every_form_is_read() {
        assert_eq!(of("grpc-timeout", "100m"), Some(Duration::from_millis(100)));
        assert_eq!(of("grpc-timeout", "2S"), Some(Duration::from_secs(2)));
        assert_eq!(of("grpc-timeout", "3M"), Some(Duration::from_secs(180)));
        assert_eq!(of("grpc-timeout", "7u"), Some(Duration::from_micros(7)));
        assert_eq!(of("grpc-timeout", "9n"), Some(Duration::from_nanos(9)));
        assert_eq!(of("x-request-timeout", "1.5"), Some(Duration::from_millis(1500)));
        assert_eq!(of("x-request-timeout", "250ms"), Some(Duration::from_millis(250)));
        assert_eq!(of("x-request-timeout", "2s"), Some(Duration::from_secs(2)));
        assert_eq!(of("prefer", "respond-async, wait=10"), Some(Duration::from_secs(10)));
    }

    #[test]
    fn the_shortest_counts_and_none_is_longer_than_a_day() {
        let mut headers = HeaderMap::new();
        headers.insert("prefer", HeaderValue::from_static("wait=10"));
        headers.insert("x-request-timeout", HeaderValue::from_static("3"));
        assert_eq!(time_left(&headers), Some(Duration::from_secs(3)));
        assert_eq!(of("grpc-timeout", "99999999H"), Some(LONGEST));
        assert_eq!(of("x-request-timeout", "99999999999999999999999999"), Some(LONGEST));
    }

    #[test]
    fn what_cannot_be_read_is_ignored() {
        for value in ["", "m", "100", "123456789m", "-1S", "1.5S", "1x"] {
            assert_eq!(of("grpc-timeout", value), None, "grpc-timeout {value:?}");
        }
        for value in ["", "-1", "inf", "NaN", "1e9", "soon", "1.2.3"] {
            assert_eq!(of("x-request-timeout", value), None, "x-request-timeout {value:?}");
        }
        for value in ["wait", "wait=", "wait=-1", "waiting=1"] {
            assert_eq!(of("prefer", value), None, "prefer {value:?}");
        }
    }
}
