//! The knee: laws that hold whatever happens, and what it does with a clear case.

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

/// A service that is always asked for more than it can do, without any chance in it.
struct Service {
    now: u64,
    area: u64,
    workers: u64,
    /// Nanoseconds of work, and on the way.
    work: u64,
    way: u64,
    outcome: Outcome,
    /// What it says it has in flight, at this time and with so many of ours.
    reported: fn(u64, u64) -> Option<u64>,
}

impl Service {
    fn new(workers: u64, work: u64) -> Self {
        Self { now: SECOND, area: 0, workers, work, way: 0, outcome: Outcome::Success, reported: |_, _| None }
    }

    /// Lets `seconds` go by; `demand` is the most that is ever in flight. Returns the mean limit.
    fn run(&mut self, knee: &mut Knee, seconds: u64, demand: u64) -> f64 {
        let begin = self.now;
        let (mut sum, mut last) = (0.0, self.now);
        while self.now < begin + seconds * SECOND {
            let in_flight = knee.limit().min(demand);
            let takes = (self.work * in_flight / self.workers).max(self.way + self.work);
            let step = (takes / in_flight).max(1);
            self.now += step;
            self.area = self.area.wrapping_add(in_flight * step);
            let waiting = demand.saturating_sub(in_flight).min(10);
            let mut at = View::default();
            (at.now, at.unix, at.area) = (self.now, self.now, self.area);
            (at.in_flight, at.waiting, at.limit) = (in_flight, waiting, knee.limit());
            if waiting > 0 {
                knee.on_pressure(&at);
            }
            let mut sample = Sample::new(at, takes, self.outcome);
            sample.reported = (self.reported)(self.now, in_flight);
            knee.on_sample(&sample);
            knee.on_tick(&at);
            sum += knee.limit() as f64 * (self.now - last) as f64;
            last = self.now;
        }
        sum / (self.now - begin) as f64
    }
}

#[test]
fn all_start_at_the_same_limit() {
    for knee in
        [Knee::new(), Knee::shared(), Knee::new().dry_run(), Knee::shared().dry_run(), Knee::default()]
    {
        assert_eq!(knee.limit(), 8);
    }
}

#[test]
fn finds_a_knee_far_above_the_start_within_seconds() {
    let mut knee = Knee::new();
    let mut service = Service::new(400, 50 * MS);
    service.run(&mut knee, 3, u64::MAX);
    let limit = service.run(&mut knee, 5, u64::MAX);
    assert!((380.0..700.0).contains(&limit), "{limit}");
    let why = knee.explain();
    assert!(why.throughput.unwrap() > 7000.0, "{why:?}");
    assert!(why.service.unwrap() >= 50 * MS && !why.passive);
}

#[test]
fn finds_a_knee_below_the_start() {
    let mut knee = Knee::new();
    let mut service = Service::new(4, 20 * MS);
    service.run(&mut knee, 5, u64::MAX);
    let limit = service.run(&mut knee, 10, u64::MAX);
    assert!((4.0..9.0).contains(&limit), "{limit}");
}

#[test]
fn follows_a_loss_of_capacity_and_its_return() {
    let mut knee = Knee::new();
    let mut service = Service::new(40, 20 * MS);
    service.run(&mut knee, 10, u64::MAX);
    service.workers = 10;
    service.run(&mut knee, 5, u64::MAX);
    let less = service.run(&mut knee, 5, u64::MAX);
    assert!((9.0..22.0).contains(&less), "{less}");
    service.workers = 40;
    service.run(&mut knee, 10, u64::MAX);
    let more = service.run(&mut knee, 5, u64::MAX);
    assert!((36.0..80.0).contains(&more), "{more}");
}

#[test]
fn a_slow_dependency_is_not_overload() {
    let mut knee = Knee::new();
    let mut service = Service::new(16, 10 * MS);
    service.run(&mut knee, 10, u64::MAX);
    service.way = 100 * MS;
    service.run(&mut knee, 10, u64::MAX);
    let limit = service.run(&mut knee, 5, u64::MAX);
    assert!((150.0..350.0).contains(&limit), "{limit}: the knee is 16 × 110 / 10 = 176");
}

#[test]
fn latencies_that_nobody_notices_are_no_reason_to_hold_callers_back() {
    let mut knee = Knee::new();
    let mut service = Service::new(2, MS / 10);
    service.run(&mut knee, 5, u64::MAX);
    let limit = service.run(&mut knee, 5, u64::MAX);
    assert!((90.0..170.0).contains(&limit), "{limit}: 20 a millisecond for 5 ms are 100");
    // Whose demand is satisfied below that meets no limit.
    let mut knee = Knee::new();
    service.run(&mut knee, 5, 64);
    assert!(knee.limit() >= 64 && knee.explain().phase == "idle", "{:?}", knee.explain());
}

#[test]
fn an_unused_limit_does_not_grow() {
    let mut knee = Knee::new();
    let mut service = Service::new(1000, 20 * MS);
    service.run(&mut knee, 60, 4);
    assert_eq!((knee.limit(), knee.explain().phase), (8, "idle"));
}

#[test]
fn where_nothing_succeeds_the_limit_falls_and_recovers() {
    let mut knee = Knee::new();
    let mut service = Service::new(40, 20 * MS);
    service.run(&mut knee, 5, u64::MAX);
    service.outcome = Outcome::Overload;
    service.run(&mut knee, 10, u64::MAX);
    assert!(knee.limit() <= 2, "{}", knee.limit());
    service.outcome = Outcome::Success;
    service.run(&mut knee, 10, u64::MAX);
    assert!(knee.limit() >= 36, "{}", knee.limit());
}

