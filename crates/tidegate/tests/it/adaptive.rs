//! An adaptive limiter tells its algorithm what happened, and enforces what it answers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate::limit::{Aimd, Bounds, Fixed, Knee};
use tidegate::{Demand, LimitAlgorithm, Limiter, Outcome, Sample, View};
use tokio::time::advance;

/// Remembers what it is told; answers what it is set to.
#[derive(Clone, Default)]
struct Listening {
    heard: Arc<Mutex<Vec<Sample>>>,
    pressed: Arc<Mutex<Vec<View>>>,
    ticked: Arc<Mutex<Vec<View>>>,
}

impl LimitAlgorithm for Listening {
    fn limit(&self) -> u64 {
        2
    }
    fn on_sample(&mut self, sample: &Sample) -> u64 {
        self.heard.lock().unwrap().push(*sample);
        2
    }
    fn on_pressure(&mut self, at: &View) -> u64 {
        self.pressed.lock().unwrap().push(*at);
        2
    }
    fn on_tick(&mut self, at: &View) -> u64 {
        self.ticked.lock().unwrap().push(*at);
        3
    }
}

#[tokio::test(start_paused = true)]
async fn samples_carry_the_truth() {
    let listening = Listening::default();
    let limiter = Limiter::adaptive(listening.clone());
    let first = limiter.try_acquire(Demand::ONE.kind(3)).unwrap();
    advance(Duration::from_millis(10)).await;
    let mut second = limiter.try_acquire(1).unwrap();
    advance(Duration::from_millis(5)).await;
    first.success();
    second.late();
    advance(Duration::from_millis(20)).await;
    drop(second);
    let heard = listening.heard.lock().unwrap().clone();
    let ms = |nanos: u64| nanos / 1_000_000;
    assert_eq!((ms(heard[0].elapsed), heard[0].kind, heard[0].outcome), (15, 3, Outcome::Success));
    assert_eq!((ms(heard[1].elapsed), heard[1].outcome, heard[1].in_time), (25, Outcome::Canceled, false));
    assert_eq!((heard[0].at.in_flight, heard[1].at.in_flight), (2, 1));
    // One in flight for 10 ms, two for 5, one for 20: 40 unit-milliseconds.
    assert_eq!((ms(heard[0].at.area), ms(heard[1].at.area)), (20, 40));
}

#[tokio::test(start_paused = true)]
async fn pressure_and_time_are_told_and_the_answer_is_enforced() {
    let listening = Listening::default();
    let limiter = Limiter::adaptive(listening.clone());
    let _held = (limiter.try_acquire(1).unwrap(), limiter.try_acquire(1).unwrap());
    let waiter = tokio::spawn({
        let limiter = limiter.clone();
        async move { limiter.acquire(1).await.map(drop).is_ok() }
    });
    tokio::task::yield_now().await;
    let pressed = listening.pressed.lock().unwrap().clone();
    assert_eq!((pressed.len(), pressed[0].waiting, pressed[0].in_flight), (1, 1, 2));
    limiter.tick();
    assert!(waiter.await.unwrap(), "the third unit went to the waiter");
    assert_eq!(listening.ticked.lock().unwrap()[0].waiting, 1);
}

#[test]
fn overload_lowers_an_aimd_limit() {
    let limiter = Limiter::adaptive(Aimd::new(Bounds { start: 100, ..Bounds::default() }, None));
    limiter.try_acquire(1).unwrap().overload();
    assert_eq!((limiter.stats().limit, limiter.explain().limit, limiter.stats().available), (90, 90, 90));
}

/// A thousand callers a second for `seconds`; each one's work takes 20 ms. Returns the callers that were refused
/// and the longest wait, both in the last second.
async fn thousand_a_second(limiter: &Limiter, seconds: u32) -> (u64, Duration) {
    let seen = Arc::new(Mutex::new((0, Duration::ZERO)));
    for millisecond in 0..seconds * 1000 {
        let (limiter, seen) = (limiter.clone(), Arc::clone(&seen));
        let counts = millisecond >= (seconds - 1) * 1000;
        tokio::spawn(async move {
            let came = tokio::time::Instant::now();
            let answer = limiter.acquire(1).await;
            if counts {
                let mut seen = seen.lock().unwrap();
                seen.0 += u64::from(answer.is_err());
                seen.1 = seen.1.max(came.elapsed());
            }
            if let Ok(permit) = answer {
                tokio::time::sleep(Duration::from_millis(20)).await;
                permit.success();
            }
        });
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let seen = seen.lock().unwrap();
    *seen
}

#[tokio::test(start_paused = true)]
async fn the_door_keeps_waits_short_under_overload() {
    let limiter = Limiter::adaptive(Fixed::new(10));
    let (refused, longest) = thousand_a_second(&limiter, 6).await;
    assert!((450..550).contains(&refused), "{refused} of 1000: ten places serve 500 a second");
    assert!(longest < Duration::from_millis(60), "{longest:?}: twice the load needs few places");
    let coverage = limiter.coverage();
    assert!(coverage.predicted > 1000 && coverage.share > 0.8, "{coverage:?}");
}

#[tokio::test(start_paused = true)]
async fn the_knee_rises_to_what_the_work_can_bear() {
    let limiter = Limiter::adaptive(Knee::new());
    let (refused, longest) = thousand_a_second(&limiter, 6).await;
    assert_eq!(refused, 0, "twenty at once were all that was needed: {:?}", limiter.explain());
    assert!(longest < Duration::from_millis(40), "{longest:?}");
}
