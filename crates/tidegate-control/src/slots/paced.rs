//! Slots paced by the drain rate, so that no herd forms.
//!
//! A shared `Retry-After` brings every refused caller back at once (kubernetes/kubernetes#97991). Here each one
//! gets the next place on a clock that advances as fast as returning callers can be served.

use crate::queue::Criticality;

/// Share of the drain rate that is given to callers who return: what fresh ones leave over, between these. With a
/// place too many, those who return push others out, who return in their turn: after a storm of 5 s among clients at
/// 0.8 of the capacity, a constant 0.3 cost 1.4 attempts a request.
const SHARE: (f64, f64) = (0.1, 0.3);
/// Spread of a slot: up to a fifth of its distance.
const SPREAD: f64 = 0.2;
/// Beyond this a slot is no promise any more: the caller is told that waiting is not worth it.
const HORIZON: u64 = 30_000_000_000;
const SECOND: f64 = 1e9;

/// When a refused caller should come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Nanoseconds from now.
    pub after: u64,
    /// False if it is so far away that waiting for it is not likely to help.
    pub worth_it: bool,
}

/// One virtual clock per class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReturnSlots {
    next: [u64; Criticality::ALL.len()],
}

impl ReturnSlots {
    /// The slot of one caller refused at `now`, at least `wait` nanoseconds away.
    ///
    /// `drain` is in units per second; `load` is what arrives as a share of it, if that is known; `random` is the
    /// caller's own random number. Beyond 30 s the values are
    /// spread over another 30 s, the clock stands still, and `worth_it` is false.
    pub fn give(
        &mut self,
        now: u64,
        class: Criticality,
        drain: f64,
        load: Option<f64>,
        wait: u64,
        random: u64,
    ) -> Slot {
        let load = load.filter(|load| load.is_finite());
        let share = load.map_or(SHARE.1, |load| (1.0 - load).clamp(SHARE.0, SHARE.1));
        let pace = (SECOND / (share * drain.max(1e-3))).max(1.0) as u64;
        let uniform = random as f64 / u64::MAX as f64;
        let spread = |distance: u64, share: f64| (distance as f64 * share * uniform) as u64;
        let Some(next) = self.next.get_mut(class.index()) else {
            return Slot { after: HORIZON, worth_it: false };
        };
        let slot = now.saturating_add(wait).max(*next).saturating_add(pace);
        let distance = slot - now;
        if distance > HORIZON {
            return Slot { after: HORIZON + spread(HORIZON, 1.0), worth_it: false };
        }
        *next = slot;
        Slot { after: distance + spread(distance, SPREAD), worth_it: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    #[test]
    fn callers_refused_together_get_moments_of_their_own_at_the_pace() {
        let mut slots = ReturnSlots::default();
        let given: Vec<u64> =
            (0..100).map(|_| slots.give(5 * S, Criticality::Critical, 100.0, None, 0, 0).after).collect();
        assert!(given.windows(2).all(|pair| pair[1] - pair[0] == S / 30 || pair[1] - pair[0] == S / 30 + 1));
        assert_eq!(
            slots.give(5 * S, Criticality::Sheddable, 100.0, None, 0, 0).after,
            S / 30,
            "a clock per class"
        );
    }

    #[test]
    fn who_returns_gets_what_fresh_callers_leave_over() {
        let pace = |load| ReturnSlots::default().give(0, Criticality::Critical, 100.0, load, 0, 0).after;
        assert_eq!(pace(Some(3.0)), S / 10);
        assert_eq!(pace(Some(0.8)).div_ceil(1000), (S / 20).div_ceil(1000));
        assert_eq!(pace(Some(0.1)), pace(None));
        assert_eq!(pace(Some(f64::NAN)), pace(None));
    }

    #[test]
    fn slots_follow_the_time_and_the_wait() {
        let mut slots = ReturnSlots::default();
        let first = slots.give(0, Criticality::Critical, 1000.0, None, 2 * S, 0);
        assert!(first.after > 2 * S && first.worth_it);
        let later = slots.give(10 * S, Criticality::Critical, 1000.0, None, 0, 0);
        assert!(later.after < S / 100, "an old clock is not waited for");
        let spread = slots.give(10 * S, Criticality::Critical, 1.0, None, 9 * S, u64::MAX);
        assert!(spread.after > 14 * S && spread.after < 16 * S, "{spread:?}");
    }

    #[test]
    fn beyond_the_horizon_it_says_so_and_the_clock_stands() {
        let mut slots = ReturnSlots::default();
        let far: Vec<Slot> = (0..1000u64)
            .map(|caller| {
                slots.give(0, Criticality::Critical, 1.0, None, 0, caller.wrapping_mul(u64::MAX / 1000))
            })
            .collect();
        assert!(far[0].worth_it);
        assert!(!far[999].worth_it);
        assert!(far.iter().all(|slot| slot.after <= 60 * S));
        assert_ne!(far[998].after, far[999].after);
        assert!(
            slots.give(30 * S, Criticality::Critical, 1.0, None, 0, 0).worth_it,
            "the clock did not run away"
        );
        assert!(!slots.give(0, Criticality::Critical, 0.0, None, 0, 0).worth_it);
        assert!(!slots.give(0, Criticality::Critical, f64::NAN, None, 0, 0).worth_it);
    }
}
