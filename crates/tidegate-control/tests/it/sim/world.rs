//! Clients, gates, origin, and the events between them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use tidegate_control::limit::Knee;

use super::chance::Chance;
use super::gate::{Answer, Gate};
use super::scenario::{Scenario, at};

const SECOND: f64 = 1e9;
const TICK: u64 = 10_000_000;
/// Seconds until a client in a loop sends its next request, and until one tries again that was refused.
const PAUSE: f64 = 0.000_05;
const BACKOFF: f64 = 0.01;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive,
    AtOrigin(usize),
    Served(usize),
    Tick,
}

struct Request {
    gate: usize,
    arrived: u64,
    started: u64,
    /// When its client leaves, if it is not done by then.
    gone: u64,
    work: u64,
    kind: u8,
}

/// What a run has shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Answers in time inside the window, over the lesser of what was offered and what the origin can do.
    pub(super) seed: u64,
    pub(super) goodput: f64,
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) in_flight: f64,
    /// The share of callers that were refused.
    pub(super) refused: f64,
    /// The share of waits that ended by their predicted p90, at the end.
    pub(super) coverage: f64,
    /// Mean limit, all gates together.
    pub(super) limit: f64,
    /// The share of the origin's time for work that was begun when its client had left.
    pub(super) wasted: f64,
    /// The share of time in which a gate says that the others do not keep the beat.
    pub(super) alone: f64,
    /// The share of admitted requests that waited in the queue.
    pub(super) queued: f64,
}

struct World<'a> {
    scenario: &'a Scenario,
    now: u64,
    chance: Chance,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    numbers: u64,
    gates: Vec<Gate>,
    requests: Vec<Request>,
    inner: VecDeque<usize>,
    busy: usize,
    out: Vec<usize>,
    latencies: Vec<u32>,
    good: u64,
    came: u64,
    refused: u64,
    waited: u64,
    worked: f64,
    wasted: f64,
    seed: u64,
}

/// Runs `scenario` once.
pub(super) fn run(scenario: &Scenario, seed: u64, trace: bool) -> Seen {
    let timeout = (scenario.timeout * SECOND) as u64;
    let gates = (0..scenario.gates)
        .map(|number| {
            let knee = if scenario.gates > 1 { Knee::shared() } else { Knee::new() };
            // Clocks that differ by up to ± the skew, evenly.
            let place = (number * 7 % scenario.gates) as f64 / scenario.gates as f64 - 0.5;
            Gate::new(Box::new(knee), timeout, (place * 2.0 * scenario.skew * SECOND) as i64)
        })
        .collect();
    let world = World {
        scenario,
        now: 0,
        chance: Chance::new(seed),
        events: BinaryHeap::new(),
        numbers: 0,
        gates,
        requests: Vec::new(),
        inner: VecDeque::new(),
        busy: 0,
        out: Vec::new(),
        latencies: Vec::new(),
        good: 0,
        came: 0,
        refused: 0,
        waited: 0,
        worked: 0.0,
        wasted: 0.0,
        seed,
    };
    world.run(trace)
}

