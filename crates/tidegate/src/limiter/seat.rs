//! One waiting caller's seat: where the limiter leaves its answer, and where the caller takes it without a lock.
//!
//! Only who holds the desk's lock answers; the caller takes the answer with one compare-and-swap, which is where a
//! claim meets a [revocation](Seat::revoke). Wakers run after the desk is unlocked.

use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::task::Waker;

use tidegate_control::queue::Criticality;
use tidegate_control::wait::Prediction;

use crate::refused::Refused;
use crate::sync::{AtomicU64, Mutex, lock};

use super::occupants::Who;

/// Nothing yet.
const WAITING: u64 = 0;
/// Capacity was handed over and has not been claimed.
const GRANTED: u64 = 1;
/// The same, at a moment that the clock was read for.
const GRANTED_EXACTLY: u64 = 2;
/// Refused while waiting.
const REFUSED: u64 = 3;
/// The caller has its answer, or has gone.
const LEFT: u64 = 4;

/// Nobody in the register.
const NO_HOLDER: u32 = u32::MAX;

/// Capacity handed over to a waiting caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    /// When.
    pub(super) at: u64,
    /// Was the clock read for it?
    pub(super) exact: bool,
    /// The holder's number in the register, if holders are tracked.
    pub(super) holder: Option<u32>,
}

/// A seat, on a cache line of its own.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Seat {
    state: AtomicU64,
    // What a grant says: written before the state says that there is one.
    at: AtomicU64,
    weight: AtomicU64,
    /// The holder, and above it the class.
    holder: AtomicU64,
    /// Set before the state says so; boxed, because hardly any seat ever has one.
    refused: Mutex<Option<Box<Refused>>>,
}

/// Who waits, as the queue has it; read and changed at the desk only.
#[derive(Debug)]
pub(super) struct Waiter {
    /// The number of its seat.
    pub(super) seat: u32,
    /// Of the caller, once it has been polled.
    pub(super) waker: Option<Waker>,
    /// The shared alarm it leaves the end of its time to.
    pub(super) leans: Option<u8>,
    /// Was the clock read when it came?
    pub(super) exact: bool,
    /// When the wait ends without an answer.
    pub(super) expires: u64,
    /// What few have: it is not carried along for the others.
    pub(super) more: Option<Box<More>>,
}

/// What not every waiter has.
#[derive(Debug)]
pub(super) struct More {
    /// The wait that was predicted, to be compared with what happens.
    pub(super) predicted: Option<Prediction>,
    pub(super) who: Who,
}

impl Default for Waiter {
    #[inline(always)]
    fn default() -> Self {
        Self { seat: u32::MAX, waker: None, leans: None, exact: false, expires: 0, more: None }
    }
}

impl Waiter {
    /// The name it is listed under.
    pub(super) fn who(&self) -> &Who {
        self.more.as_ref().map_or(&None, |more| &more.who)
    }

    /// The wait that was predicted.
    pub(super) fn predicted(&self) -> Option<Prediction> {
        self.more.as_ref().and_then(|more| more.predicted)
    }
}

impl More {
    /// `None` if there is nothing to carry.
    #[inline(always)]
    pub(super) fn of(predicted: Option<Prediction>, who: Who) -> Option<Box<Self>> {
        (predicted.is_some() || who.is_some()).then(|| Box::new(Self { predicted, who }))
    }
}

/// What a leaving ticket left behind.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Leaving {
    /// Its place in the queue.
    Place,
    /// Capacity that was granted and not claimed.
    Grant(Grant),
    /// Nothing.
    Nothing,
}

impl Seat {
    /// One that nobody sits on.
    pub(super) fn new() -> Self {
        Self {
            state: AtomicU64::new(LEFT),
            at: AtomicU64::new(0),
            weight: AtomicU64::new(0),
            holder: AtomicU64::new(0),
            refused: Mutex::new(None),
        }
    }

    /// Hands capacity over. False if the caller no longer waits. The desk's lock is held.
    #[inline]
    pub(super) fn grant(&self, grant: Grant, weight: u64, class: Criticality) -> bool {
        // Whoever takes a seat from this state holds the same lock.
        if self.state.load(Relaxed) != WAITING {
            return false;
        }
        self.at.store(grant.at, Relaxed);
        self.weight.store(weight, Relaxed);
        let holder = u64::from(grant.holder.unwrap_or(NO_HOLDER));
        self.holder.store(holder | (class.index() as u64) << 32, Relaxed);
        self.state.store(if grant.exact { GRANTED_EXACTLY } else { GRANTED }, Release);
        true
    }

