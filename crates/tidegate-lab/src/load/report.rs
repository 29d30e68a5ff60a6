//! What came of a run.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::client::Answer;

/// Longest run that is reported second by second; keeps the series bounded.
const LONGEST_SERIES: usize = 24 * 3600;
/// Latencies are kept in microseconds with three significant digits; one above an hour counts as an hour.
const LONGEST_LATENCY: u64 = 3_600_000_000;

/// Latencies in milliseconds, counted from the moment the request was due, not from when it was sent: a load
/// generator that falls behind does not flatter the service (coordinated omission).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Latencies {
    /// Half were faster.
    pub p50: f64,
    /// Nine of ten were faster.
    pub p90: f64,
    /// 99 of 100 were faster.
    pub p99: f64,
    /// The slowest.
    pub max: f64,
}

/// One second of the run, by the time at which requests were due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Second {
    /// Requests due.
    pub offered: u64,
    /// Answered with success in time.
    pub ok: u64,
    /// Answered 503 or 429.
    pub refused: u64,
    /// Anything else that went wrong.
    pub failed: u64,
}

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// Requests due.
    pub offered: u64,
    /// Attempts sent, retries included.
    pub attempts: u64,
    /// Answered with success in time.
    pub ok: u64,
    /// Answered 503 or 429, at last.
    pub refused: u64,
    /// Not answered within the timeout.
    pub timed_out: u64,
    /// Given up by the client, as planned.
    pub left: u64,
    /// Answered otherwise, broken, or not sent for want of a connection.
    pub failed: u64,
    /// Latencies of successes.
    pub ok_ms: Latencies,
    /// Latencies of refusals.
    pub refused_ms: Latencies,
    /// Second by second.
    pub seconds: Vec<Second>,
}

/// Collects answers.
#[derive(Debug)]
pub(crate) struct Tally {
    report: Report,
    ok: Histogram<u64>,
    refused: Histogram<u64>,
}

impl Tally {
    pub(crate) fn new() -> Result<Self, hdrhistogram::CreationError> {
        let histogram = Histogram::new_with_bounds(1, LONGEST_LATENCY, 3)?;
        Ok(Self { report: Report::default(), ok: histogram.clone(), refused: histogram })
    }

    pub(crate) fn settle(&mut self, due: Duration, answer: Answer, took: Duration, attempts: u64) {
        let second = usize::try_from(due.as_secs()).unwrap_or(usize::MAX).min(LONGEST_SERIES - 1);
        let seconds = &mut self.report.seconds;
        if seconds.len() <= second {
            seconds.resize(second + 1, Second::default());
        }
        let Some(second) = seconds.get_mut(second) else { return };
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.report.offered += 1;
        self.report.attempts += attempts;
        second.offered += 1;
        match answer {
            Answer::Ok => {
                self.report.ok += 1;
                second.ok += 1;
                self.ok.saturating_record(micros);
            }
            Answer::Refused(_) => {
                self.report.refused += 1;
                second.refused += 1;
                self.refused.saturating_record(micros);
            }
            Answer::TimedOut => {
                self.report.timed_out += 1;
                second.failed += 1;
            }
            Answer::Left => self.report.left += 1,
            Answer::Failed => {
                self.report.failed += 1;
                second.failed += 1;
            }
        }
    }

    pub(crate) fn report(&self) -> Report {
        Report { ok_ms: latencies(&self.ok), refused_ms: latencies(&self.refused), ..self.report.clone() }
    }
}

fn latencies(histogram: &Histogram<u64>) -> Latencies {
    let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
    Latencies { p50: at(0.5), p90: at(0.9), p99: at(0.99), max: histogram.max() as f64 / 1000.0 }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = |count: u64| 100.0 * count as f64 / self.offered.max(1) as f64;
        let Latencies { p50, p90, p99, max } = self.ok_ms;
        writeln!(f, "offered    {:>9}   attempts {}", self.offered, self.attempts)?;
        writeln!(
            f,
            "ok         {:>9}   {:5.1} %   p50 {p50:.1} ms  p90 {p90:.1}  p99 {p99:.1}  max {max:.1}",
            self.ok,
            share(self.ok)
        )?;
        let Latencies { p50, p90, p99, max } = self.refused_ms;
        writeln!(
            f,
            "refused    {:>9}   {:5.1} %   p50 {p50:.1} ms  p90 {p90:.1}  p99 {p99:.1}  max {max:.1}",
            self.refused,
            share(self.refused)
        )?;
        writeln!(f, "timed out  {:>9}   {:5.1} %", self.timed_out, share(self.timed_out))?;
        writeln!(f, "left       {:>9}   {:5.1} %", self.left, share(self.left))?;
        write!(f, "failed     {:>9}   {:5.1} %", self.failed, share(self.failed))
    }
}
