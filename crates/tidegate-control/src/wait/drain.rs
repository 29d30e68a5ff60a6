//! The drain rate: how fast waiting work is taken up.

/// A window closes after this many units: enough for a relative error under 20 % (1/√30).
const WINDOW_UNITS: u64 = 30;
/// … but not sooner than this: when the limit rises, a whole queue may be admitted in one moment, and that is no
/// rate. It also closes …
const WINDOW_LEAST_NANOS: u64 = 20_000_000;
/// … after this time, so that a slow service is measured too.
const WINDOW_NANOS: u64 = 200_000_000;
/// A window shows a pace after this time, for those who need no more than its order of magnitude.
const GLIMPSE_NANOS: u64 = 1_000_000;
/// Share of a new window in the average; three windows carry two thirds of it. The first ones count alike.
const SMOOTHING: f64 = 0.3;
/// Windows until there is a rate. A window that is closed by time may hold one dispatch, after a stall that says nothing of
/// the pace from then on: a second one tells a slow service from one that stood still, and what is wrong in one of two is
/// wrong by a factor of two.
const FEWEST_WINDOWS: u64 = 2;
/// What was measured so long ago says nothing any more. Whoever is refused because of it is told to come back within a
/// minute, and then is not refused again by the same figure.
const MEMORY_NANOS: u64 = 60_000_000_000;
/// The 90 % point of the standard normal distribution.
const Z90: f64 = 1.2816;
const SECOND: f64 = 1e9;

/// Units dispatched per second while callers waited, averaged over the last windows.
///
/// Only dispatches while somebody waits are counted: a rate measured while nobody does would be the arrival
/// rate. One window alone is not believed: after a stall its one dispatch would make hours of a long queue.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DrainRate {
    window: Option<Window>,
    rate: Option<f64>,
    /// Units of one dispatch, on the average.
    size: Option<f64>,
    windows: u64,
    /// When the last window closed.
    closed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Window {
    /// When it was opened, or opened again; `None` while it rests.
    since: Option<u64>,
    /// Time that it was open before.
    before: u64,
    units: u64,
    dispatches: u64,
}

impl Window {
    const fn opened(now: u64) -> Self {
        Self { since: Some(now), before: 0, units: 0, dispatches: 0 }
    }

    fn open_for(&self, now: u64) -> u64 {
        self.before.saturating_add(self.since.map_or(0, |since| now.saturating_sub(since)))
    }
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
    /// Callers begin to wait at `now`: a window opens, unless one is open; one that [rests](Self::rest) goes on.
    pub fn bound(&mut self, now: u64) {
        self.window.get_or_insert(Window::opened(now)).since.get_or_insert(now);
    }

    /// Nobody waits any more: an unfinished window says nothing.
    pub fn unbound(&mut self) {
        self.window = None;
    }

    /// Nothing is to be done at `now`: the time until the next [`bound`](Self::bound) does not count. For what is often
    /// idle for a moment, and whose windows would never be finished.
    pub fn rest(&mut self, now: u64) {
        if let Some(window) = &mut self.window {
            window.before = window.open_for(now);
            window.since = None;
        }
    }

    /// `units` of waiting work were dispatched at `now`, one by one.
    pub fn dispatched(&mut self, now: u64, units: u64) {
        self.taken(now, units, units);
    }

    /// `units` of waiting work were dispatched at `now`, in so many `dispatches`.
    pub fn taken(&mut self, now: u64, units: u64, dispatches: u64) {
        let Some(window) = &mut self.window else { return };
        window.units = window.units.saturating_add(units);
        window.dispatches = window.dispatches.saturating_add(dispatches);
        let elapsed = window.open_for(now);
        let full = window.dispatches >= WINDOW_UNITS && elapsed >= WINDOW_LEAST_NANOS;
        if window.units == 0 || !full && elapsed < WINDOW_NANOS {
            return;
        }
        self.windows = self.windows.saturating_add(1);
        let share = SMOOTHING.max(1.0 / self.windows as f64);
        let smooth = |old: Option<f64>, new: f64| Some(old.map_or(new, |old| old + share * (new - old)));
        self.rate = smooth(self.rate, window.units as f64 * SECOND / elapsed as f64);
        self.size = smooth(self.size, window.units as f64 / window.dispatches.max(1) as f64);
        self.closed = now;
        self.window = Some(Window { since: window.since.map(|_| now), ..Window::opened(now) });
    }

    /// Forgets the rate if none has been measured for a minute, and none is being measured `now`. For whoever refuses
    /// by it: callers who are refused do not wait, and what nobody waits for is not measured.
    pub fn recall(&mut self, now: u64) {
        if self.window.is_none() && now.saturating_sub(self.closed) >= MEMORY_NANOS {
            *self = Self::default();
        }
    }

    /// Units per second, or `None` before the second window closed.
    #[must_use]
    pub fn rate(&self) -> Option<f64> {
        self.rate.filter(|_| self.windows >= FEWEST_WINDOWS)
    }

    /// Units per second in the window that is open at `now`, once it has gone on for `WINDOW_UNITS` dispatches and
    /// a millisecond: too little to predict waits by, enough to see that they are short.
    #[must_use]
    pub fn so_far(&self, now: u64) -> Option<f64> {
        let window = self.window?;
        let elapsed = window.open_for(now);
        let enough = window.dispatches >= WINDOW_UNITS && elapsed >= GLIMPSE_NANOS;
        enough.then(|| window.units as f64 * SECOND / elapsed as f64)
    }

