//! Where an adaptive limit starts and how far it may go.

/// The range of an adaptive limit. The estimate inside is fractional, so that slow growth adds up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// The limit before anything was measured.
    pub start: u64,
    /// Never below this.
    pub min: u64,
    /// Never above this.
    pub max: u64,
}

impl Default for Bounds {
    /// Starts at 16, between 1 and 1000. The rivals' algorithms need a ceiling: without failures AIMD has
    /// none of its own. 1000 is the default of Netflix concurrency-limits' larger presets.
    fn default() -> Self {
        Self { start: 16, min: 1, max: 1000 }
    }
}

impl Bounds {
    /// `value` moved into the range; NaN becomes the minimum. A range written backwards means its minimum.
    #[must_use]
    pub fn clamp(&self, value: f64) -> f64 {
        let min = self.min.max(1) as f64;
        value.min(self.max as f64).max(min)
    }

    /// The lower one of two limits that lie `ratio` apart: `low`, unless there would be no room for the upper one. A pair
    /// of which both are the highest limit there may be tells nothing.
    pub(super) fn lower_of_pair(&self, low: f64, ratio: f64) -> f64 {
        let max = self.max as f64;
        low.min((max / ratio).round().min(max - 1.0))
    }

    /// The whole limit for an estimate, at least 1.
    #[must_use]
    pub fn whole(&self, estimate: f64) -> u64 {
        self.clamp(estimate) as u64
    }
}
