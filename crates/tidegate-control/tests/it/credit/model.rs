//! `Grants` against a model that keeps one plain list of what is held and one of who waits.

use proptest::prelude::*;
use tidegate_control::credit::{Account, Grants, Spot};

#[derive(Clone, Debug)]
enum Step {
    Ask {
        account: usize,
        bytes: u64,
    },
    Leave(usize),
    Shrink(usize),
    PutBack(usize),
    /// A turn ends: one of those that are open, in no order.
    End(usize, usize),
    Common(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..3usize, 0..12u64).prop_map(|(account, bytes)| Step::Ask { account, bytes }),
        1 => (0..64usize).prop_map(Step::Leave),
        1 => (0..64usize).prop_map(Step::Shrink),
        4 => (0..64usize).prop_map(Step::PutBack),
        3 => (0..3usize, 0..64usize).prop_map(|(account, which)| Step::End(account, which)),
        1 => (0..20u64).prop_map(Step::Common),
    ]
}

#[derive(Clone, Debug)]
struct Item {
    number: u32,
    account: usize,
    turn: u64,
    bytes: u64,
}

struct Model {
    plans: [Account; 3],
    common: u64,
    held: Vec<Item>,
    waiting: Vec<(Item, Spot)>,
    /// Open turns of each account, and the next to be opened.
    open: [Vec<u64>; 3],
    next: [u64; 3],
}

impl Model {
    fn behind(&self, account: usize, turn: u64) -> bool {
        self.plans[account].ordered && self.open[account].iter().any(|open| *open < turn)
    }

    fn uses_of_common(&self, held: &[Item], account: usize) -> u64 {
        let sum = |behind| -> u64 {
            let of = held.iter().filter(|item| item.account == account);
            of.filter(|item| self.behind(account, item.turn) == behind).map(|item| item.bytes).sum()
        };
        sum(true) + sum(false).saturating_sub(self.plans[account].reserve)
    }

    /// Could it be held beside the rest? With what it would take of the common bytes.
    fn fits(&self, item: &Item) -> (bool, bool, u64) {
        let plan = self.plans[item.account];
        let mut with = self.held.clone();
        let items = with.iter().filter(|held| held.account == item.account).count() as u64;
        with.push(item.clone());
        let before = self.uses_of_common(&self.held, item.account);
        let after = self.uses_of_common(&with, item.account);
        let total: u64 = (0..3).map(|account| self.uses_of_common(&with, account)).sum();
        let locally = items < plan.items && after <= plan.most - plan.reserve;
        (locally, after == before || total <= self.common, after - before)
    }

    /// Whose turn it is among those that wait, and perhaps one that has just come.
    fn next_of(&self, newcomer: Option<&Item>) -> Option<Item> {
        let mut all: Vec<_> = self.waiting.iter().map(|(item, _)| item).chain(newcomer).collect();
        all.sort_by_key(|item| (2 - item.account, item.turn, item.number));
        let mut promised = false;
        let mut looked_at = [false; 3];
        for item in all {
            if std::mem::replace(&mut looked_at[item.account], true) {
                continue;
            }
            let (locally, free, price) = self.fits(item);
            match (locally, free) {
                (true, true) if price == 0 || !promised => return Some(item.clone()),
                (true, false) => promised = true,
                _ => {}
            }
        }
        None
    }
}

proptest! {
    #[test]
    fn behaves_like_plain_lists(
        reserves in prop::array::uniform3(1..10u64),
        room in prop::array::uniform3(0..20u64),
        ordered in prop::array::uniform3(any::<bool>()),
        items in 1..6u64,
        common in 0..20u64,
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let mut plans = [0, 1, 2].map(|at| Account::new(reserves[at], reserves[at] + room[at]));
        for (plan, ordered) in plans.iter_mut().zip(ordered) {
            *plan = if ordered { plan.ordered() } else { plan.items(items) };
        }
        let mut grants = Grants::new(common, plans);
        let mut model = Model {
            plans, common, held: Vec::new(), waiting: Vec::new(), open: Default::default(), next: [0; 3],
        };
        for (number, step) in (0u32..).zip(steps) {
            match step {
                Step::Ask { account, bytes } => {
                    let turn = model.next[account];
                    model.next[account] += 1;
                    model.open[account].push(turn);
                    let item = Item { number, account, turn, bytes };
                    let first = model.next_of(Some(&item)).is_some_and(|next| next.number == number);
                    match grants.take(account, turn, bytes) {
                        Ok(()) => {
                            prop_assert!(first, "{item:?} passed somebody");
                            model.held.push(item);
                        }
                        Err(_) => {
                            prop_assert!(!first, "{item:?} must wait in vain");
                            let spot = grants.wait(account, turn, bytes, number);
                            model.waiting.push((item, spot));
                        }
                    }
                }
                Step::Leave(which) if !model.waiting.is_empty() => {
                    let (item, spot) = model.waiting.remove(which % model.waiting.len());
                    prop_assert_eq!(grants.leave(spot), Some(item.number));
                    prop_assert_eq!(grants.leave(spot), None);
                }
                Step::Shrink(which) if !model.held.is_empty() => {
                    let at = which % model.held.len();
                    let item = &mut model.held[at];
                    grants.shrink(item.account, item.turn, item.bytes / 2);
                    item.bytes -= item.bytes / 2;
                }
                Step::PutBack(which) if !model.held.is_empty() => {
                    let item = model.held.remove(which % model.held.len());
                    grants.put_back(item.account, item.turn, item.bytes);
                }
                Step::End(account, which) => {
                    // Only what holds and asks for nothing may end behind the head, as a stage has it.
                    let busy = |turn: &u64| {
                        let same = |item: &Item| item.account == account && item.turn == *turn;
                        model.waiting.iter().any(|(item, _)| same(item))
                            || model.behind(account, *turn) && model.held.iter().any(same)
                    };
                    let open: Vec<_> = model.open[account].iter().copied().filter(|turn| !busy(turn)).collect();
                    if !open.is_empty() {
                        let turn = open[which % open.len()];
                        model.open[account].retain(|other| *other != turn);
                        grants.end(account, turn);
                    }
                }
                Step::Common(bytes) => {
                    model.common = bytes;
                    grants.set_common(bytes);
                }
                _ => {}
            }
            while let Some(grant) = grants.serve() {
                let expected = model.next_of(None).map(|item| item.number);
                prop_assert_eq!(Some(grant.value), expected);
                let at = model.waiting.iter().position(|(item, _)| item.number == grant.value).unwrap();
                model.held.push(model.waiting.remove(at).0);
            }
            prop_assert!(model.next_of(None).is_none(), "somebody who fits was left waiting");
            if let Some(missing) = grants.short_of() {
                let mut richer = grants.clone();
                richer.set_common(model.common + missing - 1);
                prop_assert!(richer.serve().is_none_or(|_| missing > 1), "less would have done");
                richer.set_common(model.common + missing);
                prop_assert!(richer.serve().is_some(), "it is not enough");
            }
            let taken: u64 = (0..3).map(|account| model.uses_of_common(&model.held, account)).sum();
            prop_assert_eq!(grants.common(), (model.common, taken));
            prop_assert_eq!(grants.held(), model.held.iter().map(|item| item.bytes).sum::<u64>());
            prop_assert_eq!(grants.waiting(), model.waiting.len());
        }
        for item in model.held.drain(..) {
            grants.put_back(item.account, item.turn, item.bytes);
        }
        prop_assert_eq!((grants.held(), grants.common().1), (0, 0));
    }
}
