//! What came of a run.

use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::client::Answer;

/// Longest run that is reported second by second, an hour: with the few KiB that a second's latencies take, the
/// series stays within tens of MiB. What is due later counts in the last second.
const LONGEST_SERIES: usize = 3600;
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Second {
    /// Requests due.
    pub offered: u64,
    /// Answered with success in time.
    pub ok: u64,
    /// Answered 503 or 429.
    pub refused: u64,
    /// Given up by the client, as planned.
    pub left: u64,
    /// Anything else that went wrong.
    pub failed: u64,
    /// Latency that half of the successes stayed below, in milliseconds to 1 %; 0 without any.
    pub p50: f64,
    /// Latency that 99 of 100 successes stayed below.
    pub p99: f64,
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
    /// Seconds from the start to the end of the last request.
    pub elapsed: f64,
    /// Successes a second, over `elapsed`.
    pub ok_per_second: f64,
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
    /// Latencies of successes, second by second. They grow with the values in them.
    series: Vec<Histogram<u32>>,
}

impl Tally {
    pub(crate) fn new() -> Result<Self, hdrhistogram::CreationError> {
        let histogram = Histogram::new_with_bounds(1, LONGEST_LATENCY, 3)?;
        let (report, series) = (Report::default(), Vec::new());
        Ok(Self { report, ok: histogram.clone(), refused: histogram, series })
    }

    pub(crate) fn settle(&mut self, due: Duration, answer: Answer, took: Duration, attempts: u64) {
        let number = usize::try_from(due.as_secs()).unwrap_or(usize::MAX).min(LONGEST_SERIES - 1);
        let seconds = &mut self.report.seconds;
        if seconds.len() <= number {
            seconds.resize(number + 1, Second::default());
        }
        let Some(second) = seconds.get_mut(number) else { return };
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).min(LONGEST_LATENCY);
        self.report.elapsed = self.report.elapsed.max((due + took).as_secs_f64());
        self.report.offered += 1;
        self.report.attempts += attempts;
        second.offered += 1;
        match answer {
            Answer::Ok => {
                self.report.ok += 1;
                second.ok += 1;
                self.ok.saturating_record(micros);
                while self.series.len() <= number {
                    let Ok(latencies) = Histogram::new(2) else { break };
                    self.series.push(latencies);
                }
                if let Some(latencies) = self.series.get_mut(number) {
                    // Grows to what `micros` needs, which is bounded above; so it cannot fail.
                    let _ = latencies.record(micros);
                }
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
            Answer::Left => {
                self.report.left += 1;
                second.left += 1;
            }
            Answer::Failed => {
                self.report.failed += 1;
                second.failed += 1;
            }
        }
    }

    pub(crate) fn report(&self) -> Report {
        Report {
            ok_per_second: self.report.ok as f64 / self.report.elapsed.max(1e-9),
            ok_ms: latencies(&self.ok),
            refused_ms: latencies(&self.refused),
            seconds: self.seconds(),
            ..self.report.clone()
        }
    }

    pub(crate) fn seconds(&self) -> Vec<Second> {
        let mut seconds = self.report.seconds.clone();
        for (second, latencies) in seconds.iter_mut().zip(&self.series) {
            let at = |quantile| latencies.value_at_quantile(quantile) as f64 / 1000.0;
            (second.p50, second.p99) = (at(0.5), at(0.99));
        }
        seconds
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
        writeln!(
            f,
            "offered    {:>9}   attempts {}   ok a second {:.1}",
            self.offered, self.attempts, self.ok_per_second
        )?;
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

#[cfg(test)]
mod tests {
    use super::super::client::Return;
    use super::*;

    #[test]
    fn every_second_has_its_own_figures() {
        let mut tally = Tally::new().unwrap();
        let at = Duration::from_millis;
        for number in 1..=100 {
            tally.settle(at(2_000 + number), Answer::Ok, at(number), 1);
        }
        tally.settle(at(500), Answer::Left, at(60), 1);
        tally.settle(at(1_500), Answer::Refused(Return::Unsaid), at(1), 2);
        tally.settle(at(1_600), Answer::TimedOut, at(1_000), 1);
        let report = tally.report();
        let [first, second, third] = report.seconds[..] else { panic!("{report:?}") };
        assert_eq!((first.offered, first.left, first.ok, first.p99), (1, 1, 0, 0.0));
        assert_eq!((second.offered, second.refused, second.failed), (2, 1, 1));
        assert_eq!((third.offered, third.ok), (100, 100));
        assert!((third.p50 - 50.0).abs() <= 1.0 && (third.p99 - 99.0).abs() <= 1.0, "{third:?}");
        assert_eq!((report.elapsed, report.attempts), (2.6, 104));
    }

    #[test]
    fn a_day_takes_no_more_room_than_an_hour() {
        let mut tally = Tally::new().unwrap();
        tally.settle(Duration::from_secs(86_000), Answer::Ok, Duration::from_secs(7_200), 1);
        assert_eq!((tally.seconds().len(), tally.series.len()), (3600, 3600));
        assert!(tally.report().ok_ms.max <= 3_700_000.0, "an hour at most");
    }
}
