//! The ring against a plain model: a list of its own for each subscriber.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;

use super::cut::Cut;
use super::policy::{Late, Policy, Terms};
use super::ring::{Aftermath, Ring, Taken};

/// One subscriber as one would write it without thinking.
struct Model {
    number: u64,
    terms: Terms,
    behind: VecDeque<(u64, u64)>,
    gap: u64,
    late: bool,
    cut: Option<Cut>,
    offered: u64,
    delivered: u64,
    skipped: u64,
}

impl Model {
    fn bytes(&self) -> u64 {
        self.behind.iter().map(|(_, weight)| weight).sum()
    }

    fn is_over(&self) -> bool {
        self.behind.len() as u64 > self.terms.max_items || self.bytes() > self.terms.max_bytes
    }

    fn miss(&mut self, count: usize) {
        self.behind.drain(..count);
        self.gap += count as u64;
        self.skipped += count as u64;
    }

    fn enforce(&mut self) {
        match self.terms.policy {
            Policy::DropOldest | Policy::Wait { then: Late::DropOldest, .. } => {
                while self.is_over() {
                    self.miss(1);
                }
            }
            _ => {
                self.cut = Some(Cut::Behind { items: self.behind.len() as u64, bytes: self.bytes() });
                self.miss(self.behind.len());
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Sit { policy: u8, items: u64, bytes: u64 },
    Leave(usize),
    Push { weight: u64, give_up: bool },
    Take { who: usize, times: u8 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        1 => (0_u8..4, 1_u64..6, 100_u64..400).prop_map(|(policy, items, bytes)| Step::Sit { policy, items, bytes }),
        1 => (0_usize..8).prop_map(Step::Leave),
        8 => (1_u64..100, any::<bool>()).prop_map(|(weight, give_up)| Step::Push { weight, give_up }),
        6 => (0_usize..8, 1_u8..4).prop_map(|(who, times)| Step::Take { who, times }),
    ];
    proptest::collection::vec(step, 1..120)
}

fn policy(which: u8) -> Policy {
    let patience = Duration::from_secs(1);
    match which {
        0 => Policy::DropOldest,
        1 => Policy::Disconnect,
        2 => Policy::Wait { patience, then: Late::DropOldest },
        _ => Policy::Wait { patience, then: Late::Disconnect },
    }
}

proptest! {
    #[test]
    fn it_does_what_a_list_for_each_would(steps in steps()) {
        let mut ring: Ring<u64> = Ring::new();
        let mut models: Vec<Model> = Vec::new();
        let (mut next, mut freed) = (0_u64, 0_u64);
        for step in steps {
            let mut after = Aftermath::default();
            match step {
                Step::Sit { policy: which, items, bytes } => {
                    let terms = Terms::new(policy(which)).max_items(items).max_bytes(bytes);
                    let number = ring.sit(terms.clone());
                    let (behind, gap, late, cut) = (VecDeque::new(), 0, false, None);
                    models.push(Model {
                        number, terms, behind, gap, late, cut, offered: 0, delivered: 0, skipped: 0,
                    });
                }
                Step::Leave(who) if who < models.len() => {
                    let ledger = ring.leave(models.remove(who).number, &mut after);
                    prop_assert_eq!(ledger.offered, ledger.delivered + ledger.skipped);
                }
                Step::Push { weight, give_up } => {
                    let mut awaited = Vec::new();
                    ring.push(next, weight, &mut after, &mut awaited);
                    let mut expected = Vec::new();
                    for model in models.iter_mut().filter(|model| model.cut.is_none()) {
                        model.offered += 1;
                        model.behind.push_back((next, weight));
                        if !model.is_over() {
                            continue;
                        }
                        match model.terms.policy {
                            Policy::Wait { .. } if !model.late => expected.push(model.number),
                            _ => model.enforce(),
                        }
                    }
                    prop_assert_eq!(awaited.iter().map(|(seat, _)| *seat).collect::<Vec<_>>(), expected);
                    for (seat, _) in awaited {
                        let model = models.iter_mut().find(|model| model.number == seat).unwrap();
                        if !give_up {
                            // It takes one, which may be enough or not.
                            if model.gap == 0 {
                                let taken = ring.take(seat);
                                let (expected, _) = model.behind.pop_front().unwrap();
                                model.delivered += 1;
                                prop_assert!(matches!(taken, Taken::Item(item) if item == expected));
                            }
                            prop_assert_eq!(ring.is_within(seat), !model.is_over());
                        }
                        ring.give_up(seat, &mut after);
                        if model.is_over() {
                            model.late = true;
                            model.enforce();
                        }
                    }
                    next += 1;
                }
                Step::Take { who, times } if who < models.len() => for _ in 0..times {
                    let model = &mut models[who];
                    match ring.take(model.number) {
                        Taken::Cut(cut) => prop_assert_eq!(Some(cut), model.cut),
                        Taken::Gap(gap) => prop_assert_eq!(gap, std::mem::take(&mut model.gap)),
                        Taken::Item(item) => {
                            prop_assert_eq!((model.gap, model.cut), (0, None));
                            prop_assert_eq!(Some(item), model.behind.pop_front().map(|(item, _)| item));
                            model.delivered += 1;
                            let caught_up = model.behind.len() as u64 <= model.terms.max_items / 2
                                && model.bytes() <= model.terms.max_bytes / 2;
                            model.late &= !caught_up;
                        }
                        Taken::Nothing => prop_assert!(model.behind.is_empty() && model.cut.is_none()),
                        Taken::End => prop_assert!(false, "it has not ended"),
                    }
                },
                _ => {}
            }
            freed += after.items.len() as u64;
            let snapshot = ring.snapshot();
            prop_assert_eq!((snapshot.published, snapshot.listeners.len()), (next, models.len()));
            for (listener, model) in snapshot.listeners.iter().zip(&models) {
                prop_assert_eq!((listener.items, listener.bytes), (model.behind.len() as u64, model.bytes()));
                prop_assert_eq!((listener.late, listener.disconnected), (model.late, model.cut.is_some()));
                let ledger = listener.ledger;
                prop_assert_eq!(
                    (ledger.offered, ledger.delivered, ledger.skipped),
                    (model.offered, model.delivered, model.skipped)
                );
                prop_assert_eq!(ledger.offered, ledger.delivered + ledger.skipped + listener.items);
            }
            // An item is kept until the last has taken it, and no longer; each counts once.
            let kept = models.iter().map(|model| model.behind.len() as u64).max().unwrap_or_default();
            prop_assert_eq!(snapshot.items, kept);
            prop_assert_eq!(snapshot.bytes, models.iter().map(Model::bytes).max().unwrap_or_default());
            prop_assert_eq!(snapshot.gone.offered, snapshot.gone.delivered + snapshot.gone.skipped);
            prop_assert!(freed <= next);
        }
    }
}
