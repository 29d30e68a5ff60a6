//! What a completion says about capacity.

use crate::sample::{Outcome, Sample};

use super::service::Service;

/// A completion, as the estimates take it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Completion {
    /// It says nothing.
    Ignored,
    /// It held its units for this long; `useful` if somebody still wanted the result.
    Counts { seconds: f64, useful: bool },
}

/// Useful work is work that succeeded in time: fast failures can never look like capacity.
///
/// An unreported end is a censored time, "at least this long": it counts if that is already longer than its kind
/// usually takes, and can so raise an estimate but never lower one.
pub(super) fn completion(sample: &Sample, service: &Service) -> Completion {
    let seconds = Service::seconds(sample.elapsed);
    match sample.outcome {
        Outcome::Success => Completion::Counts { seconds, useful: sample.in_time },
        Outcome::Overload => Completion::Counts { seconds, useful: false },
        Outcome::Canceled if seconds > service.mean_of(sample.kind) && service.mean() > 0.0 => {
            Completion::Counts { seconds, useful: false }
        }
        Outcome::Canceled | Outcome::Ignore => Completion::Ignored,
    }
}
