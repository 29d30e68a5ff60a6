//! [`Engine`]: what all tasks of a pipeline share.
//!
//! Lock order: the books before a seat. A line's lock is never held together with either. Wakers run, and items and
//! charges are dropped, when all are free.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

use tidegate_control::credit::{Account, Blocked, Grants};

use tokio::sync::Notify;

use crate::budget::Lease;
use crate::clock::Clock;
use crate::sync::{Mutex, lock};
use crate::wakes::Wakes;

use super::ended::Left;
use super::fate::Fate;
use super::ledger::Counts;
use super::line::Waiting;
use super::purse::{Grown, Purse};
use super::room::Seat;
use super::shares::{StageClock, Wait};

/// What all tasks of a pipeline share.
pub(super) struct Engine {
    pub(super) clock: Clock,
    pub(super) stages: Vec<Post>,
    pub(super) fate: Fate,
    /// Nanoseconds that an item may take, if that is bounded.
    pub(super) patience: Option<u64>,
    /// Somebody waits for bytes that the budget does not have.
    pub(super) hunger: Notify,
    books: Mutex<Books>,
    lines: Vec<Arc<dyn Waiting>>,
    /// What is handed back, and the stage before which it is.
    left: Mutex<Vec<(usize, Left)>>,
}

/// A stage, as far as everybody may know it.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) name: Arc<str>,
    pub(super) workers: usize,
    pub(super) counts: Counts,
}

/// The bytes of a pipeline: its accounts, what they have in common at most, and where that comes from if not from
/// nowhere.
pub(super) struct Bytes {
    pub(super) accounts: Vec<Account>,
    pub(super) common: u64,
    pub(super) purse: Option<Purse>,
}

/// What is to be done when the books are free.
enum Served {
    /// Nothing.
    Fed,
    /// Somebody waits for what the budget does not have.
    Hungry,
    /// This is not needed any more; dropping it may wake others.
    Spared(Lease),
}

/// Who holds how much, who waits, and for how long. The account of a stage is that of what it puts out.
pub(super) struct Books {
    pub(super) grants: Grants<Arc<Seat>>,
    /// Bytes that may be held at most.
    bytes: u64,
    /// Where they come from, if they are not its own.
    purse: Option<Purse>,
    clocks: Vec<StageClock>,
    /// Those that are done and wait for their turn, by stage and turn.
    turns: Vec<BTreeMap<u64, Waker>>,
}

impl Engine {
    pub(super) fn new(
        stages: Vec<Post>,
        lines: Vec<Arc<dyn Waiting>>,
        bytes: Bytes,
        patience: Option<u64>,
    ) -> Self {
        let clocks = stages.iter().map(|_| StageClock::default()).collect();
        let turns = stages.iter().map(|_| BTreeMap::new()).collect();
        let Bytes { accounts, common, purse } = bytes;
        let most = accounts.iter().fold(common, |sum, account| sum.saturating_add(account.reserve));
        let grants = Grants::new(if purse.is_some() { 0 } else { common }, accounts);
        let books = Mutex::new(Books { grants, bytes: most, purse, clocks, turns });
        let (clock, fate, left) = (Clock::start(), Fate::default(), Mutex::default());
        Self { clock, stages, fate, patience, hunger: Notify::new(), books, lines, left }
    }

    /// Reads or changes the books, serves those who can be served now, and wakes them.
    pub(super) fn with_books<R>(&self, change: impl FnOnce(&mut Books) -> R) -> R {
        let mut wakes = Wakes::default();
        let (result, served) = {
            let mut books = lock(&self.books);
            let result = change(&mut books);
            (result, books.serve(&self.clock, &mut wakes))
        };
        wakes.run();
        match served {
            Served::Fed => {}
            Served::Hungry => self.hunger.notify_one(),
            Served::Spared(lease) => drop(lease),
        }
        result
    }

    /// Common bytes that the next to be served lacks.
    pub(super) fn short_of(&self) -> Option<u64> {
        self.with_books(|books| books.grants.short_of())
    }

    /// Bytes that were waited for.
    pub(super) fn put_in(&self, lease: Lease) {
        let beyond = self.with_books(|books| match &mut books.purse {
            Some(purse) => purse.put(&mut books.grants, lease),
            None => Some(lease),
        });
        drop(beyond);
    }

    pub(super) fn counts(&self, stage: usize) -> Option<&Counts> {
        self.stages.get(stage).map(|post| &post.counts)
    }

