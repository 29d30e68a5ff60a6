//! The workers: each request takes one for its service time, in the order of arrival.
//!
//! A worker that finishes takes the next request at the moment it *was due* to finish, not when a thread got
//! round to saying so: a late thread delays one answer and never costs capacity while requests wait. Pure: the
//! time, in nanoseconds since the start, is an argument.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::oneshot;

use crate::clock::nanos;
use crate::random::Random;
use crate::spec::Distribution;

/// Requests that can wait inside. The point of this origin is a queue that is far too long; this bound only
/// keeps an hour of overload from taking the machine down (about 100 bytes each).
const LONGEST_QUEUE: usize = 1_000_000;

/// What the origin can do.
///
/// ```
/// use tidegate_lab::origin::OriginSettings;
///
/// let mut settings = OriginSettings::default();
/// settings.workers = 4;
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct OriginSettings {
    /// Requests worked on at once.
    pub workers: usize,
    /// Mean time that one takes.
    pub mean: Duration,
    /// How these times scatter.
    pub distribution: Distribution,
    /// Time that passes before a request reaches the queue, without taking a worker. A client that leaves
    /// meanwhile reaches it all the same.
    pub delay: Duration,
    /// Seed of the service times.
    pub seed: u64,
    /// Say in every answer how many requests are inside (`X-Inflight`).
    pub report: bool,
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
            report: false,
        }
    }
}

/// What the origin has done. Times are nanoseconds.
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
    /// Time since the origin began to serve.
    pub elapsed_ns: u64,
    /// Requests within their delay now.
    pub delayed: u64,
    /// Requests that wait for a worker now.
    pub waiting: u64,
    /// Requests worked on now.
    pub working: u64,
    /// Most requests inside at once: delayed, waiting or worked on.
    pub peak: u64,
}

/// Something in a heap, ordered by its time and, within it, by its number: the earliest comes out first.
#[derive(Debug)]
struct Timed<T> {
    at: u64,
    number: u64,
    what: T,
}

impl<T> PartialEq for Timed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl<T> Eq for Timed<T> {}
impl<T> PartialOrd for Timed<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Timed<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number)).reverse()
    }
}

/// A request inside.
#[derive(Debug)]
struct Job {
    /// Whom to tell that it is done; closed when the connection is.
    done: oneshot::Sender<()>,
    /// When its client gives up, although a proxy between may keep the connection.
    gone_at: u64,
}

/// The queue and the workers.
#[derive(Debug)]
pub(crate) struct Workers {
    pub(crate) settings: OriginSettings,
    delayed: BinaryHeap<Timed<Job>>,
    queue: VecDeque<Job>,
    running: BinaryHeap<Timed<Job>>,
    random: Random,
    numbered: u64,
    stats: OriginStats,
}

impl Workers {
    pub(crate) fn new(settings: OriginSettings) -> Self {
        Self {
            settings,
            delayed: BinaryHeap::new(),
            queue: VecDeque::new(),
            running: BinaryHeap::new(),
            random: Random::new(settings.seed),
            numbered: 0,
            stats: OriginStats::default(),
        }
    }

    /// A request comes, of a client that gives up at `gone_at`; the receiver resolves when it is done. Dropping
    /// it changes nothing: the work is done all the same. `None` if the queue has reached its bound.
    pub(crate) fn arrive(&mut self, now: u64, gone_at: u64) -> Option<oneshot::Receiver<()>> {
        self.advance(now);
        self.stats.arrived += 1;
        if self.delayed.len() + self.queue.len() >= LONGEST_QUEUE {
            self.stats.refused += 1;
            return None;
        }
        let (done, receiver) = oneshot::channel();
        let job = Job { done, gone_at };
        if self.settings.delay.is_zero() {
            self.queue.push_back(job);
            self.start(now);
        } else {
            let number = self.number();
            let at = now.saturating_add(nanos(self.settings.delay));
            self.delayed.push(Timed { at, number, what: job });
        }
        let inside = (self.delayed.len() + self.queue.len() + self.running.len()) as u64;
        self.stats.peak = self.stats.peak.max(inside);
        Some(receiver)
    }

    /// Lets everything happen that is due by `now`, in its order and at its own time.
    pub(crate) fn advance(&mut self, now: u64) {
        while let Some(at) = self.next().filter(|at| *at <= now) {
            if self.running.peek().is_some_and(|first| first.at == at) {
                self.finish();
            } else if let Some(Timed { what, .. }) = self.delayed.pop() {
                self.queue.push_back(what);
            }
            self.start(at);
        }
        // More workers may have been set than were there when the last one finished.
        self.start(now);
        self.stats.elapsed_ns = now;
    }

    /// When the next thing is due.
    pub(crate) fn next(&self) -> Option<u64> {
        let first = |heap: &BinaryHeap<Timed<Job>>| heap.peek().map(|first| first.at);
        first(&self.running).into_iter().chain(first(&self.delayed)).min()
    }

