//! Permits between `poll_ready` and `call`, and the task that ends what lapses.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::limiter::Permit;

/// The holds of all handles of one layer. Each has a permit, so there are no more of them than the limiter has units.
pub(super) struct Holds {
    lapse_after: Duration,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    /// By number, which is the order of beginning, and so, since all last equally long, of lapsing.
    held: BTreeMap<u64, (Instant, Permit)>,
    next: u64,
    /// The task runs. One for all holds, and only while there are any.
    swept: bool,
}

impl Holds {
    pub(super) fn new(lapse_after: Duration) -> Arc<Self> {
        Arc::new(Self { lapse_after, book: Mutex::default() })
    }

    pub(super) fn lapse_after(&self) -> Duration {
        self.lapse_after
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds `permit`; returns the number to ask for it.
    pub(super) fn begin(self: &Arc<Self>, permit: Permit) -> u64 {
        let until = self.end_of_a_new_one();
        let mut book = self.book();
        let number = book.next;
        book.next += 1;
        book.held.insert(number, (until, permit));
        // Without a runtime holds end at the next question to any of the handles.
        if let (false, Ok(runtime)) = (book.swept, Handle::try_current()) {
            book.swept = true;
            let sweep = sweep(Sweep { holds: Arc::downgrade(self), marked: true });
            drop(book);
            runtime.spawn(sweep);
        }
        number
    }

    /// A time too long to be a moment is as good as none: thirty years from now.
    fn end_of_a_new_one(&self) -> Instant {
        let now = Instant::now();
        now.checked_add(self.lapse_after).unwrap_or(now + Duration::from_secs(30 * 365 * 86_400))
    }

    /// Looks and unmarks under one lock, so that a hold which begins now starts a task of its own.
    fn unmark_if_empty(&self) -> bool {
        let mut book = self.book();
        let empty = book.held.is_empty();
        book.swept &= !empty;
        empty
    }

    /// Is it still held?
    pub(super) fn has(&self, number: u64) -> bool {
        self.end_lapsed();
        self.book().held.contains_key(&number)
    }

    /// The permit, if its hold has not lapsed.
    pub(super) fn take(&self, number: u64) -> Option<Permit> {
        self.end_lapsed();
        self.book().held.remove(&number).map(|(_, permit)| permit)
    }

    /// Gives back what has lapsed. Returns when the next will.
    fn end_lapsed(&self) -> Option<Instant> {
        let now = Instant::now();
        loop {
            let mut book = self.book();
            let first = book.held.first_entry()?;
            let until = first.get().0;
            if until > now {
                return Some(until);
            }
            let (_, permit) = first.remove();
            // Giving it back wakes whoever is next, who may come here.
            drop(book);
            permit.ignore();
        }
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
            holds.book().swept = false;
        }
    }
}

async fn sweep(mut mark: Sweep) {
    while let Some(holds) = mark.holds.upgrade() {
        let next = holds.end_lapsed();
        if holds.unmark_if_empty() {
            mark.marked = false;
            return;
        }
        let next = next.unwrap_or_else(|| holds.end_of_a_new_one());
        drop(holds);
        tokio::time::sleep_until(next).await;
    }
}