    pub(super) fn name(&self, stage: usize) -> Arc<str> {
        self.stages.get(stage).map_or_else(|| "pipeline".into(), |post| Arc::clone(&post.name))
    }

    /// A turn of an ordered stage ends: the next may hand on what it has.
    pub(super) fn end_turn(&self, stage: usize, turn: u64) {
        let next = self.with_books(|books| {
            books.grants.end(stage, turn);
            let head = books.grants.head(stage);
            books.turns.get_mut(stage)?.remove(&head)
        });
        if let Some(next) = next {
            next.wake();
        }
    }

    /// Is it the turn's turn? If not, `waker` is woken when it is.
    pub(super) fn is_turn(&self, stage: usize, turn: u64, waker: &Waker) -> bool {
        // Another waker of the same task may be replaced; it is dropped when the books are free.
        let (is_turn, _old) = self.with_books(|books| {
            if books.grants.head(stage) >= turn {
                return (true, None);
            }
            let turns = books.turns.get_mut(stage);
            (false, turns.and_then(|turns| turns.insert(turn, waker.clone())))
        });
        is_turn
    }

    /// Waits for its turn no more.
    pub(super) fn leave_turn(&self, stage: usize, turn: u64) {
        drop(self.with_books(|books| books.turns.get_mut(stage)?.remove(&turn)));
    }

    /// Items that wait before each stage but the first, and how long a newcomer would, in nanoseconds.
    pub(super) fn outlooks(&self) -> impl Iterator<Item = (u64, u64)> {
        self.lines.iter().map(|line| line.outlook())
    }

    /// The last task has ended: what still waits is taken out of its lines, and its bytes go back.
    pub(super) fn clear(&self) {
        drop(self.with_books(|books| books.purse.take()));
        for (stage, line) in (1..).zip(&self.lines) {
            line.clear().into_iter().for_each(|item| self.hand_back(stage, item));
        }
    }

    /// An item that waited before a stage comes back.
    pub(super) fn hand_back(&self, stage: usize, item: Box<dyn Any + Send>) {
        if let Some(counts) = self.counts(stage) {
            counts.leave(1);
        }
        lock(&self.left).push((stage, Left { stage: self.name(stage), item }));
    }

    /// The nearest to the source first; before each stage those that it had taken, then those that waited in their order.
    pub(super) fn take_left(&self) -> Vec<Left> {
        let mut left = std::mem::take(&mut *lock(&self.left));
        left.sort_by_key(|(stage, _)| *stage);
        left.into_iter().map(|(_, left)| left).collect()
    }

    pub(super) fn clock_of<R>(
        &self,
        stage: usize,
        change: impl FnOnce(&mut StageClock, u64) -> R,
    ) -> Option<R> {
        let now = self.clock.now();
        let mut books = lock(&self.books);
        books.clocks.get_mut(stage).map(|clock| change(clock, now))
    }
}

impl Books {
    /// Meets every demand that can be met.
    fn serve(&mut self, clock: &Clock, wakes: &mut Wakes) -> Served {
        let mut grown = Grown::Yes;
        while self.grants.waiting() > 0 && grown == Grown::Yes {
            while let Some(grant) = self.grants.serve() {
                if let Some(stage) = self.clocks.get_mut(grant.account) {
                    stage.go_on(Wait::Room, clock.now());
                }
                wakes.extend(grant.value.grant());
            }
            grown = match (&mut self.purse, self.grants.short_of()) {
                (Some(purse), Some(missing)) => purse.grow(&mut self.grants, missing),
                _ => Grown::AtMost,
            };
        }
        if self.grants.waiting() > 0 {
            self.say_what_for(clock);
        }
        match (grown, &mut self.purse) {
            (Grown::Full, _) => Served::Hungry,
            (_, Some(purse)) => purse.spare(&mut self.grants).map_or(Served::Fed, Served::Spared),
            (_, None) => Served::Fed,
        }
    }

    /// What those that wait for room wait for.
    fn say_what_for(&mut self, clock: &Clock) {
        for (account, stage) in self.clocks.iter_mut().enumerate() {
            if let Some(blocked) = self.grants.blocked(account) {
                let for_budget = blocked == Blocked::Budget;
                if stage.is_news(for_budget) {
                    stage.room_is_for(for_budget, clock.now());
                }
            }
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn peak(&self) -> u64 {
        self.grants.peak()
    }

    pub(super) fn clock(&mut self, stage: usize) -> Option<&mut StageClock> {
        self.clocks.get_mut(stage)
    }
}
