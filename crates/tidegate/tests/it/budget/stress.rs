//! A million random leases, changes, waits and cancels on several threads: nothing is charged afterwards, nobody is
//! forgotten, and no limit was ever passed.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tidegate::budget::{Budget, Lease, Urgency};
use tokio::time::timeout;

const TASKS: u64 = 8;
const ROUNDS: u64 = 125_000;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn change(lease: Option<Lease>, to: &Budget, random: &mut Random) -> Option<Lease> {
    let mut lease = lease?;
    match random.below(6) {
        0 => lease.shrink_to(random.below(30)),
        1 => drop(lease.try_grow(random.below(30))),
        2 => drop(lease.split(random.below(10))),
        3 | 4 => drop(lease.transfer(to)),
        _ => {}
    }
    Some(lease)
}

async fn churn(budgets: Vec<Budget>, seed: u64, rounds: u64, shares: bool) {
    let mut random = Random(seed);
    let mut kept: Option<Lease> = None;
    for round in 0..rounds {
        let budget = &budgets[random.below(budgets.len() as u64) as usize];
        let to = &budgets[random.below(budgets.len() as u64) as usize];
        // Whoever waits for more than its share, while others want theirs, waits long.
        let large = if round % 16 == 0 { 90 } else { 20 };
        let bytes = 1 + random.below(if shares { 6 } else { large });
        let urgency = [Urgency::New, Urgency::Growth, Urgency::InProgress][random.below(3) as usize];
        let lease = match random.below(4) {
            0 => budget.try_lease_for(urgency, bytes).ok(),
            1 => {
                // Holding nothing itself, it waits until it is served, or is told that it never will be.
                kept = None;
                let lease = budget.lease(bytes).urgency(urgency).await;
                assert!(lease.as_ref().err().is_none_or(|full| !full.ever), "{lease:?}");
                lease.ok()
            }
            _ => {
                let mut leasing = pin!(budget.lease(bytes).urgency(urgency));
                let mut polled = leasing.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                if random.below(4) == 0 {
                    tokio::task::yield_now().await;
                    if polled.is_pending() && random.below(2) == 0 {
                        polled = leasing.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                    }
                }
                match polled {
                    Poll::Ready(lease) => lease.ok(),
                    Poll::Pending => None,
                }
            }
        };
        let lease = change(lease, to, &mut random);
        if random.below(8) == 0 {
            kept = lease;
            tokio::task::yield_now().await;
        }
        if shares && random.below(64) == 0 {
            to.set_limit(60 + random.below(60));
        }
        if round % 64 == 0 {
            drop(budgets[0].snapshot());
            let child = budget.child("passing").share(u32::from(shares)).work().build();
            kept = child.try_lease(1).ok();
        }
    }
    drop(kept);
}

async fn ends_with_nothing_charged(rounds: u64, shares: bool) {
    let process = Budget::root("process", 100).reserve(2).max_waiters(64).build();
    let tenants: Vec<_> = (1..=3)
        .map(|share| process.child(share.to_string()).share(if shares { share } else { 0 }).limit(70).build())
        .collect();
    let mut budgets = vec![process.clone()];
    budgets.extend(
        tenants.iter().flat_map(|tenant| [tenant.child("a").limit(60).build(), tenant.child("b").build()]),
    );
    budgets.extend(tenants.iter().cloned());
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| tokio::spawn(churn(budgets.clone(), 0x9e37_79b9 + task * 7919, rounds, shares)))
        .collect();
    for task in tasks {
        // Somebody who was forgotten would wait for ever once the others are done.
        timeout(Duration::from_secs(600), task).await.expect("nobody is forgotten").unwrap();
    }
    for budget in &budgets {
        assert_eq!((budget.used(), budget.waiting()), (0, 0), "{}", budget.name());
        assert!(shares || budget.peak() <= budget.limit(), "{budget:?}: {}", budget.peak());
    }
    assert!(process.holders(9).is_empty());
    process.set_limit(100);
    tenants.iter().for_each(|tenant| tenant.set_limit(100));
    budgets.iter().for_each(|budget| budget.set_limit(100));
    assert!(process.child("last").work().build().try_lease(100).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_million_leases_and_cancels_leave_nothing_charged() {
    ends_with_nothing_charged(ROUNDS, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn limits_that_move_meanwhile_are_kept() {
    ends_with_nothing_charged(ROUNDS / 5, true).await;
}
