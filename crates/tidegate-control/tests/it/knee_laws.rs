//! Laws of the knee, and of what else hears the limiter's events, that hold whatever happens.

use proptest::prelude::*;
use tidegate_control::limit::{Bounds, Knee, LimitAlgorithm};
use tidegate_control::queue::Door;
use tidegate_control::sample::{Outcome, Sample, View};
use tidegate_control::wait::{Calibration, Prediction};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

#[derive(Clone, Debug)]
enum Event {
    Sample(Sample),
    Pressure(View),
    Tick(View),
}

/// Times that a broken clock could show as well as those of a good one.
fn time() -> impl Strategy<Value = u64> {
    prop_oneof![4 => 0..60 * SECOND, 1 => any::<u64>()]
}

fn view() -> impl Strategy<Value = View> {
    let few = || prop_oneof![4 => 0..200u64, 1 => any::<u64>()];
    (time(), any::<u64>(), few(), few(), few(), any::<u64>()).prop_map(
        |(now, unix, in_flight, waiting, limit, area)| {
            let mut at = View::default();
            (at.now, at.unix, at.in_flight) = (now, unix, in_flight);
            (at.waiting, at.limit, at.area) = (waiting, limit, area);
            at
        },
    )
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        5 => Just(Outcome::Success),
        1 => Just(Outcome::Overload),
        1 => Just(Outcome::Ignore),
        1 => Just(Outcome::Canceled),
    ]
}

fn reported() -> impl Strategy<Value = Option<u64>> {
    prop_oneof![1 => Just(None), 2 => (0..100u64).prop_map(Some), 1 => any::<u64>().prop_map(Some)]
}

fn event() -> impl Strategy<Value = Event> {
    let weight = prop_oneof![4 => 0..4u64, 1 => any::<u64>()];
    let sample = (view(), time(), time(), weight, outcome(), any::<bool>(), any::<u8>(), reported())
        .prop_map(|(at, elapsed, queued, weight, outcome, in_time, kind, reported)| {
            let mut sample = Sample::new(at, elapsed, outcome);
            (sample.queued, sample.weight, sample.in_time) = (queued, weight, in_time);
            (sample.kind, sample.reported) = (kind, reported);
            Event::Sample(sample)
        });
    prop_oneof![6 => sample, 1 => view().prop_map(Event::Pressure), 3 => view().prop_map(Event::Tick)]
}

fn all(bounds: Bounds) -> [Knee; 3] {
    [Knee::new().bounds(bounds), Knee::shared().bounds(bounds), Knee::new().bounds(bounds).dry_run()]
}

fn tell(knee: &mut Knee, event: &Event) -> u64 {
    match event {
        Event::Sample(sample) => knee.on_sample(sample),
        Event::Pressure(at) => knee.on_pressure(at),
        Event::Tick(at) => knee.on_tick(at),
    }
}

proptest! {
    #[test]
    fn the_limit_stays_in_bounds_whatever_happens(
        min in 0..5u64,
        width in 0..2000u64,
        mut events in prop::collection::vec(event(), 0..400),
        in_order in any::<bool>(),
    ) {
        if in_order {
            events.sort_by_key(|event| match event {
                Event::Sample(sample) => sample.at.now,
                Event::Pressure(at) | Event::Tick(at) => at.now,
            });
        }
        let bounds = Bounds { start: min + width / 2, min, max: min + width };
        for mut knee in all(bounds) {
            for event in &events {
                let limit = tell(&mut knee, event);
                prop_assert!((min.max(1)..=(min + width).max(1)).contains(&limit), "{limit} of {bounds:?}");
                prop_assert_eq!(limit, knee.limit());
                let why = knee.explain();
                prop_assert_eq!(limit, why.limit);
                prop_assert!(why.estimate.is_finite());
                prop_assert!(why.elasticity.is_none_or(|e| (-1.0..=1.3).contains(&e)));
                prop_assert!(why.throughput.is_none_or(|x| x.is_finite() && x >= 0.0));
            }
        }
    }

    #[test]
    fn ignored_work_moves_nothing(samples in prop::collection::vec((0..60 * SECOND, time()), 0..200)) {
        for mut knee in [Knee::new(), Knee::new().dry_run()] {
            for (now, elapsed) in &samples {
                let mut at = View::default();
                (at.now, at.in_flight, at.limit) = (*now, 8, 8);
                let ignored = Sample::new(at, *elapsed, Outcome::Ignore);
                prop_assert_eq!(knee.on_sample(&ignored), 8);
            }
        }
    }

    #[test]
    fn in_dry_run_pressure_and_time_move_nothing(views in prop::collection::vec((view(), any::<bool>()), 0..200)) {
        let mut knee = Knee::new().dry_run();
        let limit = knee.limit();
        for (at, pressure) in &views {
            let moved = if *pressure { knee.on_pressure(at) } else { knee.on_tick(at) };
            prop_assert_eq!(moved, limit);
        }
    }

    #[test]
    fn the_door_always_has_a_budget(
        events in prop::collection::vec((0..4u8, time(), any::<u64>(), any::<f64>(), any::<bool>()), 0..200),
    ) {
        let mut door = Door::new();
        for (what, now, weight, rate, searching) in events {
            match what {
                0 => door.arrived(now, weight),
                1 => door.dispatched(now, weight),
                2 => door.tick(now, None, weight, searching),
                _ => door.tick(now, Some(rate), weight, searching),
            }
            prop_assert!(door.budget() >= 5 * MS);
        }
    }

    #[test]
    fn a_calibrated_prediction_is_ordered(outcomes in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u64>()), 0..200)) {
        let mut calibration = Calibration::new();
        for (p50, p90, waited) in outcomes {
            let said = calibration.apply(Prediction { p50, p90 });
            prop_assert!(said.p50 <= said.p90);
            calibration.ended(said, waited);
            let coverage = calibration.coverage();
            prop_assert!((0.0..=1.0).contains(&coverage.share) && coverage.within <= coverage.predicted);
        }
    }
}
