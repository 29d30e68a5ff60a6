//! The kind of work: what is likely to cost the same.

use http::Method;
use tidegate_control::sample::KINDS;

/// The kind of a request, 0..[`KINDS`]: a hash of its method and of the first segment of its path.
///
/// Statistics are kept per kind, so that a cheap lookup is never compared with an expensive report. Two sorts
/// of work that fall together cost precision, never correctness; the segment keeps identifiers further down
/// the path from scattering one route over all kinds. The hash is FNV-1a (Fowler, Noll, Vo): the same
/// request has the same kind in every replica and after every restart.
#[must_use]
pub fn kind_of(method: &Method, path: &str) -> u8 {
    let segment = path.bytes().skip_while(|byte| *byte == b'/').take_while(|byte| *byte != b'/');
    let add = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = segment.fold(method.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, add), add);
    let kinds = KINDS as u64;
    u8::try_from((hash ^ (hash >> 32)) % kinds).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_do_not_scatter_a_route() {
        let first = kind_of(&Method::GET, "/users/1");
        for id in 2..50 {
            assert_eq!(kind_of(&Method::GET, &format!("/users/{id}")), first);
        }
    }

    #[test]
    fn kinds_stay_in_range_and_are_all_used() {
        let mut seen = [false; KINDS];
        for route in 0..200 {
            seen[usize::from(kind_of(&Method::POST, &format!("/route{route}/x")))] = true;
        }
        assert!(seen.iter().all(|used| *used), "{seen:?}");
        assert!(usize::from(kind_of(&Method::GET, "")) < KINDS);
    }
}
