//! Work that blocks: threads, waiting work and bytes are bounded, whatever callers and work do.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tidegate::gate::Blocking;
use tidegate::gate::blocking::BlockingError;
use tidegate::limit::{Explanation, LimitAlgorithm};
use tidegate::{AskReady, Demand, Limiter, Outcome, QueueConfig, Readiness, Reason, Sample, View};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

/// A device that blocks the threads of its users, real threads, until it is let go.
#[derive(Default)]
pub(super) struct Device {
    open: Mutex<bool>,
    changed: Condvar,
    inside: AtomicUsize,
    most: AtomicUsize,
    served: AtomicUsize,
}

impl Device {
    /// Blocks until the device is let go, then takes a moment.
    pub(super) fn read(&self, moment: Duration) -> usize {
        let inside = self.inside.fetch_add(1, SeqCst) + 1;
        self.most.fetch_max(inside, SeqCst);
        let open = self.open.lock().unwrap();
        drop(self.changed.wait_while(open, |open| !*open).unwrap());
        #[allow(clippy::disallowed_methods)] // blocking its thread is what it is for
        if !moment.is_zero() {
            std::thread::sleep(moment);
        }
        self.inside.fetch_sub(1, SeqCst);
        self.served.fetch_add(1, SeqCst)
    }

    pub(super) fn let_go(&self) {
        *self.open.lock().unwrap() = true;
        self.changed.notify_all();
    }

    fn inside(&self) -> usize {
        self.inside.load(SeqCst)
    }
}

/// Yields until it is so.
pub(super) async fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..20_000 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never: {what}");
}

fn gate(limit: u64, places: u64) -> Blocking {
    let queue = QueueConfig::bounded(places).max_wait(Duration::from_secs(600));
    Blocking::new(Limiter::builder().name("device").limit(limit).queue(queue).build().unwrap())
}

/// A runtime that counts its threads: now, and the most there were.
fn counted() -> (Runtime, Arc<[AtomicUsize; 2]>) {
    let threads = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    let (start, stop) = (Arc::clone(&threads), Arc::clone(&threads));
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .on_thread_start(move || {
            let now = start[0].fetch_add(1, SeqCst) + 1;
            start[1].fetch_max(now, SeqCst);
        })
        .on_thread_stop(move || {
            stop[0].fetch_sub(1, SeqCst);
        })
        .build()
        .unwrap();
    (runtime, threads)
}

#[test]
fn ten_thousand_reads_of_a_slow_device() {
    const LIMIT: usize = 16;
    const PLACES: usize = 9_000;
    const READ: u64 = 4096;
    let (runtime, threads) = counted();
    let blocking = gate(LIMIT as u64, PLACES as u64).max_bytes(8_000 * READ);
    let device = Arc::new(Device::default());
    runtime.block_on(async {
        let mut callers = JoinSet::new();
        for _ in 0..10_000 {
            let (blocking, device) = (blocking.clone(), Arc::clone(&device));
            callers.spawn(async move {
                let read = move || device.read(Duration::from_micros(200));
                blocking.work(1).bytes(READ).run(read).await
            });
        }
        eventually("all have asked", || {
            let (threads, bytes) = (blocking.limiter().stats(), blocking.bytes().stats());
            threads.in_flight + threads.waiting + bytes.waiting == 10_000
        })
        .await;
        eventually("all threads block", || device.inside() == LIMIT).await;
        assert_eq!(blocking.limiter().in_flight(), LIMIT as u64);
        assert_eq!(blocking.bytes().in_flight(), 8_000 * READ, "those that run or wait for a thread");
        assert_eq!(blocking.bytes_waited_for(), 2_000 * READ);
        assert!(!blocking.readiness().is_ready());
        // Callers go at once while every thread blocks, and nothing is freed early.
        let left = callers.len();
        callers.abort_all();
        let mut gone = 0;
        while let Some(ended) = callers.join_next().await {
            assert!(ended.unwrap_err().is_cancelled());
            gone += 1;
        }
        assert_eq!((left, gone), (10_000, 10_000));
        assert_eq!((blocking.limiter().stats().waiting, blocking.bytes_waited_for()), (0, 0));
        assert_eq!(blocking.limiter().in_flight(), LIMIT as u64, "the threads are not done");
        assert_eq!(blocking.bytes().in_flight(), LIMIT as u64 * READ);
        assert_eq!(device.inside(), LIMIT);
        // Others come, and wait for these threads.
        for _ in 0..6_000 {
            let (blocking, device) = (blocking.clone(), Arc::clone(&device));
            callers.spawn(async move {
                let read = move || device.read(Duration::from_micros(200));
                blocking.work(1).bytes(READ).run(read).await
            });
        }
        device.let_go();
        while let Some(ended) = callers.join_next().await {
            ended.unwrap().unwrap();
        }
        assert_eq!(device.served.load(SeqCst), LIMIT + 6_000, "those that waited were not begun");
        assert_eq!(device.most.load(SeqCst), LIMIT);
        let most = threads[1].load(SeqCst);
        assert!(most <= 2 + LIMIT + 4, "{most} threads, two of them workers");
        let stats = (blocking.limiter().stats(), blocking.bytes().stats());
        assert_eq!((stats.0.in_flight, stats.1.in_flight), (0, 0));
        assert_eq!(stats.0.peak_in_flight, LIMIT as u64);
        assert!(stats.1.peak_in_flight <= 8_000 * READ);
    });
}

