//! What every handle of one limiter shares: the fast path, and the way to the desk.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::task::Waker;

use tidegate_control::queue::{ClassQueue, Place};
use tidegate_control::sample::{Outcome, Sample, View};
use tokio::sync::Notify;

use crate::clock::Clock;
use crate::demand::Demand;
use crate::refused::Refused;
use crate::sync::{Mutex, lock};
use crate::wakes::Wakes;

use super::alarm::SLACK;
use super::builder::LimiterBuilder;
use super::desk::Desk;
use super::door::part_of;
use super::outlook::Outlook;
use super::ringer::Ringer;
use super::seat::{Grant, Leaving};
use super::seats::Seats;
use super::state::{Gate, MAX_LIMIT};
use super::stats::{Counts, LimiterStats};

/// A limiter.
pub(super) struct Shared {
    pub(super) gate: Line<Gate>,
    /// Changed under the desk's lock only, together with the gate.
    limit: AtomicU64,
    pub(super) counts: Counts,
    pub(super) clock: Clock,
    pub(super) name: Arc<str>,
    /// There is an algorithm to feed: every event passes the desk with its time.
    pub(super) measured: bool,
    pub(super) tracked: bool,
    /// It neither measures nor tracks, and enforces: there are short ways past the desk.
    pub(super) plain: bool,
    /// Whoever comes now need not wait long. A hint: the desk knows.
    pub(super) brisk: AtomicBool,
    /// The program's thread will ring, whoever leans on it. A hint too.
    pub(super) thread_rings: AtomicBool,
    /// A holder has one permit at most.
    pub(super) one_each: bool,
    pub(super) dry_run: bool,
    pub(super) queue_capacity: usize,
    pub(super) max_wait: u64,
    pub(super) patience: u64,
    /// The longest wait of a caller that names no time.
    pub(super) usual_wait: u64,
    pub(super) seats: Seats,
    pub(super) desk: Line<Mutex<Desk>>,
    /// Readiness changed, or the last unit of a draining limiter came back.
    pub(super) changed: Notify,
}

/// On a cache line of its own: what one thread writes all the time does not slow down others who read its neighbours.
#[repr(align(64))]
pub(super) struct Line<T>(T);

impl<T> Deref for Line<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

/// A permit's end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ending {
    pub(super) weight: u64,
    /// When it was admitted; 0 if that was not measured.
    pub(super) since: u64,
    pub(super) queued: u64,
    pub(super) holder: Option<u32>,
    pub(super) kind: u8,
    pub(super) outcome: Outcome,
    pub(super) in_time: bool,
    /// Units the worker said it has in flight; 0 if it said nothing.
    pub(super) reported: u32,
}

impl Ending {
    /// Of a permit that was given without a look at the clock.
    #[inline]
    pub(super) fn unmeasured(demand: &Demand) -> Self {
        Self::of(demand, Grant { at: 0, exact: false, holder: None })
    }

    /// Of a permit that was granted to a caller who came at `came`.
    #[inline(always)]
    pub(super) fn after(weight: u64, kind: u8, grant: Grant, came: u64) -> Self {
        Self {
            weight,
            since: if grant.exact { grant.at } else { 0 },
            queued: grant.at.saturating_sub(came),
            holder: grant.holder,
            kind,
            outcome: Outcome::Canceled,
            in_time: true,
            reported: 0,
        }
    }

    /// Of a permit that was given at once.
    #[inline]
    pub(super) fn of(demand: &Demand, grant: Grant) -> Self {
        Self { since: grant.at, ..Self::after(demand.weight, demand.kind, grant, grant.at) }
    }
}

