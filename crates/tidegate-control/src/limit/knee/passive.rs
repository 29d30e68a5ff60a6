//! The knee from traffic alone: nothing is moved, what happens by itself is compared.

use crate::limit::Bounds;
use crate::sample::{Sample, View};

use super::event::{Completion, completion};
use super::floor::Floor;
use super::point::Point;
use super::service::Service;

/// Windows are sorted by ln n into places of this width: half an octave.
const PLACE: f64 = 0.35;
/// Places that are remembered: 36 half-octaves reach from 1 to 300,000.
const PLACES: usize = 36;
/// A remembered window is believed for this long (nanoseconds): capacity changes.
const FRESH: u64 = 60_000_000_000;
/// Two windows are compared over at least this distance in ln n: nearer ones tell noise.
const APART: f64 = 0.5;
/// The latency inflations under which the load is below the knee, and over which it is above.
const CALM: f64 = 0.3;
const INFLATED: f64 = 0.6;
/// Share of one window's knee in the estimate.
const GAIN: f64 = 0.3;

/// What a knee would be, estimated without touching the limit by phases of its own.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Passive {
    pub(super) bounds: Bounds,
    pub(super) estimate: f64,
    pub(super) service: Service,
    floor: Floor,
    windows: [Option<(u64, Point)>; PLACES],
    pub(super) throughput: Option<f64>,
    pub(super) elasticity: Option<f64>,
}

impl Passive {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            estimate: bounds.clamp(bounds.start as f64),
            service: Service::default(),
            floor: Floor::default(),
            windows: [None; PLACES],
            throughput: None,
            elasticity: None,
        }
    }

    pub(super) fn limit(&self) -> u64 {
        self.bounds.clamp((self.estimate * super::single::HEADROOM).round()) as u64
    }

    pub(super) fn on_sample(&mut self, sample: &Sample) -> u64 {
        if let Completion::Counts { seconds, useful } = completion(sample, &self.service) {
            self.service.add(sample.kind, seconds);
            let at = &sample.at;
            let idle = self.floor.inflation() < CALM;
            let window = self.floor.add(at, sample.kind, sample.weight, seconds, useful, idle);
            if let Some(window) = window {
                self.learn(at, window);
            }
        }
        self.limit()
    }

    fn learn(&mut self, at: &View, window: Point) {
        self.throughput = Some(window.throughput);
        let inflation = self.floor.inflation();
        if inflation < CALM {
            // Not saturated with this much: the knee is higher.
            self.estimate = self.estimate.max(window.concurrency);
        }
        let compared = self.compare(at, &window);
        if let Some((low, found)) = compared {
            self.elasticity = Some(found.value);
            if inflation > INFLATED && found.value < 0.7 {
                let knee = low.concurrency.max(0.05) * (found.width * found.value.max(0.0)).exp();
                self.estimate *= (knee.max(1e-3) / self.estimate).powf(GAIN);
            }
        }
        self.estimate = self.bounds.clamp(self.estimate);
        let place = (window.concurrency.max(1.0).ln() / PLACE) as usize;
        if let Some(place) = self.windows.get_mut(place.min(PLACES - 1)) {
            *place = Some((at.now, window));
        }
    }

    /// The nearest fresh window that is far enough below.
    fn compare(&self, at: &View, window: &Point) -> Option<(Point, super::point::Elasticity)> {
        self.windows
            .iter()
            .rev()
            .flatten()
            .filter(|(then, _)| at.now.saturating_sub(*then) < FRESH)
            .map(|(_, low)| *low)
            .find(|low| window.wider_than(low) >= APART)
            .and_then(|low| window.elasticity_over(&low).map(|found| (low, found)))
    }
}
