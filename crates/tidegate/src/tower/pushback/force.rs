//! What is in force: a bounded map from origins to moments.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

use crate::refused::Reason;

use super::heard::{Pushback, means_unprocessed};

/// Refused callers return within this share of the time that the server asked for, after its moment: one moment for all
/// would make a herd of them. It is the share that the gate adds to its own return slots.
const SPREAD: f64 = 0.2;
/// 1 / golden ratio: its multiples fill an interval evenly however many there are (Weyl).
const STEP: f64 = 0.618_033_988_749_894_9;

#[derive(Debug)]
struct Force {
    until: Instant,
    /// What the server asked for.
    asked: Duration,
    reason: Reason,
    worth_retrying: bool,
    /// Callers that were refused here meanwhile.
    told: u32,
}

/// What a caller is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) left: Duration,
    pub(super) reason: Reason,
    pub(super) worth_retrying: bool,
}

/// Pushback by key.
#[derive(Debug)]
pub(super) struct Forces<K> {
    by_key: Mutex<HashMap<K, Force>>,
    /// How many there are, to be read without the lock: mostly none.
    len: AtomicUsize,
}

impl<K> Default for Forces<K> {
    fn default() -> Self {
        Self { by_key: Mutex::default(), len: AtomicUsize::new(0) }
    }
}