    pub(crate) fn stats(&self) -> OriginStats {
        OriginStats {
            delayed: self.delayed.len() as u64,
            waiting: self.queue.len() as u64,
            working: self.running.len() as u64,
            ..self.stats
        }
    }

    fn finish(&mut self) {
        let Some(Timed { at, what: Job { done, gone_at }, .. }) = self.running.pop() else { return };
        let told = done.send(()).is_ok();
        if told && at < gone_at {
            self.stats.served += 1;
        } else {
            self.stats.served_gone += 1;
        }
    }

    fn start(&mut self, now: u64) {
        while self.running.len() < self.settings.workers {
            let Some(job) = self.queue.pop_front() else { return };
            let service = nanos(self.settings.distribution.draw(self.settings.mean, &mut self.random));
            self.stats.busy_ns = self.stats.busy_ns.saturating_add(service);
            if job.done.is_closed() || job.gone_at <= now {
                self.stats.gone_ns = self.stats.gone_ns.saturating_add(service);
            }
            let number = self.number();
            self.running.push(Timed { at: now.saturating_add(service), number, what: job });
        }
    }

    fn number(&mut self) -> u64 {
        self.numbered += 1;
        self.numbered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(workers: usize) -> Workers {
        let distribution = Distribution::Fixed;
        Workers::new(OriginSettings { workers, distribution, ..OriginSettings::default() })
    }

    const MS: u64 = 1_000_000;

    #[test]
    fn a_late_thread_costs_no_capacity() {
        let mut workers = fixed(2);
        let answers: Vec<_> = (0..100).map(|_| workers.arrive(0, u64::MAX).unwrap()).collect();
        // 100 requests of 20 ms on 2 workers take exactly a second, however rarely anybody looks.
        workers.advance(501 * MS);
        assert_eq!(workers.stats().served, 50);
        workers.advance(1000 * MS);
        assert_eq!(workers.next(), None);
        assert_eq!((workers.stats().served, workers.stats().busy_ns), (100, 2_000_000_000));
        drop(answers);
    }

    #[test]
    fn as_many_clients_as_workers_keep_all_of_them_busy() {
        let mut workers = fixed(10);
        let mut answers: Vec<_> = (0..10).map(|_| workers.arrive(0, u64::MAX).unwrap()).collect();
        // A closed loop that answers at once: whoever is told to be done at `now` asks again at `now`.
        while let Some(now) = workers.next().filter(|now| *now < 10_000 * MS) {
            workers.advance(now);
            for answer in &mut answers {
                if answer.try_recv().is_ok() {
                    *answer = workers.arrive(now, u64::MAX).unwrap();
                }
            }
        }
        let stats = workers.stats();
        assert_eq!((stats.elapsed_ns, stats.served), (9_980 * MS, 4_990));
        assert_eq!(stats.busy_ns, 10 * (stats.elapsed_ns + 20 * MS), "never idle");
    }

    #[test]
    fn work_for_clients_that_left_is_done_and_counted() {
        let mut workers = fixed(1);
        let first = workers.arrive(0, u64::MAX).unwrap();
        drop(workers.arrive(0, u64::MAX));
        drop(first);
        workers.advance(40 * MS);
        let stats = workers.stats();
        assert_eq!((stats.served, stats.served_gone, stats.peak), (0, 2, 2));
        assert_eq!(stats.gone_ns, 20 * MS, "the first was already running when its client left");
    }

    #[test]
    fn clients_that_left_a_proxy_in_between_count_as_gone_too() {
        let mut workers = fixed(1);
        // Done in time; given up while it ran; given up before it began.
        let _kept = [30, 30, 35].map(|gone_at| workers.arrive(0, gone_at * MS).unwrap());
        workers.advance(60 * MS);
        let stats = workers.stats();
        assert_eq!((stats.served, stats.served_gone, stats.gone_ns), (1, 2, 20 * MS));
    }

    #[test]
    fn a_delay_takes_no_worker_and_leaving_meanwhile_saves_no_work() {
        let mut workers = fixed(1);
        workers.settings.delay = Duration::from_millis(100);
        let mut stays = workers.arrive(0, u64::MAX).unwrap();
        drop(workers.arrive(10 * MS, u64::MAX));
        workers.advance(99 * MS);
        assert_eq!((workers.stats().delayed, workers.stats().working), (2, 0));
        // Seen late, done at its time: 100 to 120 ms, then the one that left until 140 ms.
        workers.advance(139 * MS);
        assert!(stays.try_recv().is_ok());
        assert_eq!((workers.next(), workers.stats().gone_ns), (Some(140 * MS), 20 * MS));
        workers.advance(140 * MS);
        assert_eq!((workers.stats().served, workers.stats().served_gone), (1, 1));
    }

    #[test]
    fn fewer_workers_take_effect_as_they_finish() {
        let mut workers = fixed(4);
        let _answers: Vec<_> = (0..8).map(|_| workers.arrive(0, u64::MAX).unwrap()).collect();
        workers.settings.workers = 1;
        workers.advance(20 * MS);
        assert_eq!((workers.stats().served, workers.stats().working), (4, 1));
    }
}