    /// Units of one dispatch, on the average, or `None` before the first window closed.
    #[must_use]
    pub fn size(&self) -> Option<f64> {
        self.size
    }

    /// Windows that the rate stands on; 0 while there is none.
    #[must_use]
    pub fn windows(&self) -> u64 {
        if self.windows < FEWEST_WINDOWS { 0 } else { self.windows }
    }

    /// How long it takes until `units` more are dispatched; `None` while no rate is known.
    ///
    /// `assumed` is taken for the rate until one was measured: [`Turnover`](super::Turnover), for instance.
    ///
    /// The spread is that of a Poisson process of this rate (the sum of k exponential gaps, approximated by a
    /// normal distribution), of dispatches of the average size.
    #[must_use]
    pub fn predict(&self, units: u64, assumed: Option<f64>) -> Option<Prediction> {
        let rate = self.rate().or(assumed).filter(|rate| *rate > 0.0)?;
        let units = units as f64;
        let size = self.size.unwrap_or(1.0);
        let nanos = |units: f64| (units / rate * SECOND) as u64;
        Some(Prediction { p50: nanos(units), p90: nanos(units + Z90 * (units * size).sqrt()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_pace_is_seen_before_it_is_measured() {
        let mut drain = DrainRate::default();
        assert_eq!(drain.so_far(MS), None);
        drain.bound(0);
        drain.taken(0, 1000, 1000);
        assert_eq!(drain.so_far(MS / 2), None, "a moment is no pace");
        let mut drain = DrainRate::default();
        drain.bound(0);
        for dispatch in 1..30 {
            drain.taken(dispatch * MS / 10, 2, 1);
        }
        assert_eq!(drain.so_far(3 * MS), None, "too few");
        drain.taken(3 * MS, 2, 1);
        assert_eq!((drain.rate(), drain.so_far(3 * MS)), (None, Some(20_000.0)));
        drain.unbound();
        assert_eq!(drain.so_far(4 * MS), None);
    }

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
    fn time_at_rest_does_not_count() {
        let mut drain = DrainRate::default();
        for round in 0..40 {
            let begin = round * 1000 * MS;
            drain.bound(begin);
            drain.taken(begin + 10 * MS, 5000, 1);
            drain.rest(begin + 10 * MS);
        }
        assert_eq!(drain.rate(), Some(500_000.0));
        assert_eq!(drain.size(), Some(5000.0));
        assert!(drain.windows() >= 1);
    }

    #[test]
    fn large_dispatches_spread_wider() {
        let mut drain = DrainRate::default();
        drain.bound(0);
        for dispatch in 1..=300 {
            drain.taken(dispatch * 2 * MS, 100, 1);
        }
        let prediction = drain.predict(10_000, None).unwrap();
        assert_eq!(prediction.p50, 200 * MS);
        assert!(prediction.p90 > 220 * MS && prediction.p90 < 230 * MS, "{prediction:?}");
    }

    #[test]
    fn a_slow_service_is_measured_by_time() {
        let mut drain = DrainRate::default();
        drain.bound(0);
        drain.dispatched(250 * MS, 1);
        assert_eq!((drain.rate(), drain.windows()), (None, 0));
        drain.dispatched(500 * MS, 1);
        assert_eq!((drain.rate(), drain.windows()), (Some(4.0), 2));
    }

    /// A line of ten thousand that stands for a minute before the first of it is dispatched was told a week.
    #[test]
    fn a_stall_of_any_length_is_wrong_by_a_factor_of_two_at_most() {
        for stalled_at in 0..5 {
            let mut drain = DrainRate::default();
            drain.bound(0);
            let mut now = 0;
            for dispatch in 0..300 {
                now += if dispatch == stalled_at * 30 { 60_000 * MS } else { 2 * MS };
                drain.dispatched(now, 1);
                let rate = drain.rate();
                assert!(rate.is_none_or(|rate| (240.0..=505.0).contains(&rate)), "{stalled_at}: {rate:?}");
            }
            assert!(drain.rate().is_some_and(|rate| rate > 450.0));
        }
    }

    #[test]
    fn what_is_long_ago_is_forgotten_unless_it_is_being_measured() {
        let mut drain = DrainRate::default();
        drain.bound(0);
        drain.dispatched(10_000 * MS, 1);
        drain.dispatched(20_000 * MS, 1);
        drain.recall(100_000 * MS);
        assert_eq!(drain.rate(), Some(0.1), "a window is open");
        drain.unbound();
        drain.recall(79_999 * MS);
        assert_eq!(drain.rate(), Some(0.1));
        drain.recall(80_000 * MS);
        assert_eq!((drain.rate(), drain.windows(), drain.size()), (None, 0, None));
    }

    #[test]
    fn what_was_no_work_makes_no_window() {
        let mut drain = DrainRate::default();
        drain.bound(0);
        drain.dispatched(300 * MS, 0);
        drain.dispatched(600 * MS, 3);
        drain.dispatched(1200 * MS, 3);
        assert_eq!(drain.rate(), Some(5.0));
    }
}