impl<K: Hash + Eq> Forces<K> {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<K, Force>) -> T) -> T {
        let mut by_key = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut by_key);
        self.len.store(by_key.len(), Relaxed);
        result
    }

    /// Nothing is in force for anybody.
    pub(super) fn is_empty(&self) -> bool {
        self.len.load(Relaxed) == 0
    }

    /// The time left, exactly.
    pub(super) fn left(&self, key: &K, now: Instant) -> Option<Duration> {
        if self.is_empty() {
            return None;
        }
        self.with(|by_key| by_key.get(key).map(|force| force.until.saturating_duration_since(now)))
            .filter(|left| !left.is_zero())
    }

    /// What a caller of this moment is told: the first one the time left, those after it a little more each.
    pub(super) fn tell(&self, key: &K, now: Instant) -> Option<Told> {
        if self.is_empty() {
            return None;
        }
        self.with(|by_key| {
            let force = by_key.get_mut(key)?;
            let left = force.until.saturating_duration_since(now);
            if left.is_zero() {
                by_key.remove(key);
                return None;
            }
            let share = (f64::from(force.told) * STEP).fract() * SPREAD;
            force.told = force.told.wrapping_add(1);
            let &mut Force { reason, worth_retrying, asked, .. } = force;
            Some(Told { left: left + asked.mul_f64(share), reason, worth_retrying })
        })
    }

    /// Notes what was heard; a later moment takes the place of an earlier one, and one that is worth coming back at that of
    /// one that is not: whoever was told that it is no use stood behind others who have a place. Holds at most `most` keys: if it is full
    /// of what is still in force, what lapses first makes room, or the new one is forgotten if that is it.
    pub(super) fn note(&self, key: K, heard: &Pushback, longest: Duration, most: usize, now: Instant) {
        let Some(asked) = heard.moment().map(|asked| asked.min(longest)).filter(|asked| !asked.is_zero())
        else {
            return;
        };
        let Some(until) = now.checked_add(asked) else { return };
        let reason = match heard.reason() {
            // A quota that is used up is this client's own share.
            None => Reason::TenantShare,
            Some(reason) if means_unprocessed(reason) => reason,
            // Whatever became of the call that heard it: those that are refused here are not sent at all.
            Some(_) => Reason::QueueFull,
        };
        let force = Force { until, asked, reason, worth_retrying: heard.worth_retrying(), told: 0 };
        self.with(|by_key| {
            if let Some(known) = by_key.get_mut(&key) {
                let lapsed = known.until <= now;
                let outdoes = match (force.worth_retrying, known.worth_retrying) {
                    (true, false) => true,
                    (false, true) => false,
                    _ => known.until < until,
                };
                if lapsed || outdoes {
                    *known = force;
                }
                return;
            }
            if by_key.len() >= most {
                by_key.retain(|_, known| known.until > now);
            }
            if by_key.len() >= most {
                let first = by_key.values().map(|known| known.until).min();
                let Some(first) = first.filter(|&first| first < until) else { return };
                let mut gone = false;
                by_key.retain(|_, known| gone || known.until != first || std::mem::replace(&mut gone, true));
            }
            by_key.insert(key, force);
        });
    }

    /// How many keys are held.
    pub(super) fn len(&self) -> usize {
        self.len.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(seconds: u64) -> Pushback {
        Pushback::refused(Reason::QueueFull).after(Duration::from_secs(seconds))
    }

    /// Else a caller who is refused here would be taken for one whose work has begun, and would not come back.
    #[tokio::test(start_paused = true)]
    async fn whoever_is_refused_here_was_not_sent_whatever_the_server_said() {
        let forces = Forces::default();
        let now = Instant::now();
        let expired = Pushback::refused(Reason::Expired).after(Duration::from_secs(1));
        forces.note((), &expired, LONGEST, 1, now);
        assert_eq!(forces.tell(&(), now).map(|told| told.reason), Some(Reason::QueueFull));
    }

    const LONGEST: Duration = Duration::from_secs(300);

    #[tokio::test(start_paused = true)]
    async fn the_map_is_bounded_and_what_lapses_first_makes_room() {
        let forces = Forces::default();
        let now = Instant::now();
        for (key, seconds) in [(1, 10), (2, 20), (3, 30), (4, 5), (5, 40)] {
            forces.note(key, &heard(seconds), LONGEST, 3, now);
            assert!(forces.len() <= 3);
        }
        let in_force: Vec<_> = (1..=5).filter(|key| forces.left(key, now).is_some()).collect();
        assert_eq!(in_force, [2, 3, 5], "4 would have lapsed before all others, 1 made room for 5");
        let later = now + Duration::from_secs(31);
        for key in 10..12 {
            forces.note(key, &heard(1), LONGEST, 3, later);
        }
        assert_eq!(forces.len(), 3);
        assert_eq!(forces.left(&5, later), Some(Duration::from_secs(9)));
    }

    #[tokio::test(start_paused = true)]
    async fn later_moments_win_and_none_is_longer_than_the_longest() {
        let forces = Forces::default();
        let now = Instant::now();
        forces.note((), &heard(10), LONGEST, 1, now);
        forces.note((), &heard(4), LONGEST, 1, now);
        assert_eq!(forces.left(&(), now), Some(Duration::from_secs(10)));
        forces.note((), &Pushback::NONE.after(Duration::MAX), LONGEST, 1, now);
        assert_eq!(forces.left(&(), now), Some(LONGEST));
        forces.note((), &Pushback::NONE, LONGEST, 1, now);
        assert_eq!(forces.left(&(), now + LONGEST), None);
        assert_eq!(forces.tell(&(), now + LONGEST), None);
        assert!(forces.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_word_that_it_is_no_use_is_for_one_caller_where_others_have_a_place() {
        let forces = Forces::default();
        let now = Instant::now();
        let told = |now| forces.tell(&(), now).map(|told| (told.left.as_secs(), told.worth_retrying));
        forces.note((), &heard(60).futile(), LONGEST, 1, now);
        assert_eq!(told(now), Some((60, false)));
        forces.note((), &heard(2), LONGEST, 1, now);
        forces.note((), &heard(90).futile(), LONGEST, 1, now);
        assert_eq!(told(now), Some((2, true)));
        let later = now + Duration::from_secs(3);
        forces.note((), &heard(90).futile(), LONGEST, 1, later);
        assert_eq!(told(later), Some((90, false)), "the place of the others has lapsed");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_told_the_same_or_a_moment_too_early() {
        let forces = Forces::default();
        let now = Instant::now();
        forces.note((), &heard(10), LONGEST, 1, now);
        let told: Vec<_> = (0..100).map(|_| forces.tell(&(), now).unwrap().left).collect();
        assert_eq!(told[0], Duration::from_secs(10));
        let distinct: std::collections::HashSet<_> = told.iter().collect();
        assert_eq!(distinct.len(), 100);
        assert!(told.iter().all(|left| (10..12).contains(&left.as_secs())));
    }
}