impl Shared {
    pub(super) fn new(builder: LimiterBuilder) -> Self {
        let limit = match (&builder.algorithm, builder.limit) {
            (Some(algorithm), _) => algorithm.limit().clamp(1, MAX_LIMIT),
            (None, limit) => limit.unwrap_or(1).min(MAX_LIMIT),
        };
        let measured = builder.algorithm.is_some();
        let gate = Line(Gate::new(limit));
        let tracked = builder.track_occupants || builder.one_each;
        let plain = !(measured || tracked || builder.dry_run);
        if !plain {
            gate.set_desk(true);
        }
        let outlook = Outlook::new(measured);
        let queue = ClassQueue::new(builder.queue.capacity);
        let mut desk = Desk::new(queue, outlook, builder.algorithm);
        if builder.one_each {
            desk.register.keep_names();
        }
        Self {
            gate,
            limit: AtomicU64::new(limit),
            counts: Counts::default(),
            clock: Clock::start(),
            name: builder.name.as_ref().into(),
            measured,
            tracked,
            plain,
            brisk: AtomicBool::new(false),
            thread_rings: AtomicBool::new(false),
            one_each: builder.one_each,
            dry_run: builder.dry_run,
            queue_capacity: builder.queue.capacity,
            max_wait: builder.queue.max_wait,
            patience: builder.queue.patience,
            usual_wait: builder.queue.max_wait.min(part_of(builder.queue.patience)),
            seats: Seats::new(),
            desk: Line(Mutex::new(desk)),
            changed: Notify::new(),
        }
    }

    #[inline]
    pub(super) fn limit(&self) -> u64 {
        self.limit.load(Acquire)
    }

    /// Units held. Exact under the desk's lock.
    #[inline]
    pub(super) fn in_flight(&self) -> u64 {
        held(self.limit(), self.gate.read().free())
    }

    /// Puts the limit where the algorithm or the operator wants it. The desk's lock is held.
    pub(super) fn resize(&self, limit: u64) {
        let limit = limit.min(MAX_LIMIT);
        let old = self.limit.swap(limit, Release);
        if old != limit {
            self.gate.resize(old, limit);
        }
    }

    /// Admits without the desk, if nobody waits and nothing is measured: one compare-and-swap and a count.
    #[inline]
    pub(super) fn admit_at_once(&self, weight: u64) -> bool {
        match self.gate.take_if_open(weight) {
            Some(left) => {
                self.counts.admit(weight, held(self.limit.load(Relaxed), left));
                true
            }
            None => false,
        }
    }

    /// Does every change pass the desk, watched or not?
    pub(super) fn always_at_desk(&self) -> bool {
        !self.plain
    }

    /// Goes to the desk: enters with the time, does `work`, dispatches, and runs wakers when the lock is free.
    pub(super) fn visit<R>(&self, work: impl FnOnce(&mut Desk, &mut Wakes) -> R) -> R {
        let read = self.clock.now();
        let mut wakes = Wakes::default();
        let mut desk = lock(&self.desk);
        desk.enter(self, read);
        let result = work(&mut desk, &mut wakes);
        desk.tick(self, &mut wakes, false);
        desk.dispatch(self, &mut wakes);
        let mut tell = desk.draining && self.in_flight() == 0 && desk.queue.is_empty();
        if desk.watchers > 0 {
            let kind = desk.readiness_kind(self);
            tell |= kind != desk.told;
            desk.told = kind;
        }
        drop(desk);
        wakes.run();
        if tell {
            self.changed.notify_waiters();
        }
        result
    }

    /// A permit comes back.
    #[inline]
    pub(super) fn release(&self, ending: &Ending) {
        if ending.since == 0 {
            if self.plain && self.gate.read().waiting() {
                self.hand_over(ending.weight);
            } else if self.gate.give(ending.weight).concerns_desk() {
                self.dispatch();
            }
        } else {
            self.complete(ending);
        }
    }

    /// Units came back to a limiter in which somebody waits.
    #[cold]
    #[inline(never)]
    pub(super) fn dispatch(&self) {
        self.visit(|_, _| ());
    }

    /// A measured permit comes back.
    #[inline(never)]
    fn complete(&self, ending: &Ending) {
        self.visit(|desk, _| {
            let elapsed = desk.now().saturating_sub(ending.since);
            let mut sample = Sample::new(View::default(), elapsed, ending.outcome); // the view: at the desk
            (sample.queued, sample.weight, sample.kind) = (ending.queued, ending.weight, ending.kind);
            sample.in_time = ending.in_time;
            sample.reported = (ending.reported > 0).then_some(u64::from(ending.reported));
            desk.complete(self, sample);
            desk.give_back(self, ending.weight, ending.holder);
        });
    }

