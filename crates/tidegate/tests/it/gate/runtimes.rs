//! Runtimes that end, and several of them.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tidegate::Limiter;
use tidegate::gate::Blocking;
use tidegate::gate::blocking::BlockingError;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use super::device::{Device, eventually, gate, poll};

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
