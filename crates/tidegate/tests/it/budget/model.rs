//! Every law of the tree against a naive model that adds everything up anew.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tidegate::budget::{Budget, Lease};

#[derive(Clone, Debug)]
enum Step {
    Child { of: usize, limit: u64 },
    Lease { at: usize, bytes: u64 },
    Drop(usize),
    Shrink(usize, u64),
    Grow(usize, u64),
    Split(usize, u64),
    Merge(usize, usize),
    Transfer { lease: usize, to: usize },
    Limit { at: usize, bytes: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let at = 0_usize..64;
    let bytes = 0_u64..60;
    prop_oneof![
        1 => (at.clone(), 0_u64..150).prop_map(|(of, limit)| Step::Child { of, limit }),
        6 => (at.clone(), bytes.clone()).prop_map(|(at, bytes)| Step::Lease { at, bytes }),
        3 => at.clone().prop_map(Step::Drop),
        1 => (at.clone(), bytes.clone()).prop_map(|(lease, bytes)| Step::Shrink(lease, bytes)),
        1 => (at.clone(), bytes.clone()).prop_map(|(lease, bytes)| Step::Grow(lease, bytes)),
        1 => (at.clone(), bytes).prop_map(|(lease, bytes)| Step::Split(lease, bytes)),
        1 => (at.clone(), at.clone()).prop_map(|(one, other)| Step::Merge(one, other)),
        3 => (at.clone(), at.clone()).prop_map(|(lease, to)| Step::Transfer { lease, to }),
        1 => (at, 0_u64..200).prop_map(|(at, bytes)| Step::Limit { at, bytes }),
    ]
}

/// Budgets as a list of parents and limits; leases as a list of budgets and bytes.
#[derive(Default)]
struct Model {
    parents: Vec<Option<usize>>,
    limits: Vec<u64>,
    leases: BTreeMap<usize, (usize, u64)>,
}

impl Model {
    fn up(&self, at: usize) -> Vec<usize> {
        std::iter::successors(Some(at), |at| self.parents[*at]).collect()
    }

    fn used(&self, at: usize) -> u64 {
        self.leases.values().filter(|(of, _)| self.up(*of).contains(&at)).map(|(_, bytes)| bytes).sum()
    }

    /// Would it fit, at all budgets above that are not above `from`?
    fn fits(&self, at: usize, bytes: u64, from: Option<usize>) -> bool {
        let skipped = from.map(|from| self.up(from)).unwrap_or_default();
        bytes == 0
            || self
                .up(at)
                .iter()
                .filter(|at| !skipped.contains(at))
                .all(|at| self.used(*at) + bytes <= self.limits[*at])
    }
}

proptest! {
    #[test]
    fn the_tree_does_what_the_model_does(steps in proptest::collection::vec(step(), 1..200)) {
        let mut model = Model { parents: vec![None], limits: vec![100], ..Model::default() };
        let mut budgets = vec![Budget::new("0", 100)];
        let mut leases: BTreeMap<usize, Lease> = BTreeMap::new();
        let mut next = 0_usize;
        for step in steps {
            let pick = |at: usize| at % budgets.len();
            let chosen = |at: usize| leases.keys().nth(at % leases.len().max(1)).copied();
            match step {
                Step::Child { of, limit } => if budgets.len() < 12 {
                    let of = pick(of);
                    budgets.push(budgets[of].child(budgets.len().to_string()).limit(limit).build());
                    model.parents.push(Some(of));
                    model.limits.push(limit);
                },
                Step::Lease { at, bytes } => {
                    let at = pick(at);
                    let lease = budgets[at].try_lease(bytes);
                    prop_assert_eq!(lease.is_ok(), model.fits(at, bytes, None));
                    if let Ok(lease) = lease {
                        leases.insert(next, lease);
                        model.leases.insert(next, (at, bytes));
                        next += 1;
                    }
                }
                Step::Drop(at) => if let Some(key) = chosen(at) {
                    leases.remove(&key);
                    model.leases.remove(&key);
                },
                Step::Shrink(at, bytes) => if let Some(key) = chosen(at) {
                    leases.get_mut(&key).unwrap().shrink_to(bytes);
                    let held = model.leases.get_mut(&key).unwrap();
                    held.1 = held.1.min(bytes);
                },
                Step::Grow(at, bytes) => if let Some(key) = chosen(at) {
                    let (of, _) = model.leases[&key];
                    let grown = leases.get_mut(&key).unwrap().try_grow(bytes).is_ok();
                    prop_assert_eq!(grown, model.fits(of, bytes, None));
                    model.leases.get_mut(&key).unwrap().1 += if grown { bytes } else { 0 };
                },
                Step::Split(at, bytes) => if let Some(key) = chosen(at) {
                    let (of, held) = model.leases[&key];
                    let part = leases.get_mut(&key).unwrap().split(bytes);
                    prop_assert_eq!(part.is_some(), bytes <= held);
                    if let Some(part) = part {
                        leases.insert(next, part);
                        model.leases.insert(next, (of, bytes));
                        model.leases.get_mut(&key).unwrap().1 -= bytes;
                        next += 1;
                    }
                },
                Step::Merge(one, other) => if let (Some(one), Some(other)) = (chosen(one), chosen(other)) {
                    if one != other {
                        let taken = leases.remove(&other).unwrap();
                        let (of, bytes) = model.leases[&other];
                        match leases.get_mut(&one).unwrap().merge(taken) {
                            Ok(()) => {
                                prop_assert_eq!(model.leases[&one].0, of);
                                model.leases.get_mut(&one).unwrap().1 += bytes;
                                model.leases.remove(&other);
                            }
                            Err(back) => {
                                prop_assert_ne!(model.leases[&one].0, of);
                                leases.insert(other, back);
                            }
                        }
                    }
                },
                Step::Transfer { lease, to } => if let Some(key) = chosen(lease) {
                    let (to, (of, bytes)) = (pick(to), model.leases[&key]);
                    let moved = leases.get_mut(&key).unwrap().transfer(&budgets[to]).is_ok();
                    prop_assert_eq!(moved, model.fits(to, bytes, Some(of)));
                    if moved {
                        model.leases.get_mut(&key).unwrap().0 = to;
                    }
                },
                Step::Limit { at, bytes } => {
                    let at = pick(at);
                    budgets[at].set_limit(bytes);
                    model.limits[at] = bytes;
                }
            }
            for (at, budget) in budgets.iter().enumerate() {
                prop_assert_eq!(budget.used(), model.used(at));
                let free = model.up(at).iter().map(|at| model.limits[*at].saturating_sub(model.used(*at))).min();
                prop_assert_eq!(Some(budget.free()), free);
            }
        }
        drop(leases);
        prop_assert!(budgets.iter().all(|budget| budget.used() == 0));
    }
}
