//! Wall-clock costs beside tokio's semaphore: `cargo bench -p tidegate --bench limiter`.

#![allow(missing_docs, clippy::unwrap_used)] // a program of its own, and criterion's macros

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use tidegate::limit::Fixed;
use tidegate::{Demand, Limiter, QueueConfig};
use tokio::sync::Semaphore;

fn take_and_give(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("take_and_give");
    let semaphore = Semaphore::new(100);
    group.bench_function("semaphore", |bench| bench.iter(|| drop(black_box(semaphore.try_acquire()))));
    let limiter = Limiter::fixed(100);
    group.bench_function("fixed", |bench| bench.iter(|| drop(black_box(limiter.try_acquire(Demand::ONE)))));
    let tracked = Limiter::builder().limit(100).track_occupants(true).build().unwrap();
    group.bench_function("tracked", |bench| bench.iter(|| drop(black_box(tracked.try_acquire(Demand::ONE)))));
    let adaptive = Limiter::adaptive(Fixed::new(100));
    group.bench_function("adaptive", |bench| {
        bench.iter(|| drop(black_box(adaptive.try_acquire(Demand::ONE))))
    });
    group.finish();
}

fn ask(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("readiness");
    let limiter = Limiter::fixed(100);
    group.bench_function("ready", |bench| bench.iter(|| black_box(limiter.readiness())));
    let full = Limiter::builder().limit(1).queue(QueueConfig::none()).build().unwrap();
    let _held = full.try_acquire(Demand::ONE).unwrap();
    group.bench_function("saturated", |bench| bench.iter(|| black_box(full.readiness())));
    group.finish();
}

fn refuse(criterion: &mut Criterion) {
    let full = Limiter::builder().limit(1).queue(QueueConfig::none()).build().unwrap();
    let _held = full.try_acquire(Demand::ONE).unwrap();
    criterion.bench_function("refuse", |bench| bench.iter(|| black_box(full.enqueue(Demand::ONE)).is_err()));
}

criterion_group!(benches, take_and_give, ask, refuse);
criterion_main!(benches);
