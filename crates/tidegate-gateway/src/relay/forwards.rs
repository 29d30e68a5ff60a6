//! `Max-Forwards`: how far OPTIONS and TRACE may still go (RFC 9110 §7.6.2).

use http::header::{ALLOW, CONTENT_LENGTH, MAX_FORWARDS};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::headers::Unfit;

/// Counts one step of a request whose head has `Max-Forwards`. `None`: it goes on. Otherwise this gateway is its last
/// recipient, and the answer is here.
pub(crate) fn step<B: Default>(
    method: &Method,
    headers: &mut HeaderMap,
) -> Result<Option<Response<B>>, Unfit> {
    if *method != Method::OPTIONS && *method != Method::TRACE {
        return Ok(None);
    }
    let mut lines = headers.get_all(MAX_FORWARDS).iter();
    let left = match (lines.next().map(left_in), lines.next()) {
        (None, _) => return Ok(None),
        // Passed on as it is, it would never end a loop.
        (Some(None), _) | (_, Some(_)) => return Err(Unfit("Max-Forwards is not one number")),
        (Some(Some(left)), None) => left,
    };
    let Some(left) = left.checked_sub(1) else { return Ok(Some(last(method))) };
    headers.insert(MAX_FORWARDS, HeaderValue::from(left));
    Ok(None)
}

/// Digits only; more of them than we can count are as many as we can.
fn left_in(value: &HeaderValue) -> Option<u32> {
    let digits = value.as_bytes();
    let are_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    are_digits.then(|| value.to_str().ok().and_then(|digits| digits.parse().ok()).unwrap_or(u32::MAX))
}

/// What the last recipient says. Not which methods the service knows, for that the gateway does not know; and a trace
/// is not read back, since it would tell scripts what their browser hides from them (cookies, credentials).
fn last<B: Default>(method: &Method) -> Response<B> {
    let mut response = Response::new(B::default());
    if *method == Method::TRACE {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("OPTIONS"));
    }
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step_of(method: Method, values: &[&str]) -> (Result<Option<u16>, Unfit>, Vec<String>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(MAX_FORWARDS, value.parse().unwrap());
        }
        let stepped = step::<()>(&method, &mut headers).map(|last| last.map(|last| last.status().as_u16()));
        let left = headers.get_all(MAX_FORWARDS).iter().map(|left| left.to_str().unwrap().to_owned());
        (stepped, left.collect())
    }

    #[test]
    fn one_step_less_until_there_is_none() {
        assert_eq!(step_of(Method::OPTIONS, &["7"]), (Ok(None), vec!["6".to_owned()]));
        assert_eq!(step_of(Method::TRACE, &["001"]), (Ok(None), vec!["0".to_owned()]));
        assert_eq!(step_of(Method::OPTIONS, &["99999999999"]), (Ok(None), vec!["4294967294".to_owned()]));
        assert_eq!(step_of(Method::OPTIONS, &["0"]).0, Ok(Some(200)));
        assert_eq!(step_of(Method::TRACE, &["0"]).0, Ok(Some(405)));
        assert_eq!(step_of(Method::TRACE, &[]).0, Ok(None));
        assert_eq!(step_of(Method::GET, &["0"]), (Ok(None), vec!["0".to_owned()]));
        for unfit in [&["1", "1"][..], &["-1"], &["1, 2"], &[""], &["+1"]] {
            assert!(step_of(Method::OPTIONS, unfit).0.is_err(), "{unfit:?}");
        }
    }
}
