//! Work that blocks: permits, bytes, panics, outcomes.

use std::future::Future;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tidegate::gate::Blocking;
use tidegate::gate::blocking::BlockingError;
use tidegate::limit::{Explanation, LimitAlgorithm};
use tidegate::{AskReady, Demand, Limiter, Outcome, QueueConfig, Readiness, Reason, Sample, View};

use super::device::{Device, eventually, gate, poll};

#[tokio::test(flavor = "multi_thread")]
async fn the_permit_comes_back_when_the_thread_is_done() {
    let blocking = gate(1, 4);
    let device = Arc::new(Device::default());
    let read = Arc::clone(&device);
    let caller = {
        let blocking = blocking.clone();
        tokio::spawn(async move { blocking.run(1, move || read.read(Duration::ZERO)).await })
    };
    eventually("it blocks", || device.inside() == 1).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    assert_eq!(blocking.limiter().in_flight(), 1, "the thread has it");
    let Readiness::Busy { ahead: 0, .. } = blocking.readiness() else { panic!("ready") };
    device.let_go();
    assert_eq!(blocking.run(1, || 5).await.unwrap(), 5);
    assert_eq!((blocking.limiter().in_flight(), device.inside()), (0, 0));
}

#[tokio::test]
async fn a_panic_is_an_error_and_gives_the_permit_back() {
    let blocking = gate(1, 4);
    let panics = [
        blocking.run(1, || -> u8 { panic!("with a word") }).await,
        blocking.run(1, || -> u8 { panic!("with a number: {}", 5) }).await,
        blocking.run(1, || -> u8 { std::panic::panic_any(5_u64) }).await,
    ];
    let [word, number, payload] = panics.map(|result| match result {
        Err(BlockingError::Panicked(panicked)) => panicked,
        other => panic!("{other:?}"),
    });
    assert_eq!((word.message(), number.message()), ("with a word", "with a number: 5"));
    assert_eq!(word.to_string(), "the work panicked: with a word");
    assert_eq!(payload.message(), "no message");
    assert_eq!(*payload.into_payload().downcast::<u64>().unwrap(), 5);
    let judged = blocking.work(1).run_judged(|| 1, |_| panic!("in judgement")).await;
    assert!(matches!(judged, Err(BlockingError::Panicked(_))));
    assert_eq!(blocking.limiter().in_flight(), 0);
    assert_eq!(blocking.run(1, || 5).await.unwrap(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_that_nobody_takes_may_panic_and_hurts_nobody() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }
    let blocking = gate(1, 4).max_bytes(10);
    let device = Arc::new(Device::default());
    let read = Arc::clone(&device);
    let bomb = move || {
        read.read(Duration::ZERO);
        Bomb
    };
    let mut first = Box::pin(blocking.work(1).bytes(10).run(bomb));
    assert!(poll(&mut first).is_pending());
    eventually("it blocks", || device.inside() == 1).await;
    let next = blocking.clone();
    let next = tokio::spawn(async move { next.run(1, || 5).await });
    eventually("the next waits", || blocking.limiter().stats().waiting == 1).await;
    drop(first);
    device.let_go();
    assert_eq!(next.await.unwrap().unwrap(), 5, "taken up by the same thread");
    assert_eq!((blocking.limiter().in_flight(), blocking.bytes().in_flight()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waker_that_panics_hurts_nobody() {
    struct Rude;
    impl Wake for Rude {
        fn wake(self: Arc<Self>) {
            panic!("woken");
        }
    }
    let blocking = gate(1, 4);
    let device = Arc::new(Device::default());
    let read = Arc::clone(&device);
    let rude = Waker::from(Arc::new(Rude));
    let mut first = Box::pin(blocking.run(1, move || read.read(Duration::ZERO)));
    assert!(first.as_mut().poll(&mut Context::from_waker(&rude)).is_pending());
    let mut permit = Box::pin(blocking.limiter().acquire(1));
    assert!(permit.as_mut().poll(&mut Context::from_waker(&rude)).is_pending());
    let last = blocking.clone();
    let last = tokio::spawn(async move { last.run(1, || 5).await });
    eventually("two wait", || blocking.limiter().stats().waiting == 2).await;
    device.let_go();
    eventually("it is handed over", || device.served.load(SeqCst) == 1 && poll(&mut first).is_ready()).await;
    permit.await.unwrap().success();
    assert_eq!(last.await.unwrap().unwrap(), 5);
    assert_eq!(blocking.limiter().in_flight(), 0);
}

#[tokio::test]
async fn who_finds_no_place_is_refused_with_the_reason() {
    let blocking = gate(1, 1).max_bytes(100);
    let device = Arc::new(Device::default());
    let start = |bytes: u64| {
        let read = Arc::clone(&device);
        let blocking = blocking.clone();
        let work = async move { blocking.work(1).bytes(bytes).run(move || read.read(Duration::ZERO)).await };
        let mut work = Box::pin(work);
        let polled = poll(&mut work);
        (work, polled)
    };
    let refused = |polled| match polled {
        Poll::Ready(Err(BlockingError::Refused(refused))) => refused,
        other => panic!("{other:?}"),
    };
    let (first, polled) = start(60);
    assert!(polled.is_pending());
    // Bytes: as many may be waited for as there are, and as many callers as the queue has places.
    let (second, polled) = start(70);
    assert!(polled.is_pending());
    assert_eq!(blocking.bytes_waited_for(), 70);
    let memory: tidegate::Refused = refused(start(10).1);
    assert_eq!((memory.reason(), memory.limiter()), (Reason::Memory, "device bytes"));
    drop(second);
    let (second, polled) = start(1_000_000);
    assert!(polled.is_pending(), "what is more than all waits to be alone");
    drop(second);
    assert_eq!((blocking.bytes_waited_for(), blocking.bytes().stats().waiting), (0, 0));
    // Threads.
    let (second, polled) = start(40);
    assert!(polled.is_pending());
    assert_eq!(refused(start(0).1).reason(), Reason::QueueFull);
    assert_eq!(blocking.bytes().in_flight(), 100);
    device.let_go();
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(blocking.bytes().in_flight(), 0);
}

#[tokio::test]
async fn more_bytes_than_its_share_may_wait_never() {
    let blocking = gate(4, 10).max_bytes(100);
    let device = Arc::new(Device::default());
    let mut waiting = Vec::new();
    for bytes in [100, 60, 30, 20] {
        let (read, blocking) = (Arc::clone(&device), blocking.clone());
        let work = async move { blocking.work(1).bytes(bytes).run(move || read.read(Duration::ZERO)).await };
        let mut work = Box::pin(work);
        match poll(&mut work) {
            Poll::Pending => waiting.push(work),
            Poll::Ready(result) => {
                let Err(BlockingError::Refused(refused)) = result else { panic!("{result:?}") };
                assert_eq!(
                    (bytes, refused.reason()),
                    (20, Reason::Memory),
                    "there were places, but no bytes"
                );
            }
        }
    }
    assert_eq!((waiting.len(), blocking.bytes_waited_for()), (3, 90));
    device.let_go();
    for work in waiting {
        work.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn two_waits_have_one_bound() {
    let queue = QueueConfig::bounded(10).max_wait(Duration::from_secs(10));
    let blocking = Blocking::new(Limiter::builder().limit(1).queue(queue).build().unwrap()).max_bytes(10);
    let thread = blocking.limiter().try_acquire(1).unwrap();
    let bytes = blocking.bytes().try_acquire(10).unwrap();
    let began = tokio::time::Instant::now();
    let mut work = Box::pin(blocking.work(1).bytes(10).run(|| 5));
    assert!(poll(&mut work).is_pending());
    tokio::time::sleep(Duration::from_secs(7)).await;
    drop(bytes);
    let Err(BlockingError::Refused(refused)) = work.await else { panic!("there is no thread") };
    assert_eq!((refused.reason(), began.elapsed().as_secs()), (Reason::Expired, 10));
    assert_eq!(blocking.bytes().in_flight(), 0);
    drop(thread);
    let soon = Demand::ONE.max_wait(Duration::from_secs(2));
    let _bytes = blocking.bytes().try_acquire(10).unwrap();
    let Err(BlockingError::Refused(refused)) = blocking.work(soon).bytes(1).run(|| 5).await else { panic!() };
    assert_eq!((refused.reason(), began.elapsed().as_secs()), (Reason::Expired, 12));
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<(Outcome, bool)>>>);

impl LimitAlgorithm for Heard {
    fn limit(&self) -> u64 {
        1
    }
    fn on_sample(&mut self, sample: &Sample) -> u64 {
        self.0.lock().unwrap().push((sample.outcome, sample.in_time));
        1
    }
    fn on_tick(&mut self, _: &View) -> u64 {
        1
    }
    fn explain(&self) -> Explanation {
        Explanation::default()
    }
}

#[tokio::test]
async fn an_adaptive_limit_hears_how_it_ended() {
    let heard = Heard::default();
    let blocking = Blocking::new(Limiter::adaptive(heard.clone()));
    blocking.run(1, || ()).await.unwrap();
    let overload = blocking.work(1).run_judged(|| 503, |_| Outcome::Overload);
    overload.await.unwrap();
    let _ = blocking.run(1, || panic!("no")).await;
    let device = Arc::new(Device::default());
    let read = Arc::clone(&device);
    let mut left = Box::pin(blocking.run(1, move || read.read(Duration::ZERO)));
    assert!(poll(&mut left).is_pending());
    eventually("it blocks", || device.inside() == 1).await;
    drop(left);
    device.let_go();
    eventually("all are heard of", || heard.0.lock().unwrap().len() == 4).await;
    let expected = [
        (Outcome::Success, true),
        (Outcome::Overload, true),
        (Outcome::Ignore, true),
        (Outcome::Success, false),
    ];
    assert_eq!(*heard.0.lock().unwrap(), expected);
}
