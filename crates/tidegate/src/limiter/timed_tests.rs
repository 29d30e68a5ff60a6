//! The limiter as time goes by: expiry, the algorithm, return slots, drain, watchers.

use std::sync::Arc;
use std::time::Duration;

use tidegate_control::limit::LimitAlgorithm;
use tidegate_control::sample::{Outcome, Sample, View};

use super::tests::{claim, limiter, reason, ticket, waits};
use super::*;
use crate::{Demand, Readiness, Reason, Refused};

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
async fn a_ticket_without_an_alarm_ends_with_a_tick() {
    let limiter = Limiter::fixed(1);
    let _held = limiter.try_acquire(1).unwrap();
    let demand = Demand::ONE.max_wait(Duration::from_millis(100));
    let Ok(Admission::Waiting(ticket)) = limiter.enqueue(demand) else { panic!("the unit is held") };
    let mut ticket = ticket.without_alarm();
    let polled = tokio::time::timeout(Duration::from_secs(9), &mut ticket).await;
    assert!(polled.is_err(), "nothing ended it");
    limiter.tick();
    assert_eq!(ticket.await.unwrap_err().reason(), Reason::Expired);
    assert_eq!(limiter.stats().expired, 1);
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
    let next = waits(next);
    tokio::time::advance(Duration::from_millis(100)).await;
    limiter.tick();
    assert_eq!(claim(next).weight(), 1);
    match in_a_drawer.try_claim() {
        Err(TryClaimError::Refused(refused)) => assert_eq!(refused.reason(), Reason::Expired),
        other => panic!("{other:?}"),
    }
    assert_eq!(limiter.stats().available, 1);
}

