//! [`dated`]: the moment at which an answer passes, as its `Date` says it (RFC 9110 §6.6.1).

use std::cell::RefCell;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::DATE;
use http::{HeaderMap, HeaderValue};

thread_local! {
    /// The second that was written last, and how.
    static WRITTEN: RefCell<(u64, HeaderValue)> = const { RefCell::new((u64::MAX, HeaderValue::from_static(""))) };
}

/// Gives a head a `Date` if it has none: whoever passes an answer on says when it came. (hyper does so on HTTP/1.)
pub(super) fn dated(headers: &mut HeaderMap) {
    if !headers.contains_key(DATE) {
        headers.insert(DATE, written(now()));
    }
}

/// Seconds of the world's time. Not one that tests may pause: nothing is decided by it.
#[allow(clippy::disallowed_methods)]
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Written once a second, not once a request.
fn written(second: u64) -> HeaderValue {
    WRITTEN.with_borrow_mut(|(last, date)| {
        if *last != second {
            let text = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(second));
            if let Ok(new) = HeaderValue::try_from(text) {
                (*last, *date) = (second, new);
            }
        }
        date.clone()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_written_once_and_an_origins_date_stays() {
        let first = written(784_111_777);
        assert_eq!(first, "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(first.as_bytes().as_ptr(), written(784_111_777).as_bytes().as_ptr());
        assert_eq!(written(784_111_778), "Sun, 06 Nov 1994 08:49:38 GMT");
        let mut headers = HeaderMap::new();
        dated(&mut headers);
        let date = headers[DATE].to_str().unwrap();
        assert!(httpdate::parse_http_date(date).is_ok(), "{date}");
        headers.insert(DATE, HeaderValue::from_static("then"));
        dated(&mut headers);
        assert_eq!(headers[DATE], "then");
    }
}
