//! Waiting, under a clock that the test moves.

use std::time::Duration;

use tidegate::{Admission, Demand, Limiter, Permit, QueueConfig, Reason, RunError, Ticket};
use tokio::time::{Instant, advance};

#[tokio::test(start_paused = true)]
async fn a_wait_ends_at_its_bound() {
    let limiter = Limiter::builder().limit(1).queue(QueueConfig::bounded(4)).build().unwrap();
    let _held = limiter.try_acquire(1).unwrap();
    for (demand, expected) in [
        (Demand::ONE, QueueConfig::DEFAULT_MAX_WAIT),
        (Demand::ONE.max_wait(Duration::from_millis(300)), Duration::from_millis(300)),
        (Demand::ONE.patience(Duration::from_secs(1)), Duration::from_millis(400)),
        (Demand::ONE.deadline(Instant::now() + Duration::from_secs(6)), Duration::from_millis(300)),
    ] {
        let start = Instant::now();
        let refused = limiter.acquire(demand).await.unwrap_err();
        assert_eq!(refused.reason(), Reason::Expired);
        let waited = start.elapsed();
        assert!(waited >= expected && waited < expected + Duration::from_millis(5), "{waited:?}");
    }
    assert_eq!((limiter.stats().waiting, limiter.stats().refused(Reason::Expired)), (0, 4));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_has_passed_is_refused_at_once() {
    let limiter = Limiter::fixed(1);
    let _held = limiter.try_acquire(1).unwrap();
    advance(Duration::from_secs(1)).await;
    let refused = limiter.enqueue(Demand::ONE.deadline(Instant::now())).unwrap_err();
    assert_eq!(refused.reason(), Reason::Deadline);
}

fn fill(limiter: &Limiter, tickets: &mut Vec<Ticket>) {
    while limiter.stats().waiting < 3 {
        match limiter.enqueue(1).unwrap() {
            Admission::Waiting(ticket) => tickets.push(ticket),
            Admission::Admitted(_) => panic!("admitted past the queue"),
        }
    }
}

/// One unit, work of 10 ms, three that wait: 100 a second drain.
async fn busy_for_a_while(limiter: &Limiter) -> (Permit, Vec<Ticket>) {
    let mut tickets = Vec::new();
    let mut permit = limiter.try_acquire(1).unwrap();
    for _ in 0..200 {
        fill(limiter, &mut tickets);
        advance(Duration::from_millis(10)).await;
        permit.success();
        permit = tickets.remove(0).try_claim().unwrap();
    }
    fill(limiter, &mut tickets);
    (permit, tickets)
}

#[tokio::test(start_paused = true)]
async fn the_wait_is_predicted_from_the_pace_and_too_long_ones_are_refused_on_arrival() {
    let limiter = Limiter::builder().limit(1).queue(QueueConfig::bounded(100)).build().unwrap();
    let (_permit, tickets) = busy_for_a_while(&limiter).await;
    let estimate = tickets[2].estimate();
    assert!(estimate.samples > 0);
    let expected = estimate.expected.as_millis();
    assert!((28..=31).contains(&expected), "third in turn at 100 a second: {expected} ms");
    assert!(estimate.upper > estimate.expected);
    let refused = limiter.enqueue(Demand::ONE.max_wait(Duration::from_millis(5))).unwrap_err();
    assert_eq!(refused.reason(), Reason::WaitTooLong);
    let deadline = Instant::now() + Duration::from_millis(5);
    let late = limiter.enqueue(Demand::ONE.deadline(deadline)).unwrap_err();
    assert_eq!(late.reason(), Reason::Deadline);
    assert!(refused.wait().is_some() && refused.worth_retrying());
    assert_ne!(refused.retry_after(), None);
    assert_ne!(refused.retry_after(), late.retry_after(), "a moment of its own for each");
}

#[tokio::test(start_paused = true)]
async fn a_permit_knows_how_long_it_waited() {
    let limiter = Limiter::fixed(1);
    let held = limiter.try_acquire(1).unwrap();
    let other = limiter.clone();
    let waiter = tokio::spawn(async move { other.acquire(1).await.unwrap().waited() });
    tokio::task::yield_now().await;
    advance(Duration::from_millis(70)).await;
    drop(held);
    assert_eq!(waiter.await.unwrap(), Duration::from_millis(70));
}

#[tokio::test]
async fn run_holds_a_permit_while_the_work_runs() {
    let limiter = Limiter::fixed(1);
    let inside = limiter.run(1, async { Ok::<_, ()>(limiter.stats().in_flight) }).await.unwrap();
    assert_eq!((inside, limiter.stats().in_flight), (1, 0));
    let failed = limiter.run(1, async { Err::<(), _>("broken") }).await.unwrap_err();
    assert!(matches!(failed, RunError::Inner("broken")));
    assert_eq!(limiter.stats().in_flight, 0);
}