impl World<'_> {
    fn later(&mut self, seconds: f64, event: Event) {
        self.numbers += 1;
        self.events.push(Reverse((self.now + (seconds * SECOND) as u64, self.numbers, event)));
    }

    fn seconds(&self) -> f64 {
        self.now as f64 / SECOND
    }

    fn run(mut self, trace: bool) -> Seen {
        let scenario = self.scenario;
        let end = (scenario.window.1 * SECOND) as u64;
        let (mut ideal, mut limits, mut held, mut alone, mut ticks) = (0.0, 0.0, 0.0, 0.0, 0.0);
        let mut told = 0;
        for _ in 0..scenario.closed.max(1) {
            self.later(0.0, Event::Arrive);
        }
        self.later(0.01, Event::Tick);
        while let Some(Reverse((now, _, event))) = self.events.pop() {
            if now >= end {
                break;
            }
            self.now = now;
            match event {
                Event::Arrive => self.arrive(),
                Event::AtOrigin(id) => self.reach_origin(id),
                Event::Served(id) => self.served(id),
                Event::Tick => {
                    self.later(TICK as f64 / SECOND, Event::Tick);
                    for gate in 0..self.gates.len() {
                        self.visit(gate, |_| ());
                    }
                    self.employ();
                    if self.seconds() >= scenario.window.0 {
                        let capacity = scenario.capacity(self.seconds());
                        ideal += capacity.min(scenario.offered(self.seconds())) * TICK as f64 / SECOND;
                        limits += self.gates.iter().map(Gate::limit).sum::<u64>() as f64;
                        held += self.gates.iter().map(Gate::in_flight).sum::<u64>() as f64;
                        alone += self.gates.iter().filter(|gate| gate.is_alone()).count() as f64;
                        ticks += 1.0;
                    }
                    if trace && self.now / 100_000_000 > told {
                        told = self.now / 100_000_000;
                        println!(
                            "{:6.2} {} drain {} {}",
                            self.seconds(),
                            self.good,
                            self.busy,
                            self.gates[0].describe()
                        );
                    }
                }
            }
        }
        self.latencies.sort_unstable();
        let quantile = |q: f64| {
            let place = (self.latencies.len() as f64 * q) as usize;
            self.latencies.get(place).map_or(f64::NAN, |micros| f64::from(*micros) / 1e3)
        };
        Seen {
            seed: self.seed,
            goodput: self.good as f64 / ideal,
            p50: quantile(0.5),
            p99: quantile(0.99),
            refused: self.refused as f64 / self.came as f64,
            in_flight: held / ticks,
            limit: limits / ticks,
            wasted: self.wasted / self.worked,
            alone: alone / ticks / scenario.gates as f64,
            queued: self.waited as f64 / (self.came - self.refused) as f64,
            coverage: self.gates.iter().map(Gate::coverage).sum::<f64>() / self.gates.len() as f64,
        }
    }

    /// Does something at a gate, and sends on to the origin what it lets through.
    fn visit<R>(&mut self, gate: usize, work: impl FnOnce((&mut Gate, &mut Vec<usize>)) -> R) -> R {
        let mut out = std::mem::take(&mut self.out);
        let desk = &mut self.gates[gate];
        desk.enter(self.now);
        let result = work((desk, &mut out));
        desk.leave(&mut out);
        let delay = at(self.scenario.delay, self.seconds());
        for id in out.drain(..) {
            self.requests[id].started = self.now;
            let way = delay * (0.9 + 0.2 * self.chance.uniform());
            self.later(way, Event::AtOrigin(id));
        }
        self.out = out;
        result
    }

    fn arrive(&mut self) {
        if self.scenario.closed == 0 {
            let rate = self.scenario.offered(self.seconds());
            let gap = self.chance.exponential(1.0 / rate);
            self.later(gap, Event::Arrive);
        }
        let (work, kind) = self.scenario.work.draw(&mut self.chance);
        let gate = (self.chance.next() >> 33) as usize % self.gates.len();
        let id = self.requests.len();
        let work = (work * SECOND) as u64;
        let leaves = self.scenario.leave.0 > 0.0 && self.chance.uniform() < self.scenario.leave.0;
        let patience = if leaves { self.scenario.leave.1 } else { self.scenario.timeout };
        let gone = self.now + (patience * SECOND) as u64;
        self.requests.push(Request { gate, arrived: self.now, started: 0, gone, work, kind });
        let answer = self.visit(gate, |(gate, out)| gate.arrive(id, gone, out));
        if self.seconds() >= self.scenario.window.0 {
            self.came += 1;
            self.refused += u64::from(matches!(answer, Answer::Refused));
        }
        if self.scenario.closed > 0 && matches!(answer, Answer::Refused) {
            self.later(BACKOFF, Event::Arrive);
        }
    }

    fn reach_origin(&mut self, id: usize) {
        self.inner.push_back(id);
        self.employ();
    }

    /// Free workers take what waits inside the origin.
    fn employ(&mut self) {
        while (self.busy as f64) < at(self.scenario.workers, self.seconds()) {
            let Some(id) = self.inner.pop_front() else { break };
            self.busy += 1;
            let beside = (self.busy + self.inner.len() - 1) as f64;
            let work = self.requests[id].work as f64 / SECOND * (1.0 + self.scenario.contention * beside);
            if self.seconds() >= self.scenario.window.0 {
                self.worked += work;
                if self.requests[id].gone <= self.now {
                    self.wasted += work;
                }
            }
            self.later(work, Event::Served(id));
        }
    }

    fn served(&mut self, id: usize) {
        // What the origin has when it answers, this one included.
        let reported = self.scenario.reports.then(|| (self.busy + self.inner.len()) as u64);
        self.busy -= 1;
        self.employ();
        let Request { gate, arrived, started, gone, kind, .. } = self.requests[id];
        let latency = self.now - arrived;
        let in_time = self.now <= gone;
        if in_time && self.seconds() >= self.scenario.window.0 {
            self.good += 1;
            self.waited += u64::from(started > arrived);
            self.latencies.push((latency / 1000) as u32);
        }
        if self.scenario.closed > 0 {
            let pause = self.chance.exponential(PAUSE);
            self.later(pause, Event::Arrive);
        }
        self.visit(gate, |(gate, _)| gate.complete(started, started - arrived, (kind, in_time), reported));
    }
}
