//! The latency floor: a hint where to look, never a verdict.

use crate::sample::{KINDS, View};

use super::mix::Newest;
use super::point::{Point, Tally};
use super::service::PROMPT;

/// A window closes after this time (seconds) …
const WINDOW_SECONDS: f64 = 0.2;
/// … and this many completions, so that its mean has a relative error under 20 % (1/√30).
const WINDOW_COUNT: f64 = 30.0;
/// What the floor rises by at each window while nothing is measured actively: a floor that was a fluke, or of
/// better days, is forgotten (e-fold in 500 windows, 100 s or more).
const LEAK: f64 = 0.002;
/// Share of a new, lower level in the floor: one lucky window is not believed at once.
const FALL: f64 = 0.2;
/// Smallest share of one sample in the level of its kind.
const KIND_GAIN: f64 = 0.002;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Kind {
    level: f64,
    count: f64,
    share: f64,
}

/// A running minimum of the window means of ln R, corrected for the mix of kinds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Floor {
    kinds: [Kind; KINDS],
    newest: Newest,
    window: Option<Tally>,
    deviations: f64,
    floor: Option<f64>,
    /// ln of seconds that were seen elsewhere: the floor is no higher.
    hint: Option<f64>,
    inflation: f64,
    unnoticed: f64,
}

impl Floor {
    /// One completion. Returns the window as a point of the capacity curve if it closes with this one.
    pub(super) fn add(
        &mut self,
        at: &View,
        kind: u8,
        weight: u64,
        seconds: f64,
        useful: bool,
        idle: bool,
    ) -> Option<Point> {
        let level = seconds.ln();
        let newest = self.newest.weight(self.kinds.iter_mut().map(|kind| &mut kind.share));
        let known = self.kinds.get_mut(usize::from(kind).min(KINDS - 1))?;
        known.share += newest;
        known.count = (known.count + 1.0).min(1e6);
        known.level += (1.0 / known.count).max(KIND_GAIN) * (level - known.level);
        self.deviations += level - known.level;
        let window = self.window.get_or_insert_with(|| Tally::begin(at));
        window.add(kind, weight, seconds, useful);
        if window.count() < WINDOW_COUNT || window.elapsed(at) < WINDOW_SECONDS {
            return None;
        }
        let point = window.point(at);
        let level = self.deviations / window.count() + self.usual_level();
        self.window = Some(Tally::begin(at));
        self.deviations = 0.0;
        // The mean of logarithms is not the logarithm of the mean.
        let mean = point.map_or(level, |point| point.mean().ln());
        let hint = self.hint.take().map_or(f64::INFINITY, |hint| level + hint - mean);
        let floor = match self.floor {
            None => level,
            Some(floor) if level < floor => floor + FALL * (level - floor),
            Some(floor) if idle => floor + LEAK,
            Some(floor) => floor,
        };
        let floor = floor.min(hint);
        self.floor = Some(floor);
        // Where even the latency now is prompt, or the floor is, nothing is inflated before somebody notices.
        let prompt = level + PROMPT.ln() - mean;
        self.inflation = level.max(prompt) - floor.max(prompt);
        self.unnoticed = level - floor;
        point
    }

    fn usual_level(&self) -> f64 {
        let shares: f64 = self.kinds.iter().map(|kind| kind.share).sum();
        let levels: f64 = self.kinds.iter().map(|kind| kind.share * kind.level).sum();
        if shares > 0.0 { levels / shares } else { 0.0 }
    }

    /// ln of (latency now / floor), as far as anybody notices it; 0 while unknown.
    pub(super) fn inflation(&self) -> f64 {
        self.inflation
    }

    /// The same, noticed or not.
    pub(super) fn unnoticed(&self) -> f64 {
        self.unnoticed
    }

    /// A mean of so many seconds was seen.
    pub(super) fn hint(&mut self, seconds: f64) {
        self.hint = Some(seconds.ln());
    }

    /// The floor was wrong: the work has become slower for reasons that are not load.
    pub(super) fn forget(&mut self) {
        self.floor = None;
        self.inflation = 0.0;
        self.unnoticed = 0.0;
    }
}
