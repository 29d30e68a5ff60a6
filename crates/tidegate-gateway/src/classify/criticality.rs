//! The class of a request, from what its client admits about it.

use http::HeaderMap;
use http::header::HeaderName;
use tidegate_control::queue::Criticality;

const SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");
const PURPOSE: HeaderName = HeaderName::from_static("purpose");
const PRIORITY: HeaderName = HeaderName::from_static("priority");

/// The class of a request: [`Criticality::Critical`] unless its own headers say that it matters less.
///
/// `Sec-Purpose: prefetch` (Fetch standard) or the older `Purpose: prefetch` is sheddable: nobody looks at
/// the answer yet. `Priority: u=6` and `u=7` (RFC 9218 §4.1: background) are sheddable-plus. Higher
/// urgencies do not raise the class.
#[must_use]
pub fn criticality_of(headers: &HeaderMap) -> Criticality {
    let prefetch = [SEC_PURPOSE, PURPOSE]
        .iter()
        .filter_map(|name| headers.get(name))
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split([';', ',']).any(|part| part.trim().eq_ignore_ascii_case("prefetch")));
    if prefetch {
        return Criticality::Sheddable;
    }
    let urgency = headers.get(PRIORITY).and_then(|value| value.to_str().ok()).and_then(|value| {
        value.split(',').find_map(|part| part.trim().strip_prefix("u=")?.parse::<u8>().ok())
    });
    match urgency {
        Some(6 | 7) => Criticality::SheddablePlus,
        _ => Criticality::Critical,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(name: &'static str, value: &'static str) -> Criticality {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        criticality_of(&headers)
    }

    #[test]
    fn a_client_can_lower_its_class_and_not_raise_it() {
        assert_eq!(criticality_of(&HeaderMap::new()), Criticality::Critical);
        assert_eq!(of("sec-purpose", "prefetch;prerender"), Criticality::Sheddable);
        assert_eq!(of("purpose", "Prefetch"), Criticality::Sheddable);
        assert_eq!(of("priority", "u=7, i"), Criticality::SheddablePlus);
        assert_eq!(of("priority", "i, u=6"), Criticality::SheddablePlus);
        assert_eq!(of("priority", "u=0"), Criticality::Critical);
    }

    #[test]
    fn nonsense_is_the_default_class() {
        for value in ["u=", "u=99", "u=x", "", "u=-1", "u=8"] {
            assert_eq!(of("priority", value), Criticality::Critical, "{value:?}");
        }
    }
}
