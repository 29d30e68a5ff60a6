//! How long it will take: said before, compared with what happened. In paused time.

use std::collections::HashMap;
use std::time::Duration;

use tidegate::channel::{Config, Receiver, Sender};
use tokio::time::{Instant, sleep};

use super::{Bag, channel, exactly};

/// Uniform numbers below `bound`.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// A receiver that takes `service` (seconds since the begin, bytes, a number between 0.5 and 1.5) for each.
async fn receive(
    mut receiver: Receiver<Bag>,
    service: fn(f64, u64) -> f64,
    noise: bool,
) -> HashMap<u32, Instant> {
    let begin = Instant::now();
    let mut random = Random(7);
    let mut came = HashMap::new();
    while let Some(bag) = receiver.recv().await {
        came.insert(bag.0, Instant::now());
        let about = if noise { 0.5 + random.below(1000) as f64 / 1000.0 } else { 1.0 };
        let seconds = service(begin.elapsed().as_secs_f64(), bag.1) * about;
        sleep(Duration::from_secs_f64(seconds)).await;
    }
    came
}

/// What was said, for each item sent in `from..to` seconds: errors as a share of what happened.
async fn errors(service: fn(f64, u64) -> f64, noise: bool, spans: &[(f64, f64)]) -> Vec<f64> {
    let (sender, receiver) = channel(exactly(100_000).max_items(10_000));
    let consumer = tokio::spawn(receive(receiver, service, noise));
    let begin = Instant::now();
    let mut random = Random(3);
    let mut said = Vec::new();
    for who in 0.. {
        let at = begin.elapsed().as_secs_f64();
        if at > 12.0 {
            break;
        }
        // Kept about as full as it was: the senders wait for room.
        let weight = 100 + random.below(3900);
        let now = sender.snapshot();
        sender.send((who, weight)).await.unwrap().into_result().unwrap();
        if spans.iter().any(|(from, to)| (*from..*to).contains(&at)) && now.est_wait.samples > 0 {
            said.push((who, begin.elapsed().as_secs_f64() - at, at, now.est_wait.expected.as_secs_f64()));
        }
    }
    drop(sender);
    let came = consumer.await.unwrap();
    let mut errors: Vec<_> = said
        .into_iter()
        .map(|(who, _, at, expected)| {
            let took = (came[&who] - begin).as_secs_f64() - at;
            (expected - took).abs() / took
        })
        .collect();
    errors.sort_by(f64::total_cmp);
    errors
}

/// Median and p90.
fn quantiles(errors: &[f64]) -> (f64, f64) {
    assert!(errors.len() > 50, "{} are too few", errors.len());
    (errors[errors.len() / 2], errors[errors.len() * 9 / 10])
}

