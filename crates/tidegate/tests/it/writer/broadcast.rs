//! One voice, many listeners.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tidegate::Reason;
use tidegate::channel::Weigh;
use tidegate::writer::broadcast::{Broadcast, Cut, Event, Late, Policy, Subscriber, Terms, Why};
use tokio::time::{Instant, sleep, timeout};

/// What it gets, with gaps as negative numbers.
async fn rest(mut subscriber: Subscriber<i64>) -> (Vec<i64>, Result<(), Cut>) {
    let mut got = Vec::new();
    loop {
        match subscriber.recv().await {
            Ok(Some(Event::Item(item))) => got.push(*item),
            Ok(Some(Event::Gap(missed))) => got.push(-(missed as i64)),
            Ok(None) => return (got, Ok(())),
            Err(cut) => return (got, Err(cut)),
            Ok(Some(_)) => panic!("an event of another kind"),
        }
    }
}

fn terms(policy: Policy) -> Terms {
    Terms::new(policy).max_items(3)
}

#[tokio::test]
async fn each_is_dealt_with_as_its_policy_says() {
    let mut broadcast = Broadcast::new("test");
    let audience = broadcast.audience();
    let [oldest, gone, large] =
        [terms(Policy::DropOldest), terms(Policy::Disconnect), Terms::new(Policy::Disconnect)]
            .map(|terms| audience.subscribe(terms).unwrap());
    for item in 1..=5 {
        let published = broadcast.publish(item).await.unwrap();
        assert_eq!(published.subscribers, if item == 5 { 2 } else { 3 });
        assert_eq!((published.skipped, published.disconnected), (u64::from(item > 3), u64::from(item == 4)));
    }
    let snapshot = audience.snapshot();
    assert_eq!((snapshot.published, snapshot.items), (5, 5));
    assert!(snapshot.listeners[1].disconnected);
    broadcast.finish();
    assert_eq!(oldest.ledger().skipped, 2);
    assert_eq!(rest(oldest).await, (vec![-2, 3, 4, 5], Ok(())));
    let (got, cut) = rest(gone).await;
    assert!(got.is_empty() && matches!(cut, Err(Cut::Behind { items: 4, .. })), "{got:?} {cut:?}");
    assert_eq!(rest(large).await, (vec![1, 2, 3, 4, 5], Ok(())));
    let snapshot = audience.snapshot();
    assert_eq!((snapshot.items, snapshot.bytes), (0, 0));
    let gone = snapshot.gone;
    assert_eq!((gone.offered, gone.delivered, gone.skipped), (14, 8, 6));
}

#[tokio::test(start_paused = true)]
async fn who_is_waited_for_stops_the_others_for_a_moment_and_only_once() {
    let mut broadcast = Broadcast::new("test");
    let audience = broadcast.audience();
    let slow = audience.subscribe(terms(Policy::wait(Duration::from_secs(2)))).unwrap();
    let other = audience.subscribe(Terms::new(Policy::Disconnect)).unwrap();
    let begun = Instant::now();
    for item in 1..=3 {
        broadcast.publish(item).await.unwrap();
    }
    assert!(begun.elapsed().is_zero());
    // The other has it at once, although the publisher waits.
    let reading = tokio::spawn(async move {
        let mut other = other;
        let mut last = Duration::ZERO;
        for _ in 0..4 {
            assert!(matches!(other.recv().await, Ok(Some(Event::Item(_)))));
            last = begun.elapsed();
        }
        (other, last)
    });
    let published = broadcast.publish(4).await.unwrap();
    assert_eq!((published.subscribers, published.skipped), (2, 1));
    assert_eq!(begun.elapsed().as_secs(), 2);
    let (_other, last) = reading.await.unwrap();
    assert!(last.is_zero(), "{last:?}");
    assert!(audience.snapshot().listeners[0].late);
    // Not again, for one that has not caught up.
    for item in 5..=10 {
        broadcast.publish(item).await.unwrap();
    }
    assert_eq!(begun.elapsed().as_secs(), 2);
    broadcast.finish();
    assert_eq!(rest(slow).await, (vec![-7, 8, 9, 10], Ok(())));
}

