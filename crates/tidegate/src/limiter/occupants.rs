//! Who holds and who waits, on request.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use tidegate_control::queue::Criticality;

/// A name given by the caller.
pub(super) type Who = Option<Cow<'static, str>>;

/// Somebody who holds capacity, or waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Occupant {
    /// The name given with [`Demand::holder`](crate::Demand::holder), else the tenant key, else `unnamed`.
    pub who: Cow<'static, str>,
    /// Units held or waited for.
    pub weight: u64,
    /// Its class.
    pub class: Criticality,
    /// How long it has been holding or waiting.
    pub age: Duration,
}

impl Occupant {
    pub(super) fn new(who: &Who, weight: u64, class: Criticality, since: u64, now: u64) -> Self {
        let who = who.clone().unwrap_or(Cow::Borrowed("unnamed"));
        Self { who, weight, class, age: Duration::from_nanos(now.saturating_sub(since)) }
    }
}

/// One holder's entry in the register.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) who: Who,
    pub(super) weight: u64,
    pub(super) class: Criticality,
    pub(super) since: u64,
}

/// The holders of a limiter that tracks them: as many places as there ever were holders at once.
#[derive(Debug, Default)]
pub(super) struct Register {
    places: Vec<Option<Holder>>,
    free: Vec<u32>,
    /// How many entries a name has; kept only where holders are looked for by name. In dry run more than one.
    names: Option<HashMap<Cow<'static, str>, usize>>,
}

impl Register {
    /// From now on holders can be looked for by name.
    pub(super) fn keep_names(&mut self) {
        self.names.get_or_insert_default();
    }

    /// Is there a holder of this name?
    pub(super) fn knows(&self, who: &str) -> bool {
        self.names.as_ref().is_some_and(|names| names.contains_key(who))
    }

    /// Enters a holder; the number finds it again.
    pub(super) fn enter(&mut self, holder: Holder) -> u32 {
        if let (Some(names), Some(who)) = (&mut self.names, &holder.who) {
            *names.entry(who.clone()).or_default() += 1;
        }
        // As many at once would not fit into memory.
        let place = self.free.pop().unwrap_or_else(|| u32::try_from(self.places.len()).unwrap_or(u32::MAX));
        match self.places.get_mut(place as usize) {
            Some(entry) => *entry = Some(holder),
            None => self.places.push(Some(holder)),
        }
        place
    }

    /// Strikes a holder out.
    pub(super) fn strike(&mut self, place: u32) {
        let Some(holder) = self.places.get_mut(place as usize).and_then(Option::take) else { return };
        self.free.push(place);
        let (Some(names), Some(who)) = (&mut self.names, &holder.who) else { return };
        if let Some(count) = names.get_mut(who) {
            *count -= 1;
            if *count == 0 {
                names.remove(who);
            }
        }
    }

    /// Everybody in the register.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Holder> {
        self.places.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again() {
        let mut register = Register::default();
        let holder = |weight| Holder { who: None, weight, class: Criticality::Critical, since: 0 };
        let first = register.enter(holder(1));
        let second = register.enter(holder(2));
        register.strike(first);
        register.strike(first);
        assert_eq!(register.enter(holder(3)), first);
        assert_ne!(first, second);
        assert_eq!(register.iter().map(|h| h.weight).sum::<u64>(), 5);
    }

    #[test]
    fn a_name_is_known_as_long_as_somebody_bears_it() {
        let mut register = Register::default();
        register.keep_names();
        let holder = || Holder { who: Some("a".into()), weight: 1, class: Criticality::Critical, since: 0 };
        let (first, second) = (register.enter(holder()), register.enter(holder()));
        register.strike(first);
        register.strike(first);
        assert!(register.knows("a"));
        register.strike(second);
        assert!(!register.knows("a"));
        assert!(register.names.is_some_and(|names| names.is_empty()), "nothing is left behind");
    }
}