#[tokio::test(start_paused = true)]
async fn the_wait_is_right_after_a_step() {
    // 200 kB/s, and a third of it from the sixth second on; looked at two seconds after each begin.
    let step = |at: f64, bytes: u64| bytes as f64 / if at < 6.0 { 200_000.0 } else { 66_000.0 };
    for noise in [false, true] {
        let (median, p90) = quantiles(&errors(step, noise, &[(2.0, 5.0), (8.0, 11.0)]).await);
        println!("step, noise {noise}: median {median:.3}, p90 {p90:.3}");
        assert!(median <= 0.2 && p90 <= 0.5, "median {median}, p90 {p90}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_wait_is_right_on_a_ramp() {
    // From 100 kB/s to 300 kB/s in twelve seconds.
    let ramp = |at: f64, bytes: u64| bytes as f64 / (100_000.0 + 200_000.0 * (at / 12.0).min(1.0));
    for noise in [false, true] {
        let (median, p90) = quantiles(&errors(ramp, noise, &[(2.0, 11.0)]).await);
        println!("ramp, noise {noise}: median {median:.3}, p90 {p90:.3}");
        assert!(median <= 0.2 && p90 <= 0.5, "median {median}, p90 {p90}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_idles_now_and_then_is_measured_by_what_it_does() {
    // Ten milliseconds for each; four in a burst, every second.
    let (sender, receiver) = channel(exactly(1_000_000));
    let consumer = tokio::spawn(receive(receiver, |_, _| 0.01, false));
    for burst in 0..20 {
        for who in 0..4 {
            sender.send((4 * burst + who, 1000)).await.unwrap().into_result().unwrap();
        }
        sleep(Duration::from_secs(1)).await;
    }
    for who in 0..100 {
        sender.send((1000 + who, 1000)).await.unwrap().into_result().unwrap();
    }
    let seen = sender.snapshot();
    assert!((3000.0..5000.0).contains(&seen.in_rate), "idle time counts here: {}", seen.in_rate);
    let wait = seen.est_wait;
    assert!((900..=1100).contains(&wait.expected.as_millis()), "and not here: {wait:?}");
    assert!(wait.upper >= wait.expected);
    drop(sender);
    drop(consumer.await.unwrap());
}

async fn fill(sender: Sender<Bag>, from: u32) {
    for who in from..from + 3000 {
        sender.send((who, 100)).await.unwrap().into_result().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn time_is_a_bound_where_it_was_asked_for() {
    // At 50 kB/s, half a second is 25 kB; the channel could hold a megabyte.
    let config: Config<Bag> = exactly(1_000_000).max_items(100_000).target_delay(Duration::from_millis(500));
    let (sender, receiver) = channel(config.min_bytes(10_000));
    assert_eq!(sender.snapshot().capacity, 1_000_000);
    let consumer = tokio::spawn(receive(receiver, |at, _| if at < 10.0 { 0.002 } else { 0.001 }, false));
    let producer = tokio::spawn(fill(sender.clone(), 0));
    sleep(Duration::from_millis(500)).await;
    let seen = sender.snapshot();
    assert!((19_000..=31_000).contains(&seen.capacity), "{}", seen.capacity);
    producer.await.unwrap();
    sleep(Duration::from_secs(10)).await;
    // Twice as fast now: the capacity follows, and what is in comes out in time.
    let producer = tokio::spawn(fill(sender.clone(), 10_000));
    sleep(Duration::from_millis(1500)).await;
    let seen = sender.snapshot();
    assert!((38_000..=62_000).contains(&seen.capacity), "{}", seen.capacity);
    let age = seen.oldest_age.unwrap();
    assert!(age < Duration::from_millis(650), "{age:?}");
    assert!(!producer.is_finished());
    producer.abort();
    _ = producer.await;
    drop(sender);
    drop(consumer.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_pace_measured_too_low_does_not_choke() {
    let config = exactly(1600).target_delay(Duration::from_millis(1));
    let (sender, receiver) = channel(config);
    let consumer = tokio::spawn(receive(receiver, |_, _| 1.0, false));
    for who in 0..20 {
        sender.send((who, 100)).await.unwrap().into_result().unwrap();
    }
    assert_eq!(sender.snapshot().capacity, 100, "a sixteenth");
    // What is larger than that enters alone.
    sender.send((99, 1000)).await.unwrap().into_result().unwrap();
    drop(sender);
    assert_eq!(consumer.await.unwrap().len(), 21);
}

#[tokio::test(start_paused = true)]
async fn whoever_holds_the_most_for_the_longest_is_named_first() {
    let (sender, mut receiver) = channel(exactly(1000));
    let (a, b) = (sender.tagged("a"), sender.tagged("b"));
    assert!(a.offer((1, 10)).unwrap().is_accepted());
    sleep(Duration::from_secs(10)).await;
    assert!(b.offer((2, 500)).unwrap().is_accepted());
    assert!(sender.offer((3, 1)).unwrap().is_accepted());
    let lease = receiver.recv().await.unwrap();
    sleep(Duration::from_secs(1)).await;
    let seen = sender.snapshot();
    let names: Vec<_> = seen.borrowers.iter().map(|it| (&*it.tag, it.bytes, it.age.as_secs())).collect();
    assert_eq!(names, [("b", 500, 1), ("a", 10, 11), ("", 1, 1)]);
    assert_eq!(seen.oldest_age, Some(Duration::from_secs(1)), "the older one is in hand");
    drop(lease);
    let seen = sender.snapshot();
    assert_eq!(seen.borrowers.iter().map(|it| &*it.tag).collect::<Vec<_>>(), ["b", ""]);
}
