//! What becomes of uploads beside others that stall, at the worst moments and at random ones.

use super::*;

const KIB: u64 = 1024;

/// A line: how large windows may be, how long a round trip takes, and who sends first in each.
#[derive(Clone, Copy, Debug)]
struct Line {
    largest: u32,
    trip: Duration,
    stalled_first: bool,
    /// Bytes of each that are read before it stalls.
    taken: u64,
}

/// Round trips that an upload of 16 MB takes beside so many that stall and take all they get.
fn round_trips(line: Line, stalled: usize) -> u32 {
    let mut model = Model::new(line.largest);
    (0..=stalled).for_each(|_| model.open(true));
    let (mut left, mut trips) = (16_000_000, 0);
    let mut taken = vec![line.taken; stalled];
    let mut order: Vec<usize> = (0..=stalled).collect();
    if line.stalled_first {
        order.rotate_left(1);
    }
    while left > 0 {
        assert!(trips < 10_000, "it stands still: {left} bytes are left of {line:?} beside {stalled}");
        if trips > 0 {
            model.acknowledge();
        }
        trips += 1;
        for &index in &order {
            loop {
                let some = model.send(index, if index == 0 { left } else { i64::MAX });
                left -= if index == 0 { some } else { 0 };
                if some == 0 {
                    break;
                }
            }
        }
        // All of them take turns.
        let mut reads = true;
        while reads {
            reads = model.read(0);
            for (index, taken) in taken.iter_mut().enumerate() {
                if *taken > 0 && model.read(index + 1) {
                    *taken = taken.saturating_sub(FRAME as u64);
                    reads = true;
                }
                model.bodies[index + 1].is_read = *taken > 0;
            }
        }
        model.pass(line.trip);
        model.check().unwrap();
    }
    trips
}

/// C 8: 16 MB beside uploads that stall, which take all they can get, at the worst moments.
#[test]
fn stalled_uploads_leave_their_neighbour_most_of_its_speed() {
    for largest in [2 << 20, 4 << 20, 8 << 20] {
        for trip in [1, 30, 100, 300].map(Duration::from_millis) {
            for (taken, stalled_first) in
                [0, 100_000, 1_000_000].into_iter().flat_map(|n| [(n, true), (n, false)])
            {
                let line = Line { largest, trip, stalled_first, taken };
                let alone = round_trips(line, 0);
                // What is over before it is seen.
                let unseen = (2 * LOOK.as_millis()).div_ceil(trip.as_millis()) as u32;
                for (stalled, share) in [(1, 0.8), (2, 0.8), (4, 0.7)] {
                    let beside = round_trips(line, stalled);
                    let fits = f64::from(beside.saturating_sub(if trip < LOOK { unseen } else { 0 }));
                    assert!(
                        fits * share <= f64::from(alone),
                        "{line:?}: alone {alone}, beside {stalled} {beside}"
                    );
                }
                // However many they are: a frame in each round trip. (Before they stall they are rivals.)
                for stalled in if taken == 0 && trip > LOOK { &[8, 32, 100][..] } else { &[] } {
                    let beside = round_trips(line, *stalled);
                    assert!(
                        beside <= 16_000_000 / LEAST_STREAM + alone,
                        "{line:?}: {beside} beside {stalled}"
                    );
                }
            }
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Open(bool),
    Turn(usize, bool),
    Send(usize, i64),
    Read(usize, u8),
    Reset(usize),
    Acknowledge,
    Pass(u64),
    GiveBack,
    Memory(Memory),
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0..12usize;
    prop_oneof![
        2 => any::<bool>().prop_map(Step::Open),
        2 => (which.clone(), any::<bool>()).prop_map(|(index, is_read)| Step::Turn(index, is_read)),
        8 => (which.clone(), 0..8_000_000i64).prop_map(|(index, most)| Step::Send(index, most)),
        8 => (which.clone(), any::<u8>()).prop_map(|(index, times)| Step::Read(index, times)),
        1 => which.prop_map(Step::Reset),
        6 => Just(Step::Acknowledge),
        4 => (0..100u64).prop_map(Step::Pass),
        1 => Just(Step::GiveBack),
        1 => prop_oneof![Just(Memory::Plenty), Just(Memory::Short)].prop_map(Step::Memory),
    ]
}

fn run(model: &mut Model, step: Step) {
    match step {
        Step::Open(is_read) if model.bodies.len() < 12 => {
            model.window.wake();
            model.charged = model.charged.max(model.window.cost());
            model.open(is_read);
        }
        Step::Open(_) => {}
        Step::Turn(index, is_read) => {
            if let Some(body) = model.bodies.get_mut(index) {
                body.is_read = is_read;
            }
        }
        Step::Send(index, mut most) => {
            while most > 0 {
                let some = model.send(index, most);
                most = if some == 0 { 0 } else { most - some };
            }
        }
        Step::Read(index, times) => (0..times).for_each(|_| {
            if model.bodies.get(index).is_some_and(|body| body.is_read) {
                model.read(index);
            }
        }),
        Step::Reset(index) => model.reset(index),
        Step::Acknowledge => model.acknowledge(),
        Step::Pass(ms) => model.pass(Duration::from_millis(ms)),
        Step::GiveBack => model.give_back(),
        Step::Memory(memory) => model.memory = memory,
    }
}

proptest! {
    #[test]
    fn what_can_happen_is_paid_for_and_who_is_read_goes_on(
        steps in prop::collection::vec(step(), 0..300), short in any::<bool>(),
    ) {
        let mut model = Model::new(4 << 20);
        for step in steps {
            run(&mut model, step);
            model.check()?;
        }
        // Whatever has become of it, a body that is read comes to its end, beside others that take all they can get.
        model.memory = if short { Memory::Short } else { Memory::Plenty };
        model.bodies.iter_mut().for_each(|body| body.is_read = false);
        run(&mut model, Step::Reset(11));
        run(&mut model, Step::Open(true));
        let (reader, mut left, mut trips) = (model.bodies.len() - 1, 200 * KIB as i64, 0);
        while left > 0 {
            prop_assert!(trips < 100, "{left} bytes are left");
            trips += 1;
            model.acknowledge();
            for index in (0..model.bodies.len()).filter(|index| *index != reader) {
                while model.send(index, i64::MAX) > 0 {}
            }
            loop {
                let some = model.send(reader, left);
                left -= some;
                if some == 0 { break; }
            }
            while model.read(reader) {}
            model.pass(LOOK);
            model.check()?;
        }
        // All of them have gone, and another comes: it costs what it would alone.
        while !model.bodies.is_empty() {
            model.reset(0);
            model.check()?;
        }
        prop_assert_eq!(model.connection.held, 0);
        model.open(true);
        for _ in 0..200 {
            model.acknowledge();
            while model.send(0, i64::MAX) > 0 {}
            while model.read(0) {}
            model.pass(LOOK);
            model.check()?;
        }
        let sizes = model.window.sizes;
        prop_assert_eq!(sizes.all, sizes.read);
        prop_assert_eq!(model.window.cost(), window_cost(u64::from(sizes.all)));
    }
}