#[tokio::test(start_paused = true)]
async fn who_catches_up_in_time_misses_nothing_and_is_waited_for_again() {
    let mut broadcast = Broadcast::new("test");
    let patience = Duration::from_secs(5);
    let policy = Policy::Wait { patience, then: Late::Disconnect };
    let mut slow = broadcast.audience().subscribe(terms(policy)).unwrap();
    let reading = tokio::spawn(async move {
        let mut got = 0;
        while let Some(Event::Item(item)) = slow.recv().await.unwrap() {
            got += 1;
            assert_eq!(*item, got);
            sleep(Duration::from_secs(4)).await;
        }
        got
    });
    let begun = Instant::now();
    for item in 1..=20 {
        let published = broadcast.publish(item).await.unwrap();
        assert_eq!((published.skipped, published.disconnected), (0, 0));
    }
    assert_eq!(begun.elapsed().as_secs(), 4 * 16);
    broadcast.finish();
    assert_eq!(reading.await.unwrap(), 20);
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_is_cancelled_waits_no_more() {
    let mut broadcast = Broadcast::new("test");
    let policy = Policy::Wait { patience: Duration::from_secs(3600), then: Late::Disconnect };
    let slow = broadcast.audience().subscribe(terms(policy)).unwrap();
    for item in 1..=3 {
        broadcast.publish(item).await.unwrap();
    }
    assert!(timeout(Duration::from_secs(1), broadcast.publish(4)).await.is_err());
    assert!(matches!(rest(slow).await.1, Err(Cut::Behind { items: 4, .. })));
    // And so with one that does not wait at all.
    let slow = broadcast.audience().subscribe(terms(policy)).unwrap();
    let disconnected = (1..=4).map(|item| broadcast.publish_now(item).unwrap().disconnected).sum::<u64>();
    assert_eq!(disconnected, 1);
    drop(slow);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_is_waited_for_no_longer() {
    let mut broadcast = Broadcast::new("test");
    let slow = broadcast.audience().subscribe(terms(Policy::wait(Duration::from_secs(3600)))).unwrap();
    for item in 1..=3 {
        broadcast.publish(item).await.unwrap();
    }
    let leaving = tokio::spawn(async move {
        sleep(Duration::from_secs(1)).await;
        drop(slow);
    });
    let begun = Instant::now();
    broadcast.publish(4).await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), 1);
    leaving.await.unwrap();
    assert_eq!(broadcast.audience().snapshot().items, 0);
}

#[tokio::test]
async fn bytes_bound_too_and_the_largest_item_always_fits() {
    let mut broadcast: Broadcast<Vec<u8>> = Broadcast::builder("test").max_item(10_000).build();
    let audience = broadcast.audience();
    let terms = Terms::new(Policy::DropOldest).max_bytes(1);
    let slow = audience.subscribe(terms).unwrap();
    for _ in 0..100 {
        broadcast.publish(vec![0; 3000]).await.unwrap();
        assert!(audience.snapshot().bytes <= 10_000);
    }
    broadcast.publish(vec![0; 9800]).await.unwrap();
    assert_eq!(slow.ledger().skipped, 100);
    let heavy = broadcast.publish(vec![0; 9990]).await.unwrap_err();
    assert_eq!(heavy.item.len(), 9990);
    assert!(matches!(heavy.why, Why::TooHeavy { max_item: 10_000, .. }), "{heavy}");
    assert_eq!(audience.snapshot().published, 101);
}

#[tokio::test]
async fn the_number_of_subscribers_is_bounded() {
    let mut broadcast = Broadcast::builder("room").max_subscribers(2).build();
    let audience = broadcast.audience();
    let one = audience.subscribe(terms(Policy::Disconnect)).unwrap();
    let _two = audience.subscribe(terms(Policy::Disconnect)).unwrap();
    let refused = audience.subscribe(terms(Policy::Disconnect)).unwrap_err();
    assert_eq!((refused.reason(), refused.limiter()), (Reason::Connections, "room"));
    drop(one);
    let three = audience.subscribe(terms(Policy::Disconnect)).unwrap();
    broadcast.publish(1).await.unwrap();
    drop(broadcast);
    assert_eq!(rest(three).await, (vec![1], Err(Cut::Unfinished)));
    assert_eq!(audience.subscribe(terms(Policy::Disconnect)).unwrap_err().reason(), Reason::Draining);
}

/// Counts its copies.
struct Counted(Arc<AtomicU64>);