    /// A ticket goes, for the reason that `count` counts.
    pub(super) fn leave(
        &self,
        seat: u32,
        place: Place,
        weight: u64,
        count: impl FnOnce(&Counts) -> &AtomicU64,
    ) {
        // What stood there may run foreign code when it is dropped: not under the lock.
        let _entry = self.visit(|desk, _| {
            let entry = match self.seats.get(seat)?.leave() {
                Leaving::Place => desk.take_out(seat, place),
                Leaving::Grant(grant) => {
                    desk.give_back(self, weight, grant.holder);
                    None
                }
                Leaving::Nothing => return None,
            };
            count(&self.counts).fetch_add(1, Relaxed);
            entry
        });
    }

    /// A ticket's time is over: `Err`, unless capacity was handed over at the last moment.
    #[cold]
    pub(super) fn expire(&self, seat: u32, place: Place) -> Option<Result<Grant, Box<Refused>>> {
        let (answer, _entry) = self.visit(|desk, _| {
            let Some(at) = self.seats.get(seat) else { return (None, None) };
            if let Some(answer) = at.take() {
                return (Some(answer), None);
            }
            let entry = if at.leave() == Leaving::Place { desk.take_out(seat, place) } else { None };
            (entry.as_ref().map(|entry| Err(Box::new(desk.expired(self, entry)))), entry)
        });
        answer
    }

    /// Units that would be admitted before a waiting ticket.
    pub(super) fn ahead(&self, place: Place) -> u64 {
        lock(&self.desk).queue.ahead(place).unwrap_or(0)
    }

    /// Leaves a waker with a waiting ticket; does it lean on the alarm that `ringer` rings from now on? `None`: it has its
    /// answer.
    pub(super) fn park(
        self: &Arc<Self>,
        place: Place,
        waker: &Waker,
        ringer: Option<Ringer>,
    ) -> Option<bool> {
        let read = ringer.map(|_| self.clock.now());
        // A waker's clone and its drop may run foreign code: not under the lock.
        let waker = waker.clone();
        let mut desk = lock(&self.desk);
        let desk_now = &mut *desk;
        // Without an alarm nothing bounds the age of the last reading: this may be a ticket that was made long ago.
        if read.is_some_and(|read| read.saturating_sub(desk_now.now()) > SLACK) {
            desk_now.read_the_clock_next();
        }
        let waiter = desk_now.queue.get_mut(place)?;
        let leaning = ringer.and_then(|ringer| Some((ringer, desk_now.alarms.lean(ringer)?)));
        waiter.leans = leaning.as_ref().map(|(_, leaning)| leaning.on);
        let leans = leaning.is_some();
        let setting = leaning.and_then(|(ringer, leaning)| {
            let setting = leaning.set?;
            self.hear(ringer, true);
            Some(setting)
        });
        let _old = waiter.waker.replace(waker);
        drop(desk);
        if let Some(setting) = setting {
            setting.set(self);
        }
        Some(leans)
    }

    /// The figures of this moment.
    pub(super) fn stats(&self) -> LimiterStats {
        self.stats_at(&lock(&self.desk))
    }

    /// The figures of this moment, for who is at the desk.
    pub(super) fn stats_at(&self, desk: &Desk) -> LimiterStats {
        let (limit, free) = (self.limit(), self.gate.read().free());
        let mut stats = LimiterStats {
            limit,
            in_flight: held(limit, free),
            available: u64::try_from(free).unwrap_or(0),
            overcommitted: u64::try_from(free.saturating_neg()).unwrap_or(0),
            waiting: desk.queue.len() as u64,
            queue_capacity: self.queue_capacity as u64,
            ..LimiterStats::default()
        };
        self.counts.read_into(&mut stats);
        stats.admitted = stats.admitted.wrapping_add(desk.uncounted());
        stats
    }
}

/// Units held when `free` of `limit` are free.
#[inline]
pub(super) fn held(limit: u64, free: i64) -> u64 {
    u64::try_from((limit as i64).saturating_sub(free)).unwrap_or(0)
}
