//! Readiness: an answer, not a promise.

use std::time::Duration;

use crate::demand::Demand;

/// What would happen to a caller that came now. Asking reserves nothing and registers nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Readiness {
    /// It would be admitted at once.
    Ready {
        /// Free units.
        available: u64,
    },
    /// It would wait.
    Busy {
        /// Units that would be admitted before it.
        ahead: u64,
        /// How long that is expected to take.
        wait: WaitEstimate,
    },
    /// It would be refused.
    Saturated {
        /// When it is worth asking again, if that can be said.
        retry_after: Option<Duration>,
    },
    /// It would be refused: the limiter is shutting down.
    Draining {
        /// When it is worth asking again, if that can be said.
        retry_after: Option<Duration>,
    },
}

impl Readiness {
    /// Would a caller be admitted at once?
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        matches!(self, Self::Ready { .. })
    }

    /// Would a caller be admitted, at once or after a wait?
    #[must_use]
    pub const fn is_accepting(&self) -> bool {
        matches!(self, Self::Ready { .. } | Self::Busy { .. })
    }

    /// When it is worth asking again, if callers are refused and that can be said.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Ready { .. } | Self::Busy { .. } => None,
            Self::Saturated { retry_after } | Self::Draining { retry_after } => *retry_after,
        }
    }

    /// The readiness of two things that must both admit: the worse of the two, and of two equals the one with
    /// less room or the longer wait.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        if self.badness() >= other.badness() { self } else { other }
    }

    fn badness(&self) -> (u8, u64) {
        let nanos = |d: &Option<Duration>| d.map_or(u64::MAX, crate::clock::nanos);
        match self {
            Self::Ready { available } => (0, u64::MAX - available),
            Self::Busy { wait, .. } => (1, crate::clock::nanos(wait.expected)),
            Self::Saturated { retry_after } => (2, nanos(retry_after)),
            Self::Draining { retry_after } => (3, nanos(retry_after)),
        }
    }
}

/// How long a wait is expected to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitEstimate {
    /// Half of the waits are shorter (p50).
    pub expected: Duration,
    /// Nine of ten waits are shorter (p90); a limiter's are calibrated by what became of earlier waits.
    pub upper: Duration,
    /// On how many windows of a measured pace it stands; 0: on none, so that it is a guess, or zero.
    pub samples: u64,
}

/// Something that can be asked whether it would take work now.
pub trait AskReady {
    /// What would happen to one unit of default class. Never blocks, reserves or registers.
    fn readiness(&self) -> Readiness;

    /// What would happen to `demand`.
    fn readiness_for(&self, demand: &Demand) -> Readiness {
        let _ = demand;
        self.readiness()
    }
}

/// Whatever leads to something that can be asked can be asked.
macro_rules! asks_through {
    ($($pointer:ty),*) => { $(
        impl<T: AskReady + ?Sized> AskReady for $pointer {
            fn readiness(&self) -> Readiness {
                (**self).readiness()
            }

            fn readiness_for(&self, demand: &Demand) -> Readiness {
                (**self).readiness_for(demand)
            }
        }
    )* };
}

asks_through!(&T, Box<T>, std::sync::Arc<T>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worse_of_two_wins() {
        let roomy = Readiness::Ready { available: 9 };
        let tight = Readiness::Ready { available: 1 };
        let full = Readiness::Saturated { retry_after: Some(Duration::from_secs(1)) };
        assert_eq!(roomy.worst(tight), tight);
        assert_eq!(tight.worst(full), full);
        assert_eq!(full.worst(roomy), full);
        assert!(!full.is_accepting());
        assert_eq!(full.retry_after(), Some(Duration::from_secs(1)));
    }
}
