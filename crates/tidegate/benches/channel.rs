//! The channel beside tokio's bounded mpsc, alone and with a semaphore of bytes beside it: `cargo bench -p tidegate
//! --features stream --bench channel`.
//!
//! Items are 1 KiB of `Bytes`: made and dropped, as real ones are; and for nothing, so that the channels are all there is to see.
//! Runs are interleaved and
//! compared in pairs, so that a busy machine hits both; on one thread only the time that it ran counts. Then instructions are
//! counted by valgrind, which does not notice it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a program of its own: it may stop where it stands

mod count;

use std::future::Future;
use std::hint::black_box;
use std::sync::Arc;

use bytes::Bytes;
use tidegate::channel::{self, Config};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::Instant;

use count::{asked, available, per_operation, repeat};

/// As a multiple of tokio's mpsc.
const BAR: f64 = 1.3;
const ITEM: &[u8] = &[7; 1024];
const PLACES: usize = 256;
const BYTES: u64 = PLACES as u64 * 2048;
const BURST: u64 = 50;
const ITEMS: usize = 200_000;
const PAIRS: usize = 15;

/// Where items come from.
type Make = fn() -> Bytes;

/// Costs next to nothing: only the channels are seen.
fn item() -> Bytes {
    Bytes::from_static(ITEM)
}

/// Taken from the heap and written, as one that was read from a socket.
fn made() -> Bytes {
    black_box(vec![black_box(7); 1024]).into()
}

fn ours(places: usize) -> (channel::Sender<Bytes>, channel::Receiver<Bytes>) {
    Config::new(BYTES).max_items(places).build().unwrap()
}

/// tokio's, bounded in bytes by a semaphore whose permit travels with the item.
type Weighed = (Bytes, tokio::sync::OwnedSemaphorePermit);

/// Nanoseconds that this thread has run, where the system tells: what others do on the machine is not in it.
fn thread_time() -> Option<u64> {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    told.split(' ').next()?.parse().ok()
}

/// Runs `producers` of `produce` beside `consume`; seconds for an item.
async fn flow<P, C>(producers: usize, produce: impl Fn(usize) -> P, consume: C) -> f64
where
    P: Future<Output = ()> + Send + 'static,
    C: Future<Output = usize> + Send + 'static,
{
    let begin = Instant::now();
    let consumer = tokio::spawn(consume);
    for _ in 0..producers {
        tokio::spawn(produce(ITEMS / producers));
    }
    let received = consumer.await.unwrap();
    begin.elapsed().as_secs_f64() / received as f64
}

async fn tokio_alone(producers: usize, make: Make) -> f64 {
    let (sender, mut receiver) = mpsc::channel(PLACES);
    let sender = Arc::new(std::sync::Mutex::new(Some(sender)));
    let produce = |items| {
        let sender = sender.lock().unwrap().clone().unwrap();
        async move {
            for _ in 0..items {
                sender.send(make()).await.unwrap();
            }
        }
    };
    flow(producers, produce, async move {
        let mut received = 0;
        while received < ITEMS / producers * producers {
            drop(black_box(receiver.recv().await.unwrap()));
            received += 1;
        }
        received
    })
    .await
}

async fn tokio_weighed(producers: usize, make: Make) -> f64 {
    let (sender, mut receiver) = mpsc::channel::<Weighed>(PLACES);
    let semaphore = Arc::new(Semaphore::new(BYTES as usize));
    let produce = |items| {
        let (sender, semaphore) = (sender.clone(), Arc::clone(&semaphore));
        async move {
            for _ in 0..items {
                let permit = Arc::clone(&semaphore).acquire_many_owned(ITEM.len() as u32).await.unwrap();
                sender.send((make(), permit)).await.unwrap();
            }
        }
    };
    flow(producers, produce, async move {
        let mut received = 0;
        while received < ITEMS / producers * producers {
            drop(black_box(receiver.recv().await.unwrap()));
            received += 1;
        }
        received
    })
    .await
}

async fn tidegate(producers: usize, make: Make) -> f64 {
    let (sender, mut receiver) = ours(PLACES);
    let produce = |items| {
        let sender = sender.clone();
        async move {
            for _ in 0..items {
                sender.send(make()).await.unwrap().into_result().unwrap();
            }
        }
    };
    flow(producers, produce, async move {
        let mut received = 0;
        while received < ITEMS / producers * producers {
            drop(black_box(receiver.recv().await.unwrap()));
            received += 1;
        }
        received
    })
    .await
}

/// Seconds for an item: those that its thread ran, if there is only one, else those that passed.
fn cost(runtime: &Runtime, one_thread: bool, flow: impl Future<Output = f64>) -> f64 {
    let before = thread_time();
    let passed = runtime.block_on(flow);
    match (before, thread_time()) {
        (Some(before), Some(after)) if one_thread => (after - before) as f64 / 1e9 / ITEMS as f64,
        _ => passed,
    }
}