impl Counted {
    fn new(count: &Arc<AtomicU64>) -> Self {
        count.fetch_add(1, Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Weigh for Counted {
    fn weight(&self) -> u64 {
        1000
    }
}

#[tokio::test]
async fn there_is_one_payload_and_it_goes_with_the_last_who_has_it() {
    let count = Arc::new(AtomicU64::new(0));
    let mut broadcast = Broadcast::new("test");
    let audience = broadcast.audience();
    broadcast.publish(Counted::new(&count)).await.unwrap();
    assert_eq!(count.load(Relaxed), 0, "nobody listens");
    let mut subscribers: Vec<_> =
        (0..100).map(|_| audience.subscribe(Terms::new(Policy::DropOldest).max_items(5)).unwrap()).collect();
    for _ in 0..20 {
        broadcast.publish(Counted::new(&count)).await.unwrap();
    }
    assert_eq!(count.load(Relaxed), 5);
    assert!(audience.snapshot().bytes < 6000);
    let mut held = None;
    for subscriber in &mut subscribers {
        assert!(matches!(subscriber.recv().await, Ok(Some(Event::Gap(15)))));
        let Ok(Some(Event::Item(item))) = subscriber.recv().await else { panic!("an item") };
        held = Some(item);
    }
    assert_eq!((count.load(Relaxed), audience.snapshot().items), (5, 4));
    drop(held);
    assert_eq!(count.load(Relaxed), 4);
    drop(subscribers);
    assert_eq!((count.load(Relaxed), audience.snapshot().items), (0, 0));
}

#[tokio::test]
async fn an_item_becomes_bytes_without_a_copy() {
    let mut broadcast = Broadcast::new("test");
    let mut subscriber = broadcast.audience().subscribe(Terms::new(Policy::Disconnect)).unwrap();
    broadcast.publish("x".repeat(5000)).await.unwrap();
    let Ok(Some(Event::Item(item))) = subscriber.recv().await else { panic!("an item") };
    let bytes = bytes::Bytes::from(item.clone());
    assert_eq!((bytes.as_ptr(), bytes.len()), (item.as_ptr(), 5000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_stress_everybody_hears_everything_or_how_much_not() {
    let mut broadcast = Broadcast::new("test");
    let mut listeners = tokio::task::JoinSet::new();
    for number in 0..12_u64 {
        let policy = match number % 3 {
            0 => Policy::DropOldest,
            1 => Policy::wait(Duration::from_millis(1)),
            _ => Policy::Disconnect,
        };
        let mut subscriber =
            broadcast.audience().subscribe(Terms::new(policy).max_items(1 + number)).unwrap();
        listeners.spawn(async move {
            let (mut next, mut delivered, mut missed) = (0_u64, 0, 0);
            loop {
                // Given up now and then.
                if next % 7 == number % 7 {
                    let _ = timeout(Duration::ZERO, std::future::pending::<()>()).await;
                }
                let event = match timeout(Duration::from_micros(next % 50), subscriber.recv()).await {
                    Err(_) => continue,
                    Ok(event) => event,
                };
                match event {
                    Ok(Some(Event::Item(item))) => {
                        assert_eq!(*item, next);
                        next += 1;
                        delivered += 1;
                    }
                    Ok(Some(Event::Gap(gap))) => {
                        assert!(gap > 0);
                        next += gap;
                        missed += gap;
                    }
                    Ok(None) => {
                        assert_eq!(next, 5_000, "every item, or a word that it was missed");
                        break;
                    }
                    Err(Cut::Behind { .. }) => break,
                    other => panic!("{other:?}"),
                }
            }
            let ledger = subscriber.ledger();
            assert_eq!(ledger.delivered, delivered);
            assert!(ledger.skipped >= missed);
            assert_eq!(ledger.offered, ledger.delivered + ledger.skipped);
        });
    }
    for item in 0..5_000_u64 {
        broadcast.publish(item).await.unwrap();
    }
    let audience = broadcast.audience();
    broadcast.finish();
    listeners.join_all().await;
    let snapshot = audience.snapshot();
    assert_eq!((snapshot.items, snapshot.listeners.len()), (0, 0));
    assert_eq!(snapshot.gone.offered, snapshot.gone.delivered + snapshot.gone.skipped);
}
