//! What happened: the events a limiter reports to its algorithm.
//!
//! Times are nanoseconds of one monotonic clock, given by the caller; nothing here reads a clock.

/// How a piece of admitted work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// The work was done (its own errors, such as a 404, included): its latency counts.
    Success,
    /// The worker said, or showed, that it has too much to do: 503, 429, 504, a reset, a failed dial.
    Overload,
    /// The end says nothing about load (an internal error, work that was never measured).
    Ignore,
    /// Nobody reported: a censored sample, the work took *at least* this long. It may raise a latency
    /// estimate, never lower it.
    Canceled,
}

/// The limiter's state at one moment.
///
/// ```
/// use tidegate_control::sample::View;
///
/// let mut at = View::default();
/// (at.now, at.in_flight, at.limit) = (1_000_000, 8, 8);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct View {
    /// Nanoseconds of the limiter's monotonic clock.
    pub now: u64,
    /// Nanoseconds since the Unix epoch, for phases shared between replicas.
    pub unix: u64,
    /// Units held (before the release, in a [`Sample`]).
    pub in_flight: u64,
    /// Callers that wait in the queue.
    pub waiting: u64,
    /// The limit in force.
    pub limit: u64,
    /// ∫ in_flight dt since the limiter was made, in unit-nanoseconds, modulo 2⁶⁴: two of these differ by
    /// the area between them (mean in flight = area / elapsed).
    pub area: u64,
}

/// One completion, as the limiter saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sample {
    /// The limiter just before this permit came back.
    pub at: View,
    /// Nanoseconds between admission and release.
    pub elapsed: u64,
    /// Nanoseconds spent waiting before admission.
    pub queued: u64,
    /// Units the permit held.
    pub weight: u64,
    /// How the work ended.
    pub outcome: Outcome,
    /// False if the answer came too late for its deadline or for a client that had gone: the origin's time
    /// was real, the use was none.
    pub in_time: bool,
    /// The kind of work (0..[`KINDS`]), so that like is compared with like.
    pub kind: u8,
    /// Units the worker said it has in flight, from all its callers, as the work ended. A hint from outside: whoever
    /// uses it must not trust it.
    pub reported: Option<u64>,
}

impl Sample {
    /// The end of work of one unit and the first kind, that did not wait before, ended in time, and took `elapsed`
    /// nanoseconds; the worker said nothing of itself.
    ///
    /// ```
    /// use tidegate_control::limit::{Aimd, Bounds, LimitAlgorithm};
    /// use tidegate_control::sample::{Outcome, Sample, View};
    ///
    /// let mut limit = Aimd::new(Bounds::default(), None);
    /// let before = limit.limit();
    /// let mut sample = Sample::new(View::default(), 20_000_000, Outcome::Overload);
    /// sample.queued = 5_000_000;
    /// assert!(limit.on_sample(&sample) < before);
    /// ```
    #[must_use]
    pub const fn new(at: View, elapsed: u64, outcome: Outcome) -> Self {
        Self { at, elapsed, queued: 0, weight: 1, outcome, in_time: true, kind: 0, reported: None }
    }
}

/// How many kinds of work are told apart. Eight keeps per-kind statistics populated at low rates.
pub const KINDS: usize = 8;
