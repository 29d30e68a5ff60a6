//! What the work costs: mean, spread and memory of the service times that were seen.

use crate::sample::KINDS;

use super::mix::Newest;

/// Share of one sample in the mean (fifty samples carry two thirds of it): follows a change within a phase.
const MEAN_GAIN: f64 = 0.02;
/// Share of one sample in the length-biased mean. It is a ratio of two moments of a heavy-tailed quantity and
/// needs many more samples than a mean.
const MEMORY_GAIN: f64 = 0.003;
/// Share of one sample in the moments of its kind.
const KIND_GAIN: f64 = 0.01;
/// A phase is never shorter than this: schedulers and timers are not finer.
const SHORTEST_MEMORY: f64 = 0.002;
/// Beyond this, waiting for the backend to forget would take longer than the load stays the same.
const LONGEST_MEMORY: f64 = 2.0;
/// Squared coefficients of variation outside of this are taken for the nearest one inside: below, a phase would
/// be too short to average the arrivals; above, it would never end.
const SPREAD: (f64, f64) = (0.15, 20.0);
/// Completions before which a spread is not estimated: the first to come back are the short ones.
const EARLY: f64 = 50.0;
/// A sample longer than this (seconds) is cut to it, so that sums of squares stay finite.
const LONGEST: f64 = 1e6;
/// A sample shorter than this (seconds) is raised to it, so that logarithms stay finite.
const SHORTEST: f64 = 1e-6;

/// Seconds in which an answer is prompt: CoDel's target, the standing queue that nobody notices (RFC 8289, 4.3).
/// Latencies under it are all the same to whoever waits, so a limit that low buys nothing, and to wait before the
/// origin costs more than to wait inside.
pub(super) const PROMPT: f64 = 0.005;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Kind {
    share: f64,
    count: f64,
    mean: f64,
    square: f64,
}

/// Moments of the service time, in seconds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Service {
    kinds: [Kind; KINDS],
    newest: Newest,
    count: f64,
    mean: f64,
    slow_mean: f64,
    slow_square: f64,
}

impl Service {
    /// Are the first samples still coming in, which are the short ones?
    pub(super) fn is_early(&self) -> bool {
        self.count < EARLY
    }

    /// Nanoseconds as the seconds all estimates are made in.
    pub(super) fn seconds(nanos: u64) -> f64 {
        (nanos as f64 / 1e9).clamp(SHORTEST, LONGEST)
    }

    /// One completion of `kind` that took `seconds`.
    pub(super) fn add(&mut self, kind: u8, seconds: f64) {
        // The first samples are averaged evenly: one of them must not stand for all.
        self.count = (self.count + 1.0).min(1e6);
        let gain = |gain: f64| (1.0 / self.count).max(gain);
        self.mean += gain(MEAN_GAIN) * (seconds - self.mean);
        let slow = gain(MEMORY_GAIN);
        self.slow_mean += slow * (seconds - self.slow_mean);
        self.slow_square += slow * (seconds * seconds - self.slow_square);
        let newest = self.newest.weight(self.kinds.iter_mut().map(|kind| &mut kind.share));
        if let Some(kind) = self.kinds.get_mut(usize::from(kind).min(KINDS - 1)) {
            kind.share += newest;
            kind.count = (kind.count + 1.0).min(1e6);
            let gain = (1.0 / kind.count).max(KIND_GAIN);
            kind.mean += gain * (seconds - kind.mean);
            kind.square += gain * (seconds * seconds - kind.square);
        }
    }

    /// Seconds a piece of work takes; 0 before the first.
    pub(super) fn mean(&self) -> f64 {
        self.mean
    }

    /// Is it done sooner than anybody notices?
    pub(super) fn is_prompt(&self) -> bool {
        self.mean < PROMPT
    }

    /// Seconds a piece of this kind takes, 0 before the first.
    pub(super) fn mean_of(&self, kind: u8) -> f64 {
        self.kinds.get(usize::from(kind).min(KINDS - 1)).map_or(0.0, |kind| kind.mean)
    }

    /// How long the backend remembers an old limit, in seconds: the length-biased mean service time (renewal
    /// theory: the mean length of the interval that covers a given moment), because what is being served when the
    /// limit changes is more likely to be something long.
    pub(super) fn memory(&self) -> f64 {
        let biased = self.slow_square / self.slow_mean.max(1e-9);
        biased.max(self.mean).clamp(SHORTEST_MEMORY, LONGEST_MEMORY)
    }

    /// Squared coefficient of variation inside a kind, weighted by the kinds' shares. 1 before it is known (that
    /// of an exponential time).
    pub(super) fn spread(&self) -> f64 {
        if self.is_early() {
            return 1.0;
        }
        let (mut shares, mut means, mut variances) = (0.0, 0.0, 0.0);
        for kind in &self.kinds {
            shares += kind.share;
            means += kind.share * kind.mean;
            variances += kind.share * (kind.square - kind.mean * kind.mean).max(0.0);
        }
        if shares <= 0.0 || means <= 0.0 {
            return 1.0;
        }
        let mean = means / shares;
        (variances / shares / (mean * mean)).clamp(SPREAD.0, SPREAD.1)
    }
}