fn compare(what: &str, runtime: &Runtime, producers: usize, make: Make) -> f64 {
    let (mut alone, mut weighed, mut nanos) = (Vec::new(), Vec::new(), Vec::new());
    let one_thread = what.ends_with("one thread");
    for _ in 0..PAIRS {
        let tokio = cost(runtime, one_thread, tokio_alone(producers, make));
        let ours = cost(runtime, one_thread, tidegate(producers, make));
        let both = cost(runtime, one_thread, tokio_weighed(producers, make));
        alone.push(ours / tokio);
        weighed.push(ours / both);
        nanos.push(ours * 1e9);
    }
    let show = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        (values[0], values[values.len() / 2], values[values.len() - 1])
    };
    let (alone, weighed, nanos) = (show(alone), show(weighed), show(nanos));
    println!(
        "{what:<34}{:>6.0} ns an item; x mpsc {:.2} / {:.2} / {:.2}; x mpsc + semaphore {:.2} / {:.2} / {:.2}",
        nanos.1, alone.0, alone.1, alone.2, weighed.0, weighed.1, weighed.2
    );
    alone.1
}

/// One item through a channel with room, and `items` from one task to another on one thread.
fn run(case: &str, rounds: u64) {
    let runtime = Builder::new_current_thread().enable_time().build().unwrap();
    let (their_sender, mut their_receiver) = mpsc::channel(PLACES);
    let (sender, mut receiver) = ours(PLACES);
    match case {
        "empty" => repeat(rounds, || {}),
        "mpsc_try" => repeat(rounds, || {
            their_sender.try_send(item()).unwrap();
            black_box(their_receiver.try_recv()).unwrap();
        }),
        "ours_try" => repeat(rounds, || {
            _ = black_box(sender.offer(item())).unwrap();
            drop(black_box(receiver.try_recv()).unwrap());
        }),
        "mpsc_await" => runtime.block_on(async {
            for _ in 0..rounds {
                their_sender.send(item()).await.unwrap();
                black_box(their_receiver.recv().await).unwrap();
            }
        }),
        "ours_await" => runtime.block_on(async {
            for _ in 0..rounds {
                _ = black_box(sender.send(item()).await.unwrap());
                drop(black_box(receiver.recv().await).unwrap());
            }
        }),
        "mpsc_burst" => runtime.block_on(async {
            for _ in 0..rounds / BURST {
                for _ in 0..BURST {
                    their_sender.send(item()).await.unwrap();
                }
                for _ in 0..BURST {
                    black_box(their_receiver.recv().await).unwrap();
                }
            }
        }),
        "ours_burst" => runtime.block_on(async {
            for _ in 0..rounds / BURST {
                for _ in 0..BURST {
                    _ = black_box(sender.send(item()).await.unwrap());
                }
                for _ in 0..BURST {
                    drop(black_box(receiver.recv().await).unwrap());
                }
            }
        }),
        "mpsc_full" => runtime.block_on(async {
            let (sender, mut receiver) = mpsc::channel(8);
            let producer = tokio::spawn(async move {
                for _ in 0..rounds {
                    sender.send(item()).await.unwrap();
                }
            });
            while let Some(item) = receiver.recv().await {
                black_box(item);
            }
            producer.await.unwrap();
        }),
        "mpsc_made" => runtime.block_on(async {
            for _ in 0..rounds / BURST {
                for _ in 0..BURST {
                    their_sender.send(made()).await.unwrap();
                }
                for _ in 0..BURST {
                    black_box(their_receiver.recv().await).unwrap();
                }
            }
        }),
        "ours_made" => runtime.block_on(async {
            for _ in 0..rounds / BURST {
                for _ in 0..BURST {
                    _ = black_box(sender.send(made()).await.unwrap());
                }
                for _ in 0..BURST {
                    drop(black_box(receiver.recv().await).unwrap());
                }
            }
        }),
        "ours_full" => runtime.block_on(async {
            let (sender, mut receiver) = ours(8);
            let producer = tokio::spawn(async move {
                for _ in 0..rounds {
                    _ = black_box(sender.send(item()).await.unwrap());
                }
            });
            while let Some(item) = receiver.recv().await {
                drop(black_box(item));
            }
            producer.await.unwrap();
        }),
        other => unreachable!("no case {other}"),
    }
}

fn main() {
    if let Some((case, rounds)) = asked() {
        return run(&case, rounds);
    }
    let threads = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let one = Builder::new_current_thread().enable_time().build().unwrap();
    println!("min / median / max of {PAIRS} pairs, {ITEMS} items each, {PLACES} places");
    let mut worst: f64 = 0.0;
    for (how, make) in [("made", made as Make), ("for nothing", item)] {
        println!("items {how}");
        let ratios = [
            compare("one producer, one thread", &one, 1, make),
            compare("one producer, two threads", &threads, 1, make),
            compare("four producers, one thread", &one, 4, make),
            compare("four producers, two threads", &threads, 4, make),
        ];
        if how == "made" {
            worst = ratios.into_iter().fold(0.0, f64::max);
        }
    }
    println!(
        "bar: median <= {BAR} x mpsc for items that are made: {}",
        if worst <= BAR { "holds" } else { "MISSED" }
    );
    if !available() {
        return;
    }
    let empty = per_operation("empty");
    for (name, theirs, ours) in [
        ("try_send, try_recv", "mpsc_try", "ours_try"),
        ("send, recv, with room", "mpsc_await", "ours_await"),
        ("send fifty, recv fifty", "mpsc_burst", "ours_burst"),
        ("the same, items made", "mpsc_made", "ours_made"),
        ("send, recv, eight places, mostly full", "mpsc_full", "ours_full"),
    ] {
        let (theirs, ours) = (per_operation(theirs) - empty, per_operation(ours) - empty);
        println!("{name:<40}{theirs:>7.0} and {ours:>7.0} instructions{:>7.2} x", ours / theirs);
    }
}
