//! The limiter against a naive model: one list, one number.

use std::collections::VecDeque;

use proptest::prelude::*;
use tidegate::{Admission, Limiter, Permit, QueueConfig, Ticket, TryClaimError};

#[derive(Clone, Debug)]
enum Step {
    Enter,
    Try,
    Release(usize),
    Leave(usize),
    Claim(usize),
    Limit(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Enter),
        2 => Just(Step::Try),
        3 => (0..64usize).prop_map(Step::Release),
        1 => (0..64usize).prop_map(Step::Leave),
        2 => (0..64usize).prop_map(Step::Claim),
        1 => (1..8u64).prop_map(Step::Limit),
    ]
}

const PLACES: usize = 5;

/// Held: claimed or not; waiting: in order. Numbers are callers.
#[derive(Default)]
struct Model {
    limit: u64,
    held: Vec<usize>,
    granted: Vec<usize>,
    queue: VecDeque<usize>,
}

impl Model {
    fn in_flight(&self) -> u64 {
        (self.held.len() + self.granted.len()) as u64
    }
    fn serve(&mut self) {
        while self.in_flight() < self.limit {
            let Some(next) = self.queue.pop_front() else { return };
            self.granted.push(next);
        }
    }
}

proptest! {
    #[test]
    fn behaves_like_one_list_and_one_number(limit in 1..6u64, steps in prop::collection::vec(step(), 0..200)) {
        let queue = QueueConfig::bounded(PLACES as u64);
        let limiter = Limiter::builder().limit(limit).queue(queue).build().unwrap();
        let mut model = Model { limit, ..Model::default() };
        let mut permits: Vec<(usize, Permit)> = Vec::new();
        let mut tickets: Vec<(usize, Ticket)> = Vec::new();
        for (caller, step) in steps.into_iter().enumerate() {
            let free = model.queue.is_empty() && model.in_flight() < model.limit;
            match step {
                Step::Enter => match limiter.enqueue(1) {
                    Ok(Admission::Admitted(permit)) => {
                        prop_assert!(free);
                        model.held.push(caller);
                        permits.push((caller, permit));
                    }
                    Ok(Admission::Waiting(ticket)) => {
                        prop_assert!(!free && model.queue.len() < PLACES);
                        model.queue.push_back(caller);
                        tickets.push((caller, ticket));
                    }
                    Err(_) => prop_assert!(!free && model.queue.len() == PLACES),
                },
                Step::Try => match limiter.try_acquire(1) {
                    Ok(permit) => {
                        prop_assert!(free);
                        model.held.push(caller);
                        permits.push((caller, permit));
                    }
                    Err(_) => prop_assert!(!free),
                },
                Step::Release(which) if !permits.is_empty() => {
                    let (caller, permit) = permits.swap_remove(which % permits.len());
                    permit.success();
                    model.held.retain(|held| *held != caller);
                }
                Step::Leave(which) if !tickets.is_empty() => {
                    let (caller, ticket) = tickets.swap_remove(which % tickets.len());
                    drop(ticket);
                    model.queue.retain(|waiting| *waiting != caller);
                    model.granted.retain(|granted| *granted != caller);
                }
                Step::Claim(which) if !tickets.is_empty() => {
                    let (caller, ticket) = tickets.swap_remove(which % tickets.len());
                    match ticket.try_claim() {
                        Ok(permit) => {
                            prop_assert!(model.granted.contains(&caller));
                            model.granted.retain(|granted| *granted != caller);
                            model.held.push(caller);
                            permits.push((caller, permit));
                        }
                        Err(TryClaimError::NotYet(ticket)) => {
                            prop_assert!(model.queue.contains(&caller));
                            tickets.push((caller, ticket));
                        }
                        Err(other) => prop_assert!(false, "{other:?}"),
                    }
                }
                Step::Limit(limit) => {
                    limiter.set_limit(limit);
                    model.limit = limit;
                }
                Step::Release(_) | Step::Leave(_) | Step::Claim(_) => {}
            }
            model.serve();
            let stats = limiter.stats();
            prop_assert_eq!(stats.in_flight, model.in_flight());
            prop_assert_eq!(stats.waiting, model.queue.len() as u64);
            prop_assert_eq!(stats.overcommitted, model.in_flight().saturating_sub(model.limit));
            prop_assert_eq!(
                limiter.readiness().is_ready(),
                model.queue.is_empty() && model.in_flight() < model.limit
            );
        }
        drop((permits, tickets));
        prop_assert_eq!(limiter.stats().in_flight, 0);
        prop_assert_eq!(limiter.stats().available, model.limit);
    }
}