#[tokio::test(start_paused = true)]
async fn a_program_that_stood_still_has_passed_nobody_by() {
    let limiter = limiter(1, 10);
    let held = limiter.try_acquire(1).unwrap();
    let first = ticket(&limiter, 1);
    let next = ticket(&limiter, 1);
    drop(held);
    // Stopped, just before the task of the first runs; then everybody runs again, others sooner.
    tokio::time::advance(Duration::from_millis(1500)).await;
    for _ in 0..5 {
        limiter.tick();
        tokio::time::advance(Duration::from_millis(10)).await;
    }
    assert_eq!(limiter.stats().expired, 0);
    drop(claim(first));
    drop(claim(next));
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
async fn who_waited_in_vain_need_not_come_back_sooner() {
    let limiter = limiter(1, 20);
    let mut held = limiter.try_acquire(1).unwrap();
    // Ten thousand a second, and then nothing any more.
    for _ in 0..1000 {
        let next = ticket(&limiter, 1);
        tokio::time::advance(Duration::from_micros(100)).await;
        held.success();
        held = claim(next);
    }
    let patience = Duration::from_millis(500);
    let waiting: Vec<_> = (0..20).map(|_| limiter.enqueue(Demand::ONE.max_wait(patience)).unwrap()).collect();
    tokio::time::advance(patience).await;
    limiter.tick();
    let mut moments: Vec<_> = waiting
        .into_iter()
        .map(|admission| match admission {
            Admission::Waiting(ticket) => match ticket.try_claim() {
                Err(TryClaimError::Refused(refused)) => refused,
                other => panic!("{other:?}"),
            },
            Admission::Admitted(_) => panic!("the unit is held"),
        })
        .map(|refused| (refused.reason(), refused.retry_after().unwrap()))
        .collect();
    assert!(moments.iter().all(|(why, after)| *why == Reason::Expired && *after > patience), "{moments:?}");
    moments.sort_by_key(|(_, after)| *after);
    moments.dedup();
    assert_eq!(moments.len(), 20, "and each at a moment of its own");
    drop(held);
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

fn still_waits(ticket: Ticket) -> Option<Ticket> {
    match ticket.try_claim() {
        Err(TryClaimError::NotYet(ticket)) => Some(ticket),
        _ => None,
    }
}

/// A service that stands still for a minute while callers come and go, and then goes on at its pace.
async fn after_a_stall(limiter: &Limiter) {
    let mut held: Vec<Permit> = (0..20).map(|_| limiter.try_acquire(1).unwrap()).collect();
    let mut line = std::collections::VecDeque::new();
    for _ in 0..600 {
        line.push_back(ticket(limiter, 1));
        tokio::time::advance(Duration::from_millis(100)).await;
        limiter.tick();
        line = line.into_iter().filter_map(still_waits).collect();
    }
    assert!(line.len() >= 35, "{} wait", line.len());
    // The first comes back, and the next, …
    let sane = Duration::from_secs(1);
    for at_once in 0..40 {
        held.remove(0).success();
        held.push(claim(line.pop_front().unwrap()));
        match limiter.enqueue(1) {
            Ok(Admission::Waiting(newcomer)) => {
                let expected = newcomer.estimate().expected;
                assert!(expected < sane, "{at_once}: {expected:?}");
                line.push_back(newcomer);
            }
            // The self-tuned door lets nobody into a line that long, once it knows the pace.
            Err(refused) if limiter.explain().algorithm != "fixed" => {
                assert!(refused.wait().is_some_and(|wait| wait.expected < sane), "{at_once}: {refused:?}");
            }
            other => panic!("{at_once}: {other:?}"),
        }
        // Whoever cannot wait is told a moment that is sane, or none.
        let after = limiter.try_acquire(1).unwrap_err().retry_after();
        assert!(after.is_none_or(|after| after < 10 * sane), "{at_once}: {after:?}");
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    assert!(limiter.drain_rate().is_some_and(|rate| rate > 300.0), "{:?}", limiter.drain_rate());
}

#[tokio::test(start_paused = true)]
async fn after_a_stall_the_first_dispatch_refuses_nobody() {
    after_a_stall(&limiter(20, 1000)).await;
}

#[tokio::test(start_paused = true)]
async fn after_a_stall_the_first_dispatch_refuses_nobody_where_work_is_measured() {
    let notes = Notes { limit: 20, told: Arc::default(), samples: Arc::default() };
    after_a_stall(&Limiter::adaptive(notes)).await;
}

/// Refused callers do not wait, and what nobody waits for is not measured: a pace from bad times must not stay.
#[tokio::test(start_paused = true)]
async fn a_pace_of_long_ago_refuses_nobody() {
    let queue = QueueConfig::bounded(10).max_wait(Duration::from_secs(60));
    let limiter = Limiter::builder().limit(2).queue(queue).build().unwrap();
    let mut held = vec![limiter.try_acquire(1).unwrap(), limiter.try_acquire(1).unwrap()];
    let usual = || Demand::ONE.max_wait(Duration::from_secs(5));
    let mut next = ticket(&limiter, 1);
    for _ in 0..5 {
        tokio::time::advance(Duration::from_secs(20)).await;
        held.remove(0).success();
        held.push(claim(next));
        next = ticket(&limiter, 1);
    }
    assert_eq!(reason(limiter.enqueue(usual())), Reason::WaitTooLong, "one in twenty seconds");
    next.decline();
    drop(held);
    // Better times, in which bursts end as soon as they came.
    let mut refused = 0;
    for _ in 0..20 {
        tokio::time::advance(Duration::from_secs(10)).await;
        let burst: Vec<_> = (0..4).map(|_| limiter.enqueue(usual())).collect();
        refused = burst.iter().filter(|answer| answer.is_err()).count();
        if limiter.drain_rate().is_none() {
            assert_eq!(refused, 0);
        }
        tokio::time::advance(Duration::from_millis(10)).await;
        for admission in burst.into_iter().flatten() {
            match admission {
                Admission::Admitted(permit) => permit.success(),
                Admission::Waiting(ticket) => claim(ticket).success(),
            }
        }
    }
    assert_eq!(refused, 0, "{:?}", limiter.drain_rate());
}

/// After a refusal admissions show the pace for a moment; later they show how many come.
#[tokio::test(start_paused = true)]
async fn how_many_come_is_no_pace() {
    let notes = Notes { limit: 2, told: Arc::default(), samples: Arc::default() };
    let limiter = Limiter::adaptive(notes);
    let held = vec![limiter.try_acquire(1).unwrap(), limiter.try_acquire(1).unwrap()];
    assert!(limiter.try_acquire(1).is_err());
    drop(held);
    for _ in 0..10 {
        tokio::time::advance(Duration::from_secs(10)).await;
        let permit = limiter.try_acquire(1).unwrap();
        tokio::time::advance(Duration::from_millis(10)).await;
        permit.success();
    }
    assert_eq!(limiter.drain_rate(), None);
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
