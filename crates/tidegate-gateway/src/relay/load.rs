//! What the origin says of its own load, in the fields of its answers.
//!
//! `X-Inflight: 17` is ours: one line, digits. The other is ORCA's report (cncf/xds `OrcaLoadReport`, as Envoy and gRPC
//! read it), of which the text format is understood: `Endpoint-Load-Metrics: TEXT cpu_utilization=0.4,
//! named_metrics.inflight=17`. It has no field of its own for requests in flight, so a metric with a name is used.

use http::{HeaderMap, HeaderName, HeaderValue};

const X_INFLIGHT: HeaderName = HeaderName::from_static("x-inflight");
const ORCA: HeaderName = HeaderName::from_static("endpoint-load-metrics");
const TEXT: &str = "TEXT ";
const METRIC: &str = "named_metrics.inflight";
/// Nothing has more in flight than the highest limit there is.
const MOST: u64 = 1_000_000;

/// A report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// None that speaks of requests in flight.
    None,
    /// So many requests are in flight there, the one that was answered included.
    InFlight(u64),
    /// One that cannot be believed.
    Bad,
}

/// Reads the report of an answer, and takes out what was meant for the gateway only.
pub(crate) fn take_report(headers: &mut HeaderMap) -> Report {
    let mut ours = headers.get_all(X_INFLIGHT).iter();
    let report = match (ours.next(), ours.next()) {
        (Some(value), None) => of(digits(value.as_bytes())),
        (Some(_), Some(_)) => Report::Bad,
        (None, _) => return orca(headers),
    };
    headers.remove(X_INFLIGHT);
    report
}

/// Some count what they have beside the one that they answer.
fn of(count: Option<u64>) -> Report {
    count.map_or(Report::Bad, |count| Report::InFlight(count.max(1)))
}

fn digits(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 7 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(value.iter().fold(0, |sum, digit| 10 * sum + u64::from(digit - b'0'))).filter(|count| *count <= MOST)
}

fn orca(headers: &HeaderMap) -> Report {
    let mut found = Report::None;
    let texts = headers.get_all(ORCA).iter().filter_map(|value: &HeaderValue| value.to_str().ok());
    for metric in texts.filter_map(|text| text.strip_prefix(TEXT)).flat_map(|text| text.split(',')) {
        let Some(value) = metric.trim().strip_prefix(METRIC) else { continue };
        let Some(value) = value.trim_start().strip_prefix(['=', ':']) else { continue };
        // Named metrics are floating-point numbers: `17.0` is one.
        let (whole, rest) = value.trim().split_once('.').unwrap_or((value.trim(), ""));
        let report = if rest.bytes().all(|digit| digit == b'0') { digits(whole.as_bytes()) } else { None };
        if found != Report::None {
            return Report::Bad;
        }
        found = of(report);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(fields: &[(HeaderName, &'static str)]) -> Report {
        let fields = fields.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        let mut headers = HeaderMap::new();
        fields.for_each(|(name, value)| {
            headers.append(name, value);
        });
        let report = take_report(&mut headers);
        assert!(!headers.contains_key(X_INFLIGHT));
        report
    }

    #[test]
    fn a_count_is_heard() {
        assert_eq!(report(&[(X_INFLIGHT, "17")]), Report::InFlight(17));
        assert_eq!(report(&[(X_INFLIGHT, "0")]), Report::InFlight(1));
        assert_eq!(report(&[(X_INFLIGHT, "1000000")]), Report::InFlight(MOST));
        assert_eq!(
            report(&[(X_INFLIGHT, "17"), (ORCA, "TEXT named_metrics.inflight=3")]),
            Report::InFlight(17)
        );
    }

    #[test]
    fn anything_else_is_not() {
        for bad in
            ["", "-1", "+1", "1.5", "1e3", "0x11", "1000001", "99999999999999999999", "17, 17", "17;q=1"]
        {
            assert_eq!(report(&[(X_INFLIGHT, bad)]), Report::Bad, "{bad}");
        }
        assert_eq!(report(&[(X_INFLIGHT, "17"), (X_INFLIGHT, "17")]), Report::Bad);
    }

    #[test]
    fn the_text_of_orca_is_understood() {
        let orca = |value| report(&[(ORCA, value)]);
        assert_eq!(orca("TEXT cpu_utilization=0.4, named_metrics.inflight=17"), Report::InFlight(17));
        assert_eq!(orca("TEXT named_metrics.inflight: 17.0,rps_fractional:3"), Report::InFlight(17));
        assert_eq!(orca("TEXT named_metrics.inflight=17.5"), Report::Bad);
        assert_eq!(orca("TEXT named_metrics.inflight=nan"), Report::Bad);
        assert_eq!(orca("TEXT named_metrics.inflight=1,named_metrics.inflight=1"), Report::Bad);
        for silent in [
            "TEXT cpu_utilization=0.4",
            "TEXT named_metrics.inflights=3",
            "JSON {\"eps\": 1}",
            "BIN abcd",
            "TEXT",
        ] {
            assert_eq!(orca(silent), Report::None, "{silent}");
        }
        assert_eq!(report(&[]), Report::None);
    }
}
