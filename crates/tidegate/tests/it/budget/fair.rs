//! Fairness, in counts.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tidegate::Reason;
use tidegate::budget::{Budget, Lease, Leasing};

const TENANTS: usize = 11;
const LIMIT: u64 = 110_000;
const BYTES: u64 = 100;

/// Jain's index of fairness: 1 if all have the same, 1/n if one has everything (R. Jain et al., DEC-TR-301, 1984).
fn jain(held: &[f64]) -> f64 {
    let (sum, squares) = held.iter().fold((0.0, 0.0), |(sum, squares), x| (sum + x, squares + x * x));
    sum * sum / (held.len() as f64 * squares)
}

/// A connection that holds as many leases as it gets, and gives the oldest back when its time has come.
struct Connection {
    budget: Budget,
    held: VecDeque<Lease>,
    waits: Option<Pin<Box<Leasing>>>,
}

impl Connection {
    fn new(tenant: &Budget, at: usize) -> Self {
        let budget = tenant.child(at.to_string()).build();
        Self { budget, held: VecDeque::new(), waits: None }
    }

    fn take(&mut self, wait: bool) {
        if !wait {
            self.held.extend(self.budget.try_lease(BYTES));
            return;
        }
        let mut waits = self.waits.take().unwrap_or_else(|| Box::pin(self.budget.lease(BYTES)));
        match waits.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(lease) => self.held.extend(lease),
            Poll::Pending => self.waits = Some(waits),
        }
    }
}

/// One tenant with 1000 connections and ten with ten each; all want as much as they can get. Returns what each tenant
/// held on average over the last rounds, as a part of its fair share.
fn crowd(wait: bool, greedy: usize) -> Vec<f64> {
    let process = Budget::root("process", LIMIT).max_waiters(4096).build();
    let tenants: Vec<_> =
        (0..TENANTS).map(|at| process.child(format!("tenant {at}")).share(1).build()).collect();
    let mut connections: Vec<Vec<Connection>> = tenants
        .iter()
        .enumerate()
        .map(|(at, tenant)| {
            (0..if at == 0 { greedy } else { 10 }).map(|at| Connection::new(tenant, at)).collect()
        })
        .collect();
    let mut sums = vec![0_u64; TENANTS];
    let (warm, rounds) = (60, 120);
    for round in 0..rounds {
        // The greedy one comes first in every round, and alone in the first.
        for (at, tenant) in connections.iter_mut().enumerate() {
            if round == 0 && at > 0 {
                continue;
            }
            // A polite connection asks for twelve at a time, more than its part of the fair share.
            let times = if at == 0 { 2 } else { 12 };
            for connection in tenant.iter_mut() {
                (0..times).for_each(|_| connection.take(wait));
            }
        }
        assert!(process.used() <= LIMIT);
        if round >= warm {
            sums.iter_mut().zip(&tenants).for_each(|(sum, tenant)| *sum += tenant.used());
        }
        // A tenth of what is held comes back, the oldest first.
        for connection in connections.iter_mut().flatten() {
            let back = connection.held.len().div_ceil(10);
            connection.held.drain(..back);
        }
    }
    let fair = LIMIT as f64 / TENANTS as f64;
    sums.into_iter().map(|sum| sum as f64 / (rounds - warm) as f64 / fair).collect()
}

#[test]
fn a_greedy_tenant_leaves_the_polite_ones_their_share() {
    for wait in [false, true] {
        let parts = crowd(wait, 1000);
        let jain = jain(&parts);
        let least = parts.iter().skip(1).copied().fold(f64::INFINITY, f64::min);
        assert!(least >= 0.9, "waiting: {wait}: {parts:?}");
        assert!(jain >= 0.95, "waiting: {wait}: {jain} {parts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_others_a_tenant_has_it_all() {
    let process = Budget::new("process", 100);
    let tenants: Vec<_> = (0..5).map(|at| process.child(at.to_string()).share(1).build()).collect();
    let all = tenants[0].try_lease(100).unwrap();
    assert_eq!(tenants[1].try_lease(10).unwrap_err().reason, Reason::Memory);
    drop(all);
    // The other one asked in vain: for a second it is reckoned with.
    let half = tenants[0].try_lease(50).unwrap();
    assert_eq!(tenants[0].try_lease(10).unwrap_err().reason, Reason::TenantShare);
    drop(tenants[1].try_lease(50).unwrap());
    assert_eq!(tenants[0].try_lease(10).unwrap_err().reason, Reason::TenantShare);
    let more = tenants[0].lease(10).await.unwrap();
    assert_eq!((half.bytes(), more.bytes(), process.waiting()), (50, 10, 0));
    assert!(tenants[0].try_lease(40).is_ok());
}

#[test]
fn shares_have_weights() {
    let process = Budget::new("process", 1000);
    let [gold, basic] = [3, 1].map(|share| process.child(share.to_string()).share(share).build());
    let (mut of_gold, mut of_basic) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        of_gold.extend(gold.try_lease(10));
        of_basic.extend(basic.try_lease(10));
    }
    assert_eq!((gold.used(), basic.used()), (750, 250));
}