#[test]
fn callers_that_come_back_at_once_need_no_more_threads() {
    const LIMIT: usize = 4;
    let (runtime, threads) = counted();
    let blocking = gate(LIMIT as u64, 100);
    runtime.block_on(async {
        let mut callers = JoinSet::new();
        for _ in 0..3 * LIMIT {
            let blocking = blocking.clone();
            callers.spawn(async move {
                for _ in 0..2_000 {
                    blocking.run(1, || std::hint::black_box(7)).await.unwrap();
                }
            });
        }
        while let Some(ended) = callers.join_next().await {
            ended.unwrap();
        }
    });
    let most = threads[1].load(SeqCst);
    assert!(most <= 2 + LIMIT + 4, "{most} threads, two of them workers");
    assert_eq!(blocking.limiter().stats().peak_in_flight, LIMIT as u64);
}

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

#[tokio::test]
async fn the_end_of_the_runtime_frees_who_waits() {
    let limiter = Limiter::fixed(1);
    let blocking = Blocking::new(limiter.clone()).max_bytes(10);
    let device = Arc::new(Device::default());
    let other = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut callers = JoinSet::new();
    for _ in 0..3 {
        let (read, blocking) = (Arc::clone(&device), blocking.clone());
        let work = async move { blocking.work(1).bytes(5).run(move || read.read(Duration::ZERO)).await };
        callers.spawn_on(work, other.handle());
    }
    // One runs, one waits for its thread, one for its bytes.
    eventually("all wait", || {
        device.inside() == 1 && limiter.stats().waiting == 1 && blocking.bytes().stats().waiting == 1
    })
    .await;
    other.shutdown_background();
    while let Some(ended) = callers.join_next().await {
        assert!(ended.unwrap_err().is_cancelled());
    }
    assert_eq!((limiter.stats().waiting, limiter.in_flight()), (0, 1));
    assert_eq!((blocking.bytes_waited_for(), blocking.bytes().in_flight()), (0, 5));
    device.let_go();
    assert_eq!(blocking.run(1, || 5).await.unwrap(), 5, "also here, once the thread is done");
    eventually("the bytes come back", || blocking.bytes().in_flight() == 0).await;
}

