//! What the knee does with a clear case.

use tidegate_control::limit::{Knee, LimitAlgorithm};
use tidegate_control::sample::{Outcome, Sample, View};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

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
