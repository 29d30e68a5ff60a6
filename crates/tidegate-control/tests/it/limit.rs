//! Limit algorithms: laws that hold for any stream of events, and what each does with a clear one.

use proptest::prelude::*;
use tidegate_control::limit::{Aimd, Bounds, Fixed, Gradient2, LimitAlgorithm, Vegas};
use tidegate_control::sample::{Outcome, Sample, View};

const MS: u64 = 1_000_000;

fn sample(now: u64, elapsed: u64, in_flight: u64, outcome: Outcome) -> Sample {
    let mut at = View::default();
    (at.now, at.unix, at.in_flight, at.limit) = (now, now, in_flight, in_flight);
    Sample::new(at, elapsed, outcome)
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        5 => Just(Outcome::Success),
        1 => Just(Outcome::Overload),
        1 => Just(Outcome::Ignore),
        1 => Just(Outcome::Canceled),
    ]
}

fn all(bounds: Bounds) -> Vec<Box<dyn LimitAlgorithm>> {
    vec![
        Box::new(Fixed::new(bounds.start)),
        Box::new(Aimd::new(bounds, Some(MS))),
        Box::new(Vegas::new(bounds)),
        Box::new(Gradient2::new(bounds)),
    ]
}

proptest! {
    #[test]
    fn limits_stay_in_bounds_whatever_happens(
        min in 0..5u64,
        width in 0..2000u64,
        events in prop::collection::vec((any::<u64>(), any::<u64>(), any::<u64>(), outcome()), 0..300),
    ) {
        let bounds = Bounds { start: min + width / 2, min, max: min + width };
        for mut algorithm in all(bounds) {
            for (now, elapsed, in_flight, outcome) in &events {
                let limit = algorithm.on_sample(&sample(*now, *elapsed, *in_flight, *outcome));
                prop_assert!(limit >= 1);
                prop_assert!(limit <= bounds.max.max(1), "{limit} of {bounds:?}");
                prop_assert_eq!(limit, algorithm.limit());
                prop_assert_eq!(limit, algorithm.explain().limit);
                prop_assert!(algorithm.explain().estimate.is_finite());
            }
        }
    }

    #[test]
    fn ignored_and_canceled_work_moves_nothing(
        events in prop::collection::vec((any::<u64>(), 0..MS, any::<u64>(), any::<bool>()), 0..100),
    ) {
        for mut algorithm in all(Bounds::default()) {
            for (now, elapsed, in_flight, ignore) in &events {
                let outcome = if *ignore { Outcome::Ignore } else { Outcome::Canceled };
                prop_assert_eq!(algorithm.on_sample(&sample(*now, *elapsed, *in_flight, outcome)), 16);
            }
        }
    }
}

/// `count` completions of a service with `workers` workers of `service` ns each, always as many in flight as
/// the limit allows.
fn drive(algorithm: &mut dyn LimitAlgorithm, workers: u64, service: u64, count: u64) {
    let mut now = MS;
    for _ in 0..count {
        let in_flight = algorithm.limit();
        now += service / workers.min(in_flight);
        algorithm.on_sample(&sample(
            now,
            service * in_flight.max(workers) / workers,
            in_flight,
            Outcome::Success,
        ));
    }
}

#[test]
fn vegas_settles_near_the_knee_of_a_service_with_ten_workers() {
    let mut vegas = Vegas::new(Bounds { start: 2, ..Bounds::default() });
    drive(&mut vegas, 10, 20 * MS, 200);
    assert!((10..=20).contains(&vegas.limit()), "{}", vegas.limit());
}

#[test]
fn gradient_grows_while_latency_stands_still() {
    let mut gradient = Gradient2::default();
    drive(&mut gradient, 1_000_000, 20 * MS, 500);
    assert!(gradient.limit() > 300, "{}", gradient.limit());
}

#[test]
fn gradient_shrinks_when_latency_jumps() {
    let mut gradient = Gradient2::new(Bounds { start: 100, ..Bounds::default() });
    for now in 1..=600 {
        gradient.on_sample(&sample(now * MS, 20 * MS, 10, Outcome::Success));
    }
    for now in 600..=620 {
        let in_flight = gradient.limit();
        gradient.on_sample(&sample(now * MS, 400 * MS, in_flight, Outcome::Success));
    }
    assert!(gradient.limit() < 50, "{}", gradient.limit());
}

#[test]
fn aimd_adds_one_for_a_limit_of_successes() {
    let mut aimd = Aimd::default();
    for now in 1..=17 {
        aimd.on_sample(&sample(now * MS, MS, 16, Outcome::Success));
    }
    assert_eq!(aimd.limit(), 17);
    aimd.on_sample(&sample(20 * MS, MS, 2, Outcome::Success));
    assert_eq!(aimd.limit(), 17, "an unused limit does not grow");
}

#[test]
fn aimd_cuts_once_for_all_the_work_of_one_overload() {
    let mut aimd = Aimd::new(Bounds { start: 100, ..Bounds::default() }, Some(50 * MS));
    for _ in 0..40 {
        aimd.on_sample(&sample(100 * MS, 60 * MS, 100, Outcome::Overload));
    }
    assert_eq!(aimd.limit(), 90, "one overload, one cut");
    aimd.on_sample(&sample(200 * MS, 60 * MS, 90, Outcome::Success));
    assert_eq!(aimd.limit(), 81, "a late success is an overload too");
}

#[test]
fn a_fixed_limit_of_zero_is_one() {
    assert_eq!(Fixed::new(0).limit(), 1);
}
