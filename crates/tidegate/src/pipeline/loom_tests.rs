//! Every interleaving of a few threads that want room, give room back, take from a line or go away meanwhile: nobody
//! waits for ever, and nothing stays held.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use loom::sync::{Condvar, Mutex};
use loom::thread;
use tidegate_control::credit::Account;

use super::engine::{Bytes, Engine, Post};
use super::ledger::Counts;
use super::line::{Inlet, Line, Parcel, Taken};
use super::room::{Asking, Turn};

/// A stage with room for one item of ten bytes, and one after it.
fn engine(account: Account) -> Arc<Engine> {
    let post = |name: &str| Post { name: name.into(), workers: 2, counts: Counts::default() };
    let bytes = Bytes { accounts: vec![account], common: 0, purse: None };
    Arc::new(Engine::new(vec![post("first"), post("second")], Vec::new(), bytes, None))
}

/// Explores with at most three preemptions: enough for every race of two or three steps, in seconds.
fn explore(race: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(race);
}

/// Where a thread waits until its future is woken.
struct Parked(Mutex<bool>, Condvar);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        *self.0.lock().unwrap() = true;
        self.1.notify_one();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let parked = Arc::new(Parked(Mutex::new(false), Condvar::new()));
    let waker = Waker::from(Arc::clone(&parked));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        let mut woken = parked.0.lock().unwrap();
        while !std::mem::take(&mut *woken) {
            woken = parked.1.wait(woken).unwrap();
        }
    }
}

fn held(engine: &Engine) -> u64 {
    engine.with_books(|books| books.grants.held())
}

fn poll_once<F: Future>(future: F) {
    let _ = pin!(future).poll(&mut Context::from_waker(Waker::noop()));
}

#[test]
fn loom_room_that_is_given_back_goes_to_whoever_waits() {
    explore(|| {
        let engine = engine(Account::new(10, 10));
        let threads: Vec<_> = (0..2)
            .map(|turn| {
                let engine = Arc::clone(&engine);
                thread::spawn(move || drop(block_on(Asking::new(&engine, 0, turn, 10))))
            })
            .collect();
        // Somebody asks and goes away again.
        poll_once(Asking::new(&engine, 0, 0, 10));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(held(&engine), 0);
    });
}

#[test]
fn loom_turns_end_in_order_whoever_is_first() {
    explore(|| {
        let engine = engine(Account::new(10, 20).ordered());
        let first = Turn::new(&engine, 0, 0);
        let second = Turn::new(&engine, 0, 1);
        let thread = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || {
                // It may stand on the reserve only when it is its turn.
                let room = block_on(Asking::new(&engine, 0, 1, 10));
                block_on(second.come());
                drop(room);
                drop(second);
            })
        };
        block_on(first.come());
        drop(block_on(Asking::new(&engine, 0, 0, 10)));
        drop(first);
        thread.join().unwrap();
        assert_eq!(held(&engine), 0);
    });
}

#[test]
fn loom_what_is_put_into_a_line_is_taken_although_somebody_goes_away() {
    explore(|| {
        let engine = engine(Account::new(10, 10));
        let line = Line::new(2, 1);
        let inlet = Inlet::first(&line);
        let taker = {
            let (engine, line) = (Arc::clone(&engine), Arc::clone(&line));
            thread::spawn(move || {
                let taken = block_on(line.take(&engine, 1, 1));
                let Some(Taken::Parcel(parcel, _)) = taken else { return false };
                parcel.item == 7
            })
        };
        let putter = {
            let engine = Arc::clone(&engine);
            thread::spawn(move || {
                let charge = block_on(Asking::new(&engine, 0, 0, 10));
                inlet.put(Parcel { item: 7, charge, deadline: u64::MAX, born: 0 }, 1);
            })
        };
        // The other worker looks and goes away; it may have been the one that was woken, but then it takes nothing.
        let stolen = {
            let mut taking = pin!(line.take(&engine, 1, 0));
            taking.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
        };
        putter.join().unwrap();
        assert!(taker.join().unwrap() || stolen, "it was lost");
        assert_eq!(held(&engine), 0);
    });
}
