//! Are predictions true? Each quantile is corrected by what became of the last ones.

use super::Prediction;

/// How far one outcome moves the logarithm of a factor at first …
const FIRST_STEP: f64 = 0.2;
/// … and once there were many: a factor that is wrong by e is right again after some fifty outcomes at the edge,
/// and the noise it keeps is some 5 %.
const LAST_STEP: f64 = 0.02;
/// A factor stays between its inverse and this: beyond, it is not the calibration that is wrong.
const WIDEST: f64 = 8.0;
/// Outcomes that the share is taken over.
const WINDOW: usize = 1024;
const WORDS: usize = WINDOW / 64;

/// How well predicted waits held: of `predicted` waits that ended, `within` ended by their predicted p90.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Coverage {
    /// Waits that were predicted and have ended.
    pub predicted: u64,
    /// Those that ended by the p90 predicted at their begin.
    pub within: u64,
    /// The same as a share of the last 1024 waits; 0.9 is right. 0 while there are none.
    pub share: f64,
}

/// A factor that moves until waits exceed its prediction as often as they shall.
///
/// Stochastic approximation of a quantile (Robbins and Monro 1951) on the logarithm of the factor; with a step
/// that does not vanish it follows a service that changes (adaptive conformal inference, Gibbs and Candès 2021).
#[derive(Clone, Copy, Debug, PartialEq)]
struct Factor {
    quantile: f64,
    log: f64,
}

impl Factor {
    fn apply(&self, nanos: u64) -> u64 {
        (nanos as f64 * self.log.exp()) as u64
    }

    fn learn(&mut self, exceeded: bool, step: f64) {
        let change = if exceeded { self.quantile } else { self.quantile - 1.0 };
        self.log = (self.log + step * change).clamp(-WIDEST.ln(), WIDEST.ln());
    }
}

/// Corrects predicted waits online, and knows how well they held over about the last thousand.
///
/// ```
/// use tidegate_control::wait::{Calibration, Prediction};
///
/// let mut calibration = Calibration::new();
/// for _ in 0..1000 {
///     let said = calibration.apply(Prediction { p50: 1_000_000, p90: 2_000_000 });
///     calibration.ended(said, 3_000_000); // it always takes three milliseconds
/// }
/// assert!(calibration.apply(Prediction { p50: 1_000_000, p90: 2_000_000 }).p90 >= 2_800_000);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    p50: Factor,
    p90: Factor,
    predicted: u64,
    within: u64,
    recent: [u64; WORDS],
}

impl Default for Calibration {
    fn default() -> Self {
        Self::new()
    }
}

impl Calibration {
    /// Believes predictions as they are, until outcomes come.
    #[must_use]
    pub fn new() -> Self {
        Self {
            p50: Factor { quantile: 0.5, log: 0.0 },
            p90: Factor { quantile: 0.9, log: 0.0 },
            predicted: 0,
            within: 0,
            recent: [0; WORDS],
        }
    }

    /// The prediction, corrected. `p90` is never less than `p50`.
    #[must_use]
    pub fn apply(&self, prediction: Prediction) -> Prediction {
        let p50 = self.p50.apply(prediction.p50);
        Prediction { p50, p90: self.p90.apply(prediction.p90).max(p50) }
    }

    /// A wait ended after `waited` nanoseconds with an admission; `said` is what was predicted (and corrected) at
    /// its begin.
    pub fn ended(&mut self, said: Prediction, waited: u64) {
        let step = (FIRST_STEP / (1.0 + self.predicted as f64 / 20.0)).max(LAST_STEP);
        self.p50.learn(waited > said.p50, step);
        self.p90.learn(waited > said.p90, step);
        let place = (self.predicted % WINDOW as u64) as usize;
        let within = waited <= said.p90;
        if let Some(word) = self.recent.get_mut(place / 64) {
            let bit = 1u64 << (place % 64);
            if within { *word |= bit } else { *word &= !bit }
        }
        self.predicted = self.predicted.saturating_add(1);
        self.within = self.within.saturating_add(u64::from(within));
    }

    /// A wait was given up after `waited` nanoseconds: it would have lasted longer, nobody knows how much. Counts if
    /// the prediction has failed already.
    pub fn given_up(&mut self, said: Prediction, waited: u64) {
        if waited > said.p90 {
            self.ended(said, waited);
        }
    }

    /// How well predictions held.
    #[must_use]
    pub fn coverage(&self) -> Coverage {
        let counted = self.predicted.min(WINDOW as u64);
        let within: u32 = self.recent.iter().map(|word| word.count_ones()).sum();
        let share = if counted == 0 { 0.0 } else { f64::from(within) / counted as f64 };
        Coverage { predicted: self.predicted, within: self.within, share }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Uniform numbers between 0 and 1 (SplitMix64).
    fn uniform(seed: &mut u64) -> f64 {
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    #[test]
    fn a_prediction_that_is_wrong_by_four_becomes_right() {
        let mut calibration = Calibration::new();
        let mut seed = 1;
        let (mut below50, mut below90) = (0, 0);
        for outcome in 0..4000 {
            // Exponential waits of one millisecond in the mean, predicted four times too short.
            let said = calibration.apply(Prediction { p50: 173_000, p90: 575_000 });
            let waited = (-1e6 * (1.0 - uniform(&mut seed)).ln()) as u64;
            if outcome >= 1000 {
                below50 += u32::from(waited <= said.p50);
                below90 += u32::from(waited <= said.p90);
            }
            calibration.ended(said, waited);
        }
        let (share50, share90) = (f64::from(below50) / 3000.0, f64::from(below90) / 3000.0);
        assert!((share50 - 0.5).abs() < 0.03, "{share50}");
        assert!((share90 - 0.9).abs() < 0.02, "{share90}");
        let coverage = calibration.coverage();
        assert_eq!(coverage.predicted, 4000);
        assert!((coverage.share - 0.9).abs() < 0.03, "{coverage:?}");
    }

    #[test]
    fn the_share_forgets_what_is_long_ago() {
        let mut calibration = Calibration::new();
        let said = Prediction { p50: 1, p90: 2 };
        for _ in 0..5000 {
            calibration.ended(said, 3);
        }
        assert_eq!(calibration.coverage().share, 0.0);
        for _ in 0..1024 {
            calibration.ended(said, 1);
        }
        assert_eq!(calibration.coverage().share, 1.0);
        assert_eq!(calibration.coverage().within, 1024);
    }

    #[test]
    fn a_wait_given_up_early_says_nothing() {
        let mut calibration = Calibration::new();
        let said = Prediction { p50: 10, p90: 20 };
        calibration.given_up(said, 20);
        assert_eq!(calibration, Calibration::new());
        calibration.given_up(said, 21);
        assert_eq!(calibration.coverage(), Coverage { predicted: 1, within: 0, share: 0.0 });
    }

    #[test]
    fn nothing_runs_away() {
        let mut calibration = Calibration::new();
        for _ in 0..10_000 {
            calibration.ended(Prediction { p50: 0, p90: 0 }, u64::MAX);
        }
        let widest = calibration.apply(Prediction { p50: 100, p90: 100 });
        assert!(widest.p90 <= 801 && widest.p50 <= widest.p90, "{widest:?}");
        let all = calibration.apply(Prediction { p50: u64::MAX, p90: 0 });
        assert_eq!(all.p50, all.p90);
    }
}