#[test]
fn at_its_ceiling_a_limit_stays_and_says_so() {
    // Owners that keep a common beat measure below it in every second phase, and climb for longer.
    for (knee, soon, least) in [(Knee::new(), 2, 97.0), (Knee::shared(), 15, 80.0)] {
        let mut knee = knee.ceiling(100);
        assert_eq!((knee.limit(), knee.explain().at_ceiling), (8, false));
        let mut service = Service::new(400, 50 * MS);
        service.run(&mut knee, soon, u64::MAX);
        assert!(knee.explain().at_ceiling && !knee.is_searching(), "{:?}", knee.explain());
        service.run(&mut knee, 5, u64::MAX);
        let limit = service.run(&mut knee, 40, u64::MAX);
        let why = knee.explain();
        assert!((least..=100.0).contains(&limit) && why.at_ceiling, "{limit} {why:?}");
    }
    for knee in [Knee::new(), Knee::shared(), Knee::new().dry_run()] {
        assert_eq!(knee.clone().ceiling(u64::MAX), knee, "there is one of its own");
        assert_eq!(knee.ceiling(5).limit(), 5);
    }
}

#[test]
fn a_limit_leaves_its_ceiling_when_capacity_is_lost_at_once_or_little_by_little() {
    for steps in [1, 100] {
        for (knee, above) in [(Knee::new(), 80.0), (Knee::shared(), 90.0)] {
            let mut knee = knee.ceiling(100);
            let mut service = Service::new(400, 50 * MS);
            service.run(&mut knee, 30, u64::MAX);
            for step in 1..=steps {
                service.workers = 400 - 360 * step / steps;
                service.run(&mut knee, 1, u64::MAX);
            }
            service.run(&mut knee, 30, u64::MAX);
            let limit = service.run(&mut knee, 20, u64::MAX);
            let why = knee.explain();
            assert!((36.0..above).contains(&limit) && !why.at_ceiling, "{steps}: {limit} {why:?}");
        }
    }
}

#[test]
fn owners_with_one_clock_move_together() {
    let (mut one, mut other) = (Knee::shared(), Knee::shared());
    let mut services = [Service::new(32, 10 * MS), Service::new(32, 10 * MS)];
    for _ in 0..20 {
        services[0].run(&mut one, 1, u64::MAX);
        services[1].run(&mut other, 1, u64::MAX);
        assert_eq!(one.explain().phase, other.explain().phase);
    }
    assert!((32..80).contains(&one.limit()), "{}", one.limit());
}

#[test]
fn an_owner_hears_when_it_moves_alone() {
    let mut knee = Knee::shared();
    let mut service = Service::new(32, 10 * MS);
    // Its own work is all there is, then a small part of it, then again all.
    service.reported = |_, in_flight| Some(in_flight);
    service.run(&mut knee, 10, u64::MAX);
    assert_ne!(knee.explain().phase, "alone");
    service.reported = |_, in_flight| Some(in_flight + 2000);
    service.run(&mut knee, 10, u64::MAX);
    assert_eq!(knee.explain().phase, "alone");
    service.reported = |_, in_flight| Some(in_flight);
    service.run(&mut knee, 10, u64::MAX);
    assert_ne!(knee.explain().phase, "alone");
}

#[test]
fn reports_that_speak_for_a_part_are_not_heard() {
    let (mut with, mut without) = (Knee::shared(), Knee::shared());
    let mut service = Service::new(32, 10 * MS);
    service.run(&mut without, 20, u64::MAX);
    let mut service = Service::new(32, 10 * MS);
    service.reported = |now, in_flight| Some(if now / SECOND % 2 == 0 { in_flight / 2 } else { 1 });
    service.run(&mut with, 20, u64::MAX);
    assert_eq!(with.limit(), without.limit());
}

#[test]
fn no_report_raises_a_limit_without_bound() {
    let lies: [fn(u64, u64) -> Option<u64>; 5] = [
        |_, _| Some(1_000_000),
        |_, _| Some(u64::MAX),
        |now, _| Some(1 + now / MS % 1_000_000),
        |now, in_flight| Some(in_flight << (now / (SECOND / 8) % 2 * 10)),
        |now, in_flight| Some(in_flight * (1 + now % 1000)),
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let mut knee = Knee::shared();
        let mut service = Service::new(32, 10 * MS);
        service.run(&mut knee, 10, u64::MAX);
        service.reported = lie;
        service.run(&mut knee, 60, u64::MAX);
        // Three times the knee, a pair above it, and the floor's forgetting.
        assert!((1..=32 * 3 * 2).contains(&knee.limit()), "lie {number}: {}", knee.limit());
    }
}

#[test]
fn dry_run_estimates_from_traffic_alone() {
    let mut knee = Knee::new().dry_run();
    let mut service = Service::new(20, 20 * MS);
    for demand in [5, 10, 20, 40, 60, 10, 40, 60, 15, 60] {
        // In dry run nobody is held back: as much is in flight as comes.
        for _ in 0..300 {
            let takes = (service.work * demand / service.workers).max(service.work);
            service.now += takes / demand;
            service.area += takes;
            let mut at = View::default();
            (at.now, at.area) = (service.now, service.area);
            (at.in_flight, at.limit) = (demand, knee.limit());
            knee.on_sample(&Sample::new(at, takes, Outcome::Success));
        }
    }
    let why = knee.explain();
    assert!(why.passive && why.phase == "passive");
    assert!((18..40).contains(&knee.limit()), "{why:?}");
}
