//! The drain rate: how fast waiting work is taken up.

/// A window closes after this many units: enough for a relative error under 20 % (1/√30).
const WINDOW_UNITS: u64 = 30;
/// … but not sooner than this: when the limit rises, a whole queue may be admitted in one moment, and that is no
/// rate. It also closes …
const WINDOW_LEAST_NANOS: u64 = 20_000_000;
/// … after this time, so that a slow service is measured too.
const WINDOW_NANOS: u64 = 200_000_000;
/// Share of a new window in the average; three windows carry two thirds of it.
const SMOOTHING: f64 = 0.3;
/// The 90 % point of the standard normal distribution.
const Z90: f64 = 1.2816;
const SECOND: f64 = 1e9;

/// Units dispatched per second while callers waited, averaged over the last windows.
///
/// Only dispatches while somebody waits are counted: a rate measured while nobody does would be the arrival
/// rate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DrainRate {
    window: Option<Window>,
    rate: Option<f64>,
    windows: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Window {
    start: u64,
    units: u64,
}

/// How long a wait will take, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prediction {
    /// Half of the waits are shorter.
    pub p50: u64,
    /// Nine of ten waits are shorter.
    pub p90: u64,
}

impl DrainRate {
    /// Callers begin to wait at `now`: a window opens, unless one is open.
    pub fn bound(&mut self, now: u64) {
        self.window.get_or_insert(Window { start: now, units: 0 });
    }

    /// Nobody waits any more: an unfinished window says nothing.
    pub fn unbound(&mut self) {
        self.window = None;
    }

    /// `units` of waiting work were dispatched at `now`.
    pub fn dispatched(&mut self, now: u64, units: u64) {
        let Some(window) = &mut self.window else { return };
        window.units = window.units.saturating_add(units);
        let elapsed = now.saturating_sub(window.start);
        let full = window.units >= WINDOW_UNITS && elapsed >= WINDOW_LEAST_NANOS;
        if !full && elapsed < WINDOW_NANOS {
            return;
        }
        let rate = window.units as f64 * SECOND / elapsed as f64;
        self.rate = Some(self.rate.map_or(rate, |old| old + SMOOTHING * (rate - old)));
        self.windows += 1;
        self.window = Some(Window { start: now, units: 0 });
    }

    /// Units per second, or `None` before the first window closed.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        self.rate
    }

    /// Windows measured so far.
    #[must_use]
    pub fn windows(&self) -> u64 {
        self.windows
    }

    /// How long it takes until `units` more are dispatched; `None` while no rate is known.
    ///
    /// `assumed` is taken for the rate until one was measured: limit over service time (Little's law), for instance.
    ///
    /// The spread is that of a Poisson process of this rate (the sum of k exponential gaps, approximated by a
    /// normal distribution).
    #[must_use]
    pub fn predict(&self, units: u64, assumed: Option<f64>) -> Option<Prediction> {
        let rate = self.rate.or(assumed).filter(|rate| *rate > 0.0)?;
        let units = units as f64;
        let nanos = |units: f64| (units / rate * SECOND) as u64;
        Some(Prediction { p50: nanos(units), p90: nanos(units + Z90 * units.sqrt()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn steady_dispatches_give_their_rate() {
        let mut drain = DrainRate::default();
        drain.bound(0);
        for dispatch in 1..=300 {
            drain.dispatched(dispatch * 2 * MS, 1);
        }
        let rate = drain.rate().unwrap();
        assert!((rate - 500.0).abs() < 1e-6, "{rate}");
        assert_eq!(drain.windows(), 10);
        let prediction = drain.predict(100, None).unwrap();
        assert_eq!(prediction.p50, 200 * MS);
        assert!(prediction.p90 > 220 * MS && prediction.p90 < 230 * MS, "{prediction:?}");
    }

    #[test]
    fn dispatches_while_nobody_waits_say_nothing() {
        let mut drain = DrainRate::default();
        for dispatch in 1..=300 {
            drain.dispatched(dispatch * MS, 1);
        }
        assert_eq!((drain.rate(), drain.predict(1, None)), (None, None));
        drain.bound(0);
        drain.dispatched(MS, 29);
        drain.unbound();
        drain.bound(MS);
        drain.dispatched(2 * MS, 29);
        assert_eq!(drain.rate(), None);
    }

    #[test]
    fn a_slow_service_is_measured_by_time() {
        let mut drain = DrainRate::default();
        drain.bound(0);
        drain.dispatched(250 * MS, 1);
        assert_eq!(drain.rate(), Some(4.0));
    }
}
