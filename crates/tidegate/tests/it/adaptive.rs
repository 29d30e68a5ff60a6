//! An adaptive limiter tells its algorithm what happened, and enforces what it answers.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate::limit::{Aimd, Bounds};
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