#[test]
fn a_runtime_that_ends_says_so_to_who_waits_elsewhere() {
    let runtime =
        Builder::new_multi_thread().worker_threads(1).max_blocking_threads(1).enable_all().build().unwrap();
    let blocking = gate(4, 4);
    let device = Arc::new(Device::default());
    let mut works: Vec<_> = (0..2)
        .map(|_| {
            let (read, blocking) = (Arc::clone(&device), blocking.clone());
            Box::pin(async move { blocking.run(1, move || read.read(Duration::ZERO)).await })
        })
        .collect();
    {
        let _here = runtime.enter();
        assert!(works.iter_mut().all(|work| poll(work).is_pending()));
    }
    // One is on the only thread, the other in the runtime's own line, with its permit.
    while device.inside() == 0 {
        std::thread::yield_now();
    }
    assert_eq!(blocking.limiter().in_flight(), 2);
    let handle = runtime.handle().clone();
    runtime.shutdown_background();
    device.let_go();
    let late = gate(1, 1);
    let mut third = Box::pin(late.run(1, || ()));
    {
        let _here = handle.enter();
        assert!(poll(&mut third).is_pending());
    }
    let alone = Builder::new_current_thread().enable_all().build().unwrap();
    let second = works.pop().unwrap();
    let first = works.pop().unwrap();
    alone.block_on(async {
        assert!(first.await.is_ok());
        // Whether a runtime that ends still takes up what lies in its line is its own affair.
        assert!(matches!(second.await, Ok(_) | Err(BlockingError::Stopped)));
        assert!(matches!(third.await, Err(BlockingError::Stopped)));
        assert_eq!((blocking.limiter().in_flight(), late.limiter().in_flight()), (0, 0));
    });
    let nowhere = poll(&mut Box::pin(blocking.run(1, || ())));
    assert!(matches!(nowhere, Poll::Ready(Err(BlockingError::Stopped))));
}

#[test]
fn work_of_another_runtime_is_not_taken_up() {
    let [one, two] = ["one", "two"].map(|name| {
        Builder::new_multi_thread().worker_threads(1).thread_name(name).enable_all().build().unwrap()
    });
    let blocking = gate(1, 4);
    let device = Arc::new(Device::default());
    let on = |runtime: &Runtime| {
        let (read, blocking) = (Arc::clone(&device), blocking.clone());
        runtime.spawn(async move {
            let work = move || {
                read.read(Duration::ZERO);
                std::thread::current().name().map(String::from)
            };
            blocking.run(1, work).await.unwrap()
        })
    };
    let first = on(&one);
    while device.inside() == 0 {
        std::thread::yield_now();
    }
    let second = on(&two);
    while blocking.limiter().stats().waiting == 0 {
        std::thread::yield_now();
    }
    device.let_go();
    assert_eq!(one.block_on(first).unwrap().as_deref(), Some("one"));
    assert_eq!(two.block_on(second).unwrap().as_deref(), Some("two"));
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

#[test]
fn cancelled_anywhere_nothing_is_lost() {
    let (runtime, threads) = counted();
    let blocking = gate(3, 20).max_bytes(50);
    runtime.block_on(async {
        let done = Arc::new(AtomicUsize::new(0));
        let mut callers = JoinSet::new();
        for caller in 0..8_u64 {
            let (blocking, done) = (blocking.clone(), Arc::clone(&done));
            callers.spawn(async move {
                for round in 0..1_500_u64 {
                    let count = Arc::clone(&done);
                    let bytes = (caller * 7 + round) % 30;
                    let mut work =
                        Box::pin(blocking.work(1).bytes(bytes).run(move || count.fetch_add(1, SeqCst)));
                    // Left after so many polls, whatever came of them; now and then awaited.
                    for _ in 0..(caller + round) % 4 {
                        if poll(&mut work).is_ready() {
                            break;
                        }
                        tokio::task::yield_now().await;
                    }
                    if round % 5 == 0 {
                        drop(work);
                        match blocking.work(1).bytes(bytes).run(|| ()).await {
                            Ok(()) => {}
                            // Those that left may still hold their bytes.
                            Err(BlockingError::Refused(no)) if no.reason() == Reason::Memory => {}
                            Err(other) => panic!("{other}"),
                        }
                    }
                }
            });
        }
        while let Some(ended) = callers.join_next().await {
            ended.unwrap();
        }
        eventually("everything comes back", || {
            blocking.limiter().in_flight() == 0 && blocking.bytes().in_flight() == 0
        })
        .await;
        let stats = (blocking.limiter().stats(), blocking.bytes().stats());
        assert_eq!((stats.0.waiting, stats.1.waiting, blocking.bytes_waited_for()), (0, 0, 0));
        assert!(stats.0.peak_in_flight <= 3 && stats.1.peak_in_flight <= 50);
    });
    assert!(threads[1].load(SeqCst) <= 2 + 3 + 4);
}

/// Polls once, as if somebody else would poll again: work must not depend on who wakes.
pub(super) fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}