    /// Refuses the caller while it waits. False if it no longer waits. The desk's lock is held.
    #[cold]
    pub(super) fn refuse(&self, refused: Refused) -> bool {
        if self.state.load(Relaxed) != WAITING {
            return false;
        }
        *lock(&self.refused) = Some(Box::new(refused));
        self.state.store(REFUSED, Release);
        true
    }

    /// Takes an unclaimed grant back, leaving a refusal in its place; `None` if it was claimed meanwhile. Nobody
    /// is woken: the grant did that. The desk's lock is held.
    #[cold]
    pub(super) fn revoke(&self, refusal: impl FnOnce() -> Refused) -> Option<Grant> {
        let state = self.state.load(Acquire);
        let grant = self.granted(state)?;
        // Before the state: a caller that reads `REFUSED` finds it.
        *lock(&self.refused) = Some(Box::new(refusal()));
        if self.state.compare_exchange(state, REFUSED, AcqRel, Acquire).is_err() {
            // It is nobody's: who sat here has its permit, and who sits down next needs the lock for it.
            lock(&self.refused).take();
            return None;
        }
        Some(grant)
    }

    /// When its grant was given, and for how many units of which class. The desk's lock is held.
    pub(super) fn given(&self) -> (u64, u64, Criticality) {
        let class = (self.holder.load(Relaxed) >> 32) as usize;
        let class = Criticality::ALL.get(class).copied().unwrap_or_default();
        (self.at.load(Relaxed), self.weight.load(Relaxed), class)
    }

    /// Is there a grant that nobody claimed?
    #[inline]
    pub(super) fn is_unclaimed(&self) -> bool {
        matches!(self.state.load(Relaxed), GRANTED | GRANTED_EXACTLY)
    }

    /// Takes the answer; `None` if there is none (any more). For the ticket, which is one.
    #[inline]
    pub(super) fn take(&self) -> Option<Result<Grant, Box<Refused>>> {
        match self.take_grant() {
            Some(grant) => Some(Ok(grant)),
            None if self.state.load(Acquire) == REFUSED => self.take_refusal(),
            None => None,
        }
    }

    /// Takes the grant, if there is one.
    #[inline(always)]
    pub(super) fn take_grant(&self) -> Option<Grant> {
        let state = self.state.load(Acquire);
        let grant = self.granted(state)?;
        // It may have been revoked in between.
        self.state.compare_exchange(state, LEFT, AcqRel, Acquire).ok().map(|_| grant)
    }

    #[cold]
    fn take_refusal(&self) -> Option<Result<Grant, Box<Refused>>> {
        let refused = lock(&self.refused).take();
        // Last: from then on the seat may be another's.
        self.state.store(LEFT, Release);
        refused.map(Err)
    }

    /// A caller sits down where nobody sits. The desk's lock is held.
    #[inline(always)]
    pub(super) fn open(&self) {
        self.state.store(WAITING, Relaxed);
    }

    /// Does nobody sit here any more? Then nobody but the desk knows of the seat.
    #[inline]
    pub(super) fn has_left(&self) -> bool {
        self.state.load(Acquire) == LEFT
    }

    /// The caller goes. The desk's lock is held, so that no answer can slip in between.
    pub(super) fn leave(&self) -> Leaving {
        match self.state.swap(LEFT, AcqRel) {
            WAITING => Leaving::Place,
            REFUSED => {
                lock(&self.refused).take();
                Leaving::Nothing
            }
            state => self.granted(state).map_or(Leaving::Nothing, Leaving::Grant),
        }
    }

    /// The grant that is there, if `state` says so.
    #[inline]
    fn granted(&self, state: u64) -> Option<Grant> {
        if !matches!(state, GRANTED | GRANTED_EXACTLY) {
            return None;
        }
        let holder = self.holder.load(Relaxed) as u32;
        let holder = (holder != NO_HOLDER).then_some(holder);
        Some(Grant { at: self.at.load(Relaxed), exact: state == GRANTED_EXACTLY, holder })
    }
}
