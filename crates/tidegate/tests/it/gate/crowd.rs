//! Many callers: threads, waiting work and bytes stay within their bounds.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use tidegate::gate::blocking::BlockingError;
use tidegate::{AskReady, Reason};
use tokio::task::JoinSet;

use super::device::{Device, LetsGo, counted, eventually, gate, poll};

#[test]
fn ten_thousand_reads_of_a_slow_device() {
    const LIMIT: usize = 16;
    const PLACES: usize = 9_000;
    const READ: u64 = 4096;
    let (runtime, threads) = counted();
    let blocking = gate(LIMIT as u64, PLACES as u64).max_bytes(8_000 * READ);
    let device = Arc::new(Device::default());
    let _at_the_end = LetsGo(Arc::clone(&device));
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
        // Summed by the callers, each after it has lined up.
        eventually("all have said how much they wait for", || blocking.bytes_waited_for() == 2_000 * READ)
            .await;
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
        // All of them before the first is served: by then the line has stood for so long that a pace would be measured at
        // which nobody came through in time.
        eventually("the others have asked", || {
            let (threads, bytes) = (blocking.limiter().stats(), blocking.bytes().stats());
            threads.in_flight + threads.waiting + bytes.waiting == LIMIT as u64 + 6_000
        })
        .await;
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
