//! What handles hold between `poll_ready` and `call`, and the task that ends what lapses.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::limiter::{Permit, Ticket, TryClaimError};

/// What a handle has of the limiter.
pub(super) enum Stake {
    Waits(Ticket),
    Holds { until: Instant, permit: Permit },
}

/// A handle's stake, shared with the task, which takes it away when it lapses. Whoever has this lock may come to the
/// limiter's, never the other way round: wakers are called after that is released.
type Cell = Arc<Mutex<Option<Stake>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The stakes of all handles of one layer: no more than the limiter has units and places.
pub(super) struct Holds {
    lapse_after: Duration,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    cells: BTreeMap<u64, Cell>,
    next: u64,
    /// The task runs. One for all stakes, and only while there are any.
    swept: bool,
}

/// A handle's entry in the book.
pub(super) struct Entry {
    number: u64,
    cell: Cell,
}

/// The shortest time between two looks of the task.
const SHORTEST_LAP: Duration = Duration::from_millis(1);
/// A time too long to be a moment is as good as none.
const THIRTY_YEARS: Duration = Duration::from_secs(30 * 365 * 86_400);

impl Holds {
    pub(super) fn new(lapse_after: Duration) -> Arc<Self> {
        Arc::new(Self { lapse_after, book: Mutex::default() })
    }

    pub(super) fn lapse_after(&self) -> Duration {
        self.lapse_after
    }

    fn hold(&self, permit: Permit) -> Stake {
        let now = Instant::now();
        Stake::Holds { until: now.checked_add(self.lapse_after).unwrap_or(now + THIRTY_YEARS), permit }
    }

    /// A handle waits.
    pub(super) fn wait(self: &Arc<Self>, ticket: Ticket) -> Entry {
        // Without a runtime nobody else looks at what the other handles hold.
        self.end_lapsed();
        self.enter(Stake::Waits(ticket))
    }

    /// A handle is ready.
    pub(super) fn begin(self: &Arc<Self>, permit: Permit) -> Entry {
        self.enter(self.hold(permit))
    }

    fn enter(self: &Arc<Self>, stake: Stake) -> Entry {
        let cell = Arc::new(Mutex::new(Some(stake)));
        let mut book = lock(&self.book);
        let number = book.next;
        book.next += 1;
        book.cells.insert(number, Arc::clone(&cell));
        if let (false, Ok(runtime)) = (book.swept, Handle::try_current()) {
            book.swept = true;
            let sweep = sweep(Sweep { holds: Arc::downgrade(self), marked: true });
            drop(book);
            runtime.spawn(sweep);
        }
        Entry { number, cell }
    }

    /// Ready with a unit, or not yet; `None` if what the handle had has lapsed or was refused.
    pub(super) fn poll(&self, entry: &Entry, cx: &mut Context<'_>) -> Option<Poll<()>> {
        self.end_if_lapsed(&entry.cell);
        let mut stake = lock(&entry.cell);
        match stake.as_mut()? {
            Stake::Holds { .. } => Some(Poll::Ready(())),
            Stake::Waits(ticket) => match Pin::new(ticket).poll(cx) {
                Poll::Pending => Some(Poll::Pending),
                Poll::Ready(Ok(permit)) => {
                    *stake = Some(self.hold(permit));
                    Some(Poll::Ready(()))
                }
                Poll::Ready(Err(_)) => {
                    *stake = None;
                    None
                }
            },
        }
    }

    /// Does the handle hold a unit?
    pub(super) fn is_held(&self, entry: &Entry) -> bool {
        self.end_if_lapsed(&entry.cell);
        matches!(*lock(&entry.cell), Some(Stake::Holds { .. }))
    }

    /// What the handle had, which is its own again.
    pub(super) fn take(&self, entry: &Entry) -> Option<Stake> {
        lock(&self.book).cells.remove(&entry.number);
        self.end_if_lapsed(&entry.cell);
        lock(&entry.cell).take()
    }

    /// Gives back a unit whose time is over. A unit that was granted and not fetched has its time from now.
    fn end_if_lapsed(&self, cell: &Mutex<Option<Stake>>) {
        let mut stake = lock(cell);
        match stake.take() {
            Some(Stake::Holds { until, permit }) if until <= Instant::now() => {
                // Giving it back wakes whoever is next, who may come here.
                drop(stake);
                permit.ignore();
            }
            Some(Stake::Waits(ticket)) => {
                *stake = match ticket.try_claim() {
                    Ok(permit) => Some(self.hold(permit)),
                    Err(TryClaimError::NotYet(ticket)) => Some(Stake::Waits(ticket)),
                    // Whoever answered the ticket has woken the handle.
                    Err(TryClaimError::Refused(_)) => None,
                };
            }
            other => *stake = other,
        }
    }

    fn end_lapsed(&self) {
        let cells: Vec<Cell> = lock(&self.book).cells.values().cloned().collect();
        cells.iter().for_each(|cell| self.end_if_lapsed(cell));
    }

    /// Looks and unmarks under one lock, so that a stake which comes now starts a task of its own.
    fn unmark_if_empty(&self) -> bool {
        let mut book = lock(&self.book);
        let empty = book.cells.is_empty();
        book.swept &= !empty;
        empty
    }
}

/// The task's mark in the book, which is taken out however the task ends.
struct Sweep {
    holds: Weak<Holds>,
    marked: bool,
}

impl Drop for Sweep {
    fn drop(&mut self) {
        if let (true, Some(holds)) = (self.marked, self.holds.upgrade()) {
            lock(&holds.book).swept = false;
        }
    }
}

async fn sweep(mut mark: Sweep) {
    while let Some(holds) = mark.holds.upgrade() {
        holds.end_lapsed();
        if holds.unmark_if_empty() {
            mark.marked = false;
            return;
        }
        let lap = holds.lapse_after.clamp(SHORTEST_LAP, THIRTY_YEARS);
        drop(holds);
        tokio::time::sleep(lap).await;
    }
}
