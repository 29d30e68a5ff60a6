use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tidegate_control::limit::{Fixed, LimitAlgorithm};
use tidegate_control::queue::Criticality;
use tidegate_control::sample::{Outcome, Sample, View};

use super::*;
use crate::{AskReady, Demand, Readiness, Reason, Refused};

fn limiter(limit: u64, queue: u64) -> Limiter {
    Limiter::builder().limit(limit).queue(QueueConfig::bounded(queue)).build().unwrap()
}

fn ticket(limiter: &Limiter, demand: impl Into<Demand>) -> Ticket {
    match limiter.enqueue(demand).unwrap() {
        Admission::Waiting(ticket) => ticket,
        Admission::Admitted(_) => panic!("admitted at once"),
    }
}

fn reason<T: std::fmt::Debug>(result: Result<T, Refused>) -> Reason {
    result.unwrap_err().reason()
}

fn claim(ticket: Ticket) -> Permit {
    ticket.try_claim().unwrap()
}

fn waits(ticket: Ticket) -> Ticket {
    match ticket.try_claim() {
        Err(TryClaimError::NotYet(ticket)) => ticket,
        other => panic!("{other:?}"),
    }
}

#[derive(Default)]
struct Rings(AtomicUsize);

impl Wake for Rings {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll<F: Future + Unpin>(future: &mut F, rings: &Arc<Rings>) -> Poll<F::Output> {
    let waker = Waker::from(Arc::clone(rings));
    Pin::new(future).poll(&mut Context::from_waker(&waker))
}

#[test]
fn handles_cross_threads_and_refusals_are_small() {
    fn send_sync<T: Send + Sync>() {}
    send_sync::<Limiter>();
    send_sync::<Permit>();
    send_sync::<Ticket>();
    send_sync::<Acquire>();
    send_sync::<Refused>();
    send_sync::<Drained>();
    send_sync::<ReadinessWatch>();
    assert!(size_of::<Result<Permit, Refused>>() <= 128);
}

#[test]
fn permits_come_and_go_without_a_runtime() {
    let limiter = limiter(2, 0);
    let first = limiter.try_acquire(Demand::ONE).unwrap();
    let second = limiter.try_acquire(1).unwrap();
    assert_eq!(reason(limiter.try_acquire(Demand::ONE)), Reason::QueueFull);
    assert_eq!(limiter.stats().in_flight, 2);
    drop(first);
    second.success();
    let stats = limiter.stats();
    assert_eq!((stats.in_flight, stats.available, stats.admitted, stats.peak_in_flight), (0, 2, 2, 2));
    assert_eq!((stats.refused(Reason::QueueFull), stats.refused_total()), (1, 1));
}

#[test]
fn readiness_reserves_nothing_and_tells_the_truth() {
    let limiter = limiter(1, 1);
    for _ in 0..1000 {
        assert_eq!(limiter.readiness(), Readiness::Ready { available: 1 });
    }
    let held = limiter.try_acquire(Demand::ONE).unwrap();
    assert!(matches!(limiter.readiness(), Readiness::Busy { ahead: 0, .. }));
    let waiting = ticket(&limiter, 1);
    assert!(matches!(limiter.readiness(), Readiness::Saturated { .. }));
    drop(held);
    let granted = claim(waiting);
    drop(granted);
    assert!(AskReady::readiness(&limiter).is_ready());
    assert!(
        !AskReady::readiness_for(&limiter, &Demand::weight(2)).is_ready() || limiter.stats().in_flight == 0
    );
}

#[test]
fn nobody_passes_the_queue() {
    let limiter = limiter(1, 10);
    let held = limiter.try_acquire(1).unwrap();
    let first = ticket(&limiter, 1);
    let second = ticket(&limiter, 1);
    assert_eq!((first.ahead(), second.ahead()), (0, 1));
    drop(held);
    assert_eq!(reason(limiter.try_acquire(1)), Reason::QueueFull, "the unit belongs to the first");
    let second = waits(second);
    drop(claim(first));
    drop(claim(second));
    assert_eq!(limiter.stats().available, 1);
}

#[test]
fn an_idle_handle_holds_nothing() {
    let limiter = limiter(1, 10);
    let clones: Vec<Limiter> = (0..100).map(|_| limiter.clone()).collect();
    assert!(clones.iter().all(|clone| clone.readiness().is_ready()));
    drop(limiter.acquire(1));
    assert_eq!(limiter.stats().available, 1);
}

#[test]
fn a_canceled_head_lets_the_next_go_and_a_dropped_grant_passes_on() {
    let limiter = limiter(2, 10);
    let held = limiter.try_acquire(2).unwrap();
    let large = ticket(&limiter, 2);
    let rings = Arc::new(Rings::default());
    let mut small = ticket(&limiter, 1);
    limiter.set_limit(3);
    // One unit is free and the large one does not fit; the small one may pass it.
    assert!(matches!(poll(&mut small, &rings), Poll::Ready(Ok(_))));
    let mut next = ticket(&limiter, 3);
    assert!(poll(&mut next, &rings).is_pending());
    drop(held);
    drop(large);
    assert_eq!(rings.0.load(Ordering::SeqCst), 1, "the dropped grant woke the next");
    let permit = claim(next);
    assert_eq!(permit.weight(), 3);
    drop(permit);
    assert_eq!(limiter.stats().canceled, 1);
    assert_eq!(limiter.stats().available, 3);
}

#[test]
fn declining_is_counted_apart() {
    let limiter = limiter(1, 2);
    let held = limiter.try_acquire(1).unwrap();
    ticket(&limiter, 1).decline();
    drop(ticket(&limiter, 1));
    drop(held);
    let stats = limiter.stats();
    assert_eq!((stats.declined, stats.canceled, stats.waiting, stats.available), (1, 1, 0, 1));
}

#[test]
fn a_lower_limit_holds_at_once_and_its_debt_is_paid_first() {
    let limiter = limiter(4, 10);
    let mut held: Vec<Permit> = (0..4).map(|_| limiter.try_acquire(1).unwrap()).collect();
    let waiting = ticket(&limiter, 1);
    limiter.set_limit(2);
    assert_eq!((limiter.stats().overcommitted, limiter.stats().available), (2, 0));
    held.pop();
    held.pop();
    let waiting = waits(waiting);
    held.pop();
    let permit = claim(waiting);
    assert_eq!(limiter.stats().in_flight, 2);
    drop((permit, held));
    assert_eq!(limiter.stats().available, 2);
}

#[test]
fn a_higher_limit_wakes_exactly_as_many_as_fit() {
    let limiter = limiter(1, 10);
    let _held = limiter.try_acquire(1).unwrap();
    let rings = Arc::new(Rings::default());
    let mut tickets: Vec<Ticket> = (0..5).map(|_| ticket(&limiter, 1)).collect();
    for ticket in &mut tickets {
        assert!(poll(ticket, &rings).is_pending());
    }
    limiter.set_limit(3);
    assert_eq!(rings.0.load(Ordering::SeqCst), 2);
    assert_eq!((limiter.stats().in_flight, limiter.stats().waiting), (3, 3));
}

#[test]
fn a_limit_of_zero_admits_nobody() {
    let limiter = limiter(1, 10);
    limiter.set_limit(0);
    let waiting = waits(ticket(&limiter, 1));
    assert_eq!(reason(limiter.try_acquire(1)), Reason::QueueFull);
    limiter.set_limit(1);
    drop(claim(waiting));
}

#[test]
fn a_demand_heavier_than_the_limit_goes_alone() {
    let limiter = limiter(4, 10);
    let one = limiter.try_acquire(1).unwrap();
    let heavy = waits(ticket(&limiter, 9));
    drop(one);
    let heavy = claim(heavy);
    assert_eq!(reason(limiter.try_acquire(1)), Reason::QueueFull);
    drop(heavy);
    assert_eq!(limiter.stats().available, 4);
    assert_eq!(limiter.try_acquire(u64::MAX).unwrap().weight(), u64::MAX);
    assert_eq!(limiter.stats().available, 4);
}

#[test]
fn a_large_demand_is_not_starved() {
    let limiter = limiter(4, 64);
    let mut held: Vec<Permit> = (0..4).map(|_| limiter.try_acquire(1).unwrap()).collect();
    let mut large = ticket(&limiter, 4);
    let mut small: Vec<Ticket> = (0..32).map(|_| ticket(&limiter, 1)).collect();
    let mut passed = 0;
    loop {
        held.pop();
        match large.try_claim() {
            Ok(_) => break,
            Err(TryClaimError::NotYet(back)) => large = back,
            Err(TryClaimError::Refused(refused)) => panic!("{refused}"),
        }
        small = small
            .into_iter()
            .filter_map(|ticket| match ticket.try_claim() {
                Ok(permit) => {
                    passed += 1;
                    held.push(permit);
                    None
                }
                Err(TryClaimError::NotYet(ticket)) => Some(ticket),
                Err(TryClaimError::Refused(refused)) => panic!("{refused}"),
            })
            .collect();
    }
    assert!(passed <= 8, "{passed} passed");
}

#[test]
fn classes_displace_and_go_first() {
    let limiter = limiter(1, 2);
    let held = limiter.try_acquire(1).unwrap();
    let batch = ticket(&limiter, Demand::ONE.class(Criticality::Sheddable));
    let user = ticket(&limiter, Demand::ONE);
    let payment = ticket(&limiter, Demand::ONE.class(Criticality::CriticalPlus));
    match batch.try_claim() {
        Err(TryClaimError::Refused(refused)) => assert_eq!(refused.reason(), Reason::Displaced),
        other => panic!("{other:?}"),
    }
    assert_eq!(reason(limiter.enqueue(Demand::ONE)), Reason::QueueFull);
    drop(held);
    let user = waits(user);
    drop(claim(payment));
    drop(claim(user));
}

#[test]
fn holders_and_waiters_are_listed() {
    let limiter = Limiter::builder().name("db").limit(2).track_occupants(true).build().unwrap();
    let import = limiter.try_acquire(Demand::weight(2).holder("import")).unwrap();
    let report = ticket(&limiter, Demand::ONE.key("acme").class(Criticality::Sheddable));
    let holders = limiter.holders();
    assert_eq!((holders.len(), &*holders[0].who, holders[0].weight), (1, "import", 2));
    let waiters = limiter.waiters();
    assert_eq!((&*waiters[0].who, waiters[0].class), ("acme", Criticality::Sheddable));
    drop(import);
    assert_eq!(limiter.holders()[0].who, "acme");
    drop(report);
    assert!(limiter.holders().is_empty() && limiter.waiters().is_empty());
}

#[test]
fn dry_run_admits_everybody_and_counts() {
    let limiter = Limiter::builder().limit(1).queue(QueueConfig::bounded(1)).dry_run(true).build().unwrap();
    let held: Vec<Permit> = (0..5).map(|_| limiter.try_acquire(1).unwrap()).collect();
    let stats = limiter.stats();
    assert_eq!((stats.in_flight, stats.overcommitted, stats.admitted), (5, 4, 5));
    // The first fits, the second would have waited, three would have been refused.
    assert_eq!((stats.would_refuse, stats.refused(Reason::QueueFull)), (3, 3));
    drop(held);
    assert_eq!(limiter.stats().available, 1);
}

#[test]
fn wrong_settings_are_told() {
    assert!(Limiter::builder().build().is_err());
    assert!(Limiter::builder().limit(1).algorithm(Fixed::new(2)).build().is_err());
    assert!(Limiter::builder().limit(u64::MAX).build().is_err());
    assert!(Limiter::builder().limit(0).build().is_err());
    let nobody = QueueConfig::bounded(1).max_wait(Duration::ZERO);
    assert!(Limiter::builder().limit(1).queue(nobody).build().unwrap_err().to_string().contains("max_wait"));
}

/// Notes what it is told, and lets the limit be set.
struct Notes {
    limit: u64,
    told: Arc<std::sync::Mutex<Vec<(&'static str, View)>>>,
    samples: Arc<std::sync::Mutex<Vec<Sample>>>,
}

impl LimitAlgorithm for Notes {
    fn limit(&self) -> u64 {
        self.limit
    }
    fn on_sample(&mut self, sample: &Sample) -> u64 {
        self.samples.lock().unwrap().push(*sample);
        if sample.outcome == Outcome::Overload {
            self.limit = 1;
        }
        self.limit
    }
    fn on_pressure(&mut self, at: &View) -> u64 {
        self.told.lock().unwrap().push(("pressure", *at));
        self.limit
    }
    fn on_tick(&mut self, at: &View) -> u64 {
        self.told.lock().unwrap().push(("tick", *at));
        self.limit
    }
}

#[tokio::test(start_paused = true)]
async fn the_algorithm_hears_everything_and_its_limit_holds() {
    let (told, samples) = (Arc::default(), Arc::default());
    let limiter =
        Limiter::adaptive(Notes { limit: 2, told: Arc::clone(&told), samples: Arc::clone(&samples) });
    let first = limiter.try_acquire(Demand::ONE.kind(3)).unwrap();
    let mut second = limiter.try_acquire(Demand::ONE).unwrap();
    tokio::time::advance(Duration::from_millis(100)).await;
    let waiting = ticket(&limiter, 1);
    let pressure = told.lock().unwrap().iter().rfind(|(what, _)| *what == "pressure").unwrap().1;
    assert_eq!((pressure.in_flight, pressure.waiting, pressure.limit), (2, 1, 2));
    tokio::time::advance(Duration::from_millis(50)).await;
    limiter.tick();
    assert_eq!(told.lock().unwrap().last().unwrap().0, "tick");
    first.overload();
    second.late();
    tokio::time::advance(Duration::from_millis(50)).await;
    let waiting = waits(waiting);
    second.success();
    let third = claim(waiting);
    assert_eq!(third.waited(), Duration::from_millis(100));
    drop(third);
    let samples = samples.lock().unwrap();
    let ms = |ms: u64| ms * 1_000_000;
    assert_eq!(samples[0].elapsed, ms(150));
    assert_eq!((samples[0].kind, samples[0].outcome, samples[0].at.in_flight), (3, Outcome::Overload, 2));
    assert_eq!((samples[1].elapsed, samples[1].in_time, samples[1].at.in_flight), (ms(200), false, 1));
    // ∫ in_flight dt: 150 ms of two, 50 ms of one.
    assert_eq!(samples[0].at.area, ms(300));
    assert_eq!(samples[1].at.area, ms(350));
    assert_eq!((samples[2].outcome, samples[2].queued), (Outcome::Canceled, ms(100)));
    assert_eq!(limiter.stats().limit, 1);
    assert_eq!(limiter.service_time(0).p50, limiter.service_time(0).p50);
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_at_its_longest_or_at_the_deadline() {
    let limiter = limiter(1, 10);
    let held = limiter.try_acquire(1).unwrap();
    let start = tokio::time::Instant::now();
    let bounded = limiter.acquire(Demand::ONE.max_wait(Duration::from_millis(200))).await;
    assert_eq!(reason(bounded), Reason::Expired);
    assert_eq!(start.elapsed(), Duration::from_millis(200));
    let deadline = start + Duration::from_millis(500);
    assert_eq!(reason(limiter.acquire(Demand::ONE.deadline(deadline)).await), Reason::Expired);
    assert_eq!(tokio::time::Instant::now(), deadline);
    assert_eq!(reason(limiter.acquire(Demand::ONE).await), Reason::Expired);
    assert_eq!(start.elapsed(), Duration::from_millis(5500));
    assert_eq!(reason(limiter.enqueue(Demand::ONE.deadline(start))), Reason::Deadline);
    assert_eq!((limiter.stats().expired, limiter.stats().waiting), (3, 0));
    drop(held);
    assert_eq!(limiter.stats().available, 1);
}

#[tokio::test(start_paused = true)]
async fn a_ticket_nobody_polls_expires_too_and_an_unclaimed_grant_passes_on() {
    let limiter = limiter(1, 10);
    let held = limiter.try_acquire(1).unwrap();
    let forgotten = ticket(&limiter, Demand::ONE.max_wait(Duration::from_millis(5)));
    let in_a_drawer = ticket(&limiter, 1);
    let next = ticket(&limiter, 1);
    tokio::time::advance(Duration::from_millis(20)).await;
    limiter.tick();
    assert_eq!(limiter.stats().waiting, 2);
    assert!(matches!(forgotten.try_claim(), Err(TryClaimError::Refused(_))));
    drop(held);
    let next = waits(next);
    tokio::time::advance(Duration::from_millis(1001)).await;
    limiter.tick();
    assert_eq!(claim(next).weight(), 1);
    match in_a_drawer.try_claim() {
        Err(TryClaimError::Refused(refused)) => assert_eq!(refused.reason(), Reason::Expired),
        other => panic!("{other:?}"),
    }
    assert_eq!(limiter.stats().available, 1);
}

#[tokio::test(start_paused = true)]
async fn the_refused_get_moments_of_their_own() {
    let limiter = limiter(1, 1);
    let mut held = limiter.try_acquire(1).unwrap();
    let mut next = ticket(&limiter, 1);
    assert_eq!(limiter.enqueue(1).unwrap_err().retry_after(), None, "nothing is known yet");
    for _ in 0..100 {
        tokio::time::advance(Duration::from_millis(10)).await;
        held.success();
        held = claim(next);
        next = ticket(&limiter, 1);
    }
    let mut moments: Vec<Duration> =
        (0..50).map(|_| limiter.enqueue(1).unwrap_err().retry_after().unwrap()).collect();
    moments.sort();
    moments.dedup();
    assert_eq!(moments.len(), 50);
    assert_eq!(limiter.service_time(0).p50.map(|p50| p50.as_millis() / 2), Some(5));
    assert!(moments.iter().all(|after| *after < Duration::from_secs(5)), "{moments:?}");
}

#[tokio::test(start_paused = true)]
async fn a_long_queue_refuses_at_the_door() {
    let limiter = limiter(1, 1000);
    let mut held = limiter.try_acquire(1).unwrap();
    let mut queue: std::collections::VecDeque<Ticket> = (0..60).map(|_| ticket(&limiter, 1)).collect();
    for _ in 0..40 {
        tokio::time::advance(Duration::from_millis(100)).await;
        drop(held);
        held = claim(queue.pop_front().unwrap());
    }
    // Ten a second; twenty in front: two seconds.
    let patient = ticket(&limiter, 1);
    let expected = patient.estimate().expected;
    assert!(expected > Duration::from_millis(1500) && expected < Duration::from_millis(3000), "{expected:?}");
    let refused = limiter.enqueue(Demand::ONE.patience(Duration::from_secs(2))).unwrap_err();
    assert_eq!(refused.reason(), Reason::WaitTooLong);
    assert!(refused.wait().unwrap().expected > Duration::from_millis(800));
    assert!(refused.retry_after().is_some() && refused.worth_retrying());
    let soon = tokio::time::Instant::now() + Duration::from_millis(300);
    assert_eq!(reason(limiter.enqueue(Demand::ONE.deadline(soon))), Reason::Deadline);
}

#[tokio::test(start_paused = true)]
async fn draining_answers_those_that_wait_and_refuses_the_rest() {
    let limiter = limiter(1, 10);
    let held = limiter.try_acquire(1).unwrap();
    let waiting = ticket(&limiter, 1);
    let drained = tokio::spawn(limiter.drain());
    assert_eq!(reason(limiter.enqueue(1)), Reason::Draining);
    assert_eq!(reason(limiter.try_acquire(1)), Reason::Draining);
    assert!(matches!(limiter.readiness(), Readiness::Draining { .. }));
    drop(held);
    let last = waiting.await.unwrap();
    tokio::task::yield_now().await;
    assert!(!drained.is_finished());
    drop(last);
    assert_eq!(drained.await.unwrap().in_flight, 0);
    assert_eq!(reason(limiter.try_acquire(1)), Reason::Draining);
    limiter.drain().await;
}

#[tokio::test(start_paused = true)]
async fn watchers_hear_of_changes() {
    let limiter = limiter(1, 1);
    let mut watch = limiter.subscribe();
    let watcher = tokio::spawn(async move {
        let busy = watch.changed().await;
        watch.wait_until_ready().await;
        (busy, watch.borrow())
    });
    tokio::task::yield_now().await;
    let held = limiter.try_acquire(1).unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    drop(held);
    let (busy, ready) = watcher.await.unwrap();
    assert!(matches!(busy, Readiness::Busy { .. }));
    assert!(ready.is_ready());
    assert!(limiter.try_acquire(1).is_ok(), "the last watcher gave the fast path back");
}

#[tokio::test]
async fn work_runs_under_a_permit() {
    let limiter = limiter(1, 0);
    let inner = limiter.clone();
    let result: Result<u64, RunError<std::io::Error>> =
        limiter.run(1, async move { Ok(inner.stats().in_flight) }).await;
    assert_eq!(result.unwrap(), 1);
    let _held = limiter.try_acquire(1).unwrap();
    let refused = limiter.run(1, async { Ok::<(), std::io::Error>(()) }).await.unwrap_err();
    assert_eq!(Refused::find(&refused).unwrap().reason(), Reason::QueueFull);
}
