//! The workers: each request takes one for its service time, in the order of arrival.
//!
//! A worker that finishes takes the next request at the moment it *was due* to finish, not when a timer got
//! round to saying so: a late timer delays one answer and never costs capacity.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::random::Random;
use crate::spec::Distribution;

/// Requests that can wait inside. The point of this origin is a queue that is far too long; this bound only
/// keeps an hour of overload from taking the machine down (about 100 bytes each).
const LONGEST_QUEUE: usize = 1_000_000;

/// What the origin can do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OriginSettings {
    /// Requests worked on at once.
    pub workers: usize,
    /// Mean time that one takes.
    pub mean: Duration,
    /// How these times scatter.
    pub distribution: Distribution,
    /// Time that passes before a request reaches the queue, without taking a worker.
    pub delay: Duration,
    /// Seed of the service times.
    pub seed: u64,
}

impl Default for OriginSettings {
    /// 10 workers of 20 ms, exponential: 500 requests a second.
    fn default() -> Self {
        Self {
            workers: 10,
            mean: Duration::from_millis(20),
            distribution: Distribution::Exponential,
            delay: Duration::ZERO,
            seed: 1,
        }
    }
}

/// What the origin has done. Times are nanoseconds of worker time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OriginStats {
    /// Requests that came.
    pub arrived: u64,
    /// Requests answered to a client that was still there.
    pub served: u64,
    /// Requests finished for a client that had left.
    pub served_gone: u64,
    /// Requests refused because the queue had reached its bound.
    pub refused: u64,
    /// Worker time spent in all.
    pub busy_ns: u64,
    /// Worker time of requests whose client had left before the work began.
    pub gone_ns: u64,
    /// Requests that wait for a worker now.
    pub waiting: u64,
    /// Requests worked on now.
    pub working: u64,
    /// Most requests inside at once, waiting or worked on.
    pub peak: u64,
}

#[derive(Debug)]
struct Job {
    arrived: Instant,
    done: oneshot::Sender<()>,
}

/// A job in a worker's hands, ordered by its end.
#[derive(Debug)]
struct Running {
    end: Instant,
    number: u64,
    done: oneshot::Sender<()>,
}

impl PartialEq for Running {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Running {}
impl PartialOrd for Running {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Running {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.end, self.number).cmp(&(other.end, other.number))
    }
}

/// The queue and the workers.
#[derive(Debug)]
pub(crate) struct Workers {
    pub(crate) settings: OriginSettings,
    queue: VecDeque<Job>,
    running: BinaryHeap<Reverse<Running>>,
    random: Random,
    started: u64,
    stats: OriginStats,
}

impl Workers {
    pub(crate) fn new(settings: OriginSettings) -> Self {
        let random = Random::new(settings.seed);
        let (queue, running) = (VecDeque::new(), BinaryHeap::new());
        Self { settings, queue, running, random, started: 0, stats: OriginStats::default() }
    }

    /// A request comes; the receiver resolves when it is done. Dropping it changes nothing: the work is done
    /// all the same. `None` if the queue has reached its bound.
    pub(crate) fn arrive(&mut self, now: Instant) -> Option<oneshot::Receiver<()>> {
        self.advance(now);
        self.stats.arrived += 1;
        if self.queue.len() >= LONGEST_QUEUE {
            self.stats.refused += 1;
            return None;
        }
        let (done, receiver) = oneshot::channel();
        self.queue.push_back(Job { arrived: now, done });
        self.start(now);
        let inside = (self.queue.len() + self.running.len()) as u64;
        self.stats.peak = self.stats.peak.max(inside);
        Some(receiver)
    }

    /// Finishes what is due by `now` and gives the workers their next requests. Returns when it has to be
    /// called again.
    pub(crate) fn advance(&mut self, now: Instant) -> Option<Instant> {
        while self.running.peek().is_some_and(|Reverse(next)| next.end <= now) {
            let Some(Reverse(Running { end, done, .. })) = self.running.pop() else { break };
            match done.send(()) {
                Ok(()) => self.stats.served += 1,
                Err(()) => self.stats.served_gone += 1,
            }
            self.start(end);
        }
        self.start(now);
        self.running.peek().map(|Reverse(next)| next.end)
    }

    fn start(&mut self, at: Instant) {
        while self.running.len() < self.settings.workers {
            let Some(Job { arrived, done }) = self.queue.pop_front() else { return };
            let service = self.settings.distribution.draw(self.settings.mean, &mut self.random);
            let nanos = u64::try_from(service.as_nanos()).unwrap_or(u64::MAX);
            self.stats.busy_ns = self.stats.busy_ns.saturating_add(nanos);
            if done.is_closed() {
                self.stats.gone_ns = self.stats.gone_ns.saturating_add(nanos);
            }
            self.started += 1;
            let end = at.max(arrived) + service;
            self.running.push(Reverse(Running { end, number: self.started, done }));
        }
    }

    pub(crate) fn stats(&self) -> OriginStats {
        OriginStats { waiting: self.queue.len() as u64, working: self.running.len() as u64, ..self.stats }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(workers: usize) -> Workers {
        let distribution = Distribution::Fixed;
        Workers::new(OriginSettings { workers, distribution, ..OriginSettings::default() })
    }

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_late_timer_costs_no_capacity() {
        let mut workers = fixed(2);
        let start = Instant::now();
        let answers: Vec<_> = (0..100).map(|_| workers.arrive(start).unwrap()).collect();
        // 100 requests of 20 ms on 2 workers take exactly a second, however rarely anybody looks.
        workers.advance(start + 501 * MS);
        assert_eq!(workers.stats().served, 50);
        assert_eq!(workers.advance(start + 1000 * MS), None);
        assert_eq!((workers.stats().served, workers.stats().busy_ns), (100, 2_000_000_000));
        drop(answers);
    }

    #[test]
    fn work_for_clients_that_left_is_done_and_counted() {
        let mut workers = fixed(1);
        let start = Instant::now();
        let first = workers.arrive(start).unwrap();
        drop(workers.arrive(start));
        drop(first);
        workers.advance(start + 40 * MS);
        let stats = workers.stats();
        assert_eq!((stats.served, stats.served_gone, stats.peak), (0, 2, 2));
        assert_eq!(stats.gone_ns, 20_000_000, "the first was already running when its client left");
    }

    #[test]
    fn fewer_workers_take_effect_as_they_finish() {
        let mut workers = fixed(4);
        let start = Instant::now();
        let _answers: Vec<_> = (0..8).map(|_| workers.arrive(start).unwrap()).collect();
        workers.settings.workers = 1;
        workers.advance(start + 20 * MS);
        assert_eq!((workers.stats().served, workers.stats().working), (4, 1));
    }
}
