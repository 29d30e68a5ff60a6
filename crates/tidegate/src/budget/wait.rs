//! [`Leasing`]: a lease, after its turn.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tidegate_control::credit::Urgency;
use tokio::runtime::Handle;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::refused::Reason;

use super::desk::{Entered, Stop};
use super::full::Full;
use super::lease::Lease;
use super::node::Budget;
use super::seat::{Leaving, Seat, Told};

/// Resolves to a [`Lease`] when its turn comes; made by [`Budget::lease`].
///
/// It asks when it is first polled. **When full:** it waits in the line of its budget, holding nothing; it is refused if
/// every place is taken, if it could never be served, or by its [bound](Self::within). **When cancelled:** dropping it
/// leaves the line at once; bytes that it was granted and did not take pass on to who is next. Polled again after it
/// resolved, it stays pending.
///
/// Kept and **not polled**, it keeps bytes that it was granted from others for about a second: then they pass on to whoever
/// waits, and it lines up anew when it is polled. That takes two looks, 0.1 s apart or more, so that a program that was stopped
/// takes them from nobody who had no chance to come; it is looked with whatever happens to the tree, and by those whose own wait
/// is [bounded](Self::within), who look when it can tell: while one of them waits, bytes stay with whoever does not come for
/// 1.1 s, and little more. Where nobody's wait is bounded and nothing happens, they stay.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use std::time::Duration;
/// use tidegate::budget::Budget;
///
/// let budget = Budget::new("uploads", 100);
/// let all = budget.lease(100).await?;
/// let full = budget.lease(1).within(Duration::from_millis(5)).await.unwrap_err();
/// assert_eq!(full.reason, tidegate::Reason::Expired);
/// drop(all);
/// assert!(budget.lease(1).await.is_ok());
/// # Ok::<(), tidegate::budget::Full>(()) }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Leasing {
    budget: Budget,
    bytes: u64,
    urgency: Urgency,
    deadline: Option<Instant>,
    longest: Option<Duration>,
    state: State,
}

#[derive(Debug)]
enum State {
    New,
    Waiting(Arc<Seat>, Option<Watch>),
    Done,
}

impl Leasing {
    pub(super) fn new(budget: Budget, bytes: u64) -> Self {
        let urgency = Urgency::InProgress;
        Self { budget, bytes, urgency, deadline: None, longest: None, state: State::New }
    }

    /// What the bytes are for; work in progress by default.
    pub fn urgency(mut self, urgency: Urgency) -> Self {
        self.urgency = urgency;
        self
    }

    /// Waits at most so long from its first poll: then it resolves to a refusal, [`Expired`](Reason::Expired). If the wait
    /// is predicted to be longer, it is refused at once with [`WaitTooLong`](Reason::WaitTooLong). Outside a tokio
    /// runtime (whose timer must be enabled) only the prediction counts.
    pub fn within(mut self, longest: Duration) -> Self {
        self.longest = Some(longest);
        self
    }

    /// The same with a moment as the bound.
    pub fn by(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    fn enter(&mut self) -> Poll<Result<Lease, Full>> {
        let clock = &self.budget.tree().clock;
        let bounded = self.longest.is_some() || self.deadline.is_some();
        let now = bounded.then(|| clock.instant(clock.now())).flatten();
        let end = [now.zip(self.longest).and_then(|(now, longest)| now.checked_add(longest)), self.deadline];
        let end = end.into_iter().flatten().min();
        let patience = end.zip(now).map(|(end, now)| end.saturating_duration_since(now));
        let what = (self.budget.id(), self.bytes, self.urgency);
        let (entered, shares) =
            self.budget.tree().visit(|desk, wakes| (desk.enter(what, patience, clock, wakes), desk.shares));
        match entered {
            Err(full) => Poll::Ready(Err(full)),
            Ok(Entered::Granted) => Poll::Ready(Ok(Lease::new(self.budget.clone(), self.bytes))),
            Ok(Entered::Waits(seat, next)) => {
                let again = (shares || end.is_some()).then(|| clock.instant(next)).flatten();
                // Before there is a clock beside it: where the runtime has no timer, which panics, nobody is forgotten in
                // the line.
                self.state = State::Waiting(seat, None);
                let made = Watch::new(end, again);
                if let State::Waiting(_, watch) = &mut self.state {
                    *watch = made;
                }
                Poll::Pending
            }
        }
    }

    /// Gives the ask up; true if the bytes had been granted.
    fn leave(&self, seat: &Seat) -> bool {
        let tree = self.budget.tree();
        let (leaving, waker) = tree.visit(|desk, wakes| desk.leave(seat, &tree.clock, wakes));
        drop(waker);
        leaving == Leaving::Grant
    }

    fn expire(&self, seat: &Seat) -> Result<Lease, Full> {
        if self.leave(seat) {
            return Ok(Lease::new(self.budget.clone(), self.bytes));
        }
        let full = self.budget.tree().visit(|desk, _| {
            let stop = desk.fits(seat.id, seat.need, seat.urgency, None).err();
            desk.full(seat.need, stop.unwrap_or(Stop::Turn(seat.id)))
        });
        Err(Full { reason: Reason::Expired, ..full })
    }
}

impl Future for Leasing {
    type Output = Result<Lease, Full>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            let (seat, watch) = match &mut this.state {
                State::Done => return Poll::Pending,
                State::New => {
                    this.state = State::Done;
                    if let Poll::Ready(result) = this.enter() {
                        return Poll::Ready(result);
                    }
                    continue;
                }
                State::Waiting(seat, watch) => (seat, watch),
            };
            if let Poll::Ready(told) = seat.poll(cx.waker()) {
                let end = watch.as_ref().and_then(|watch| watch.end);
                this.state = State::Done;
                match told {
                    Told::Granted => {
                        return Poll::Ready(Ok(Lease::new(this.budget.clone(), this.bytes)));
                    }
                    Told::Refused(full) => return Poll::Ready(Err(full)),
                    Told::Nothing => return Poll::Pending,
                    Told::Lapsed => {
                        // Its bound is the one that it had.
                        this.deadline = end.or(this.deadline);
                        this.longest = this.longest.filter(|_| end.is_none());
                        this.state = State::New;
                        continue;
                    }
                }
            }
            match watch.as_mut().map_or(Poll::Pending, |watch| watch.poll(cx)) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(false) => {
                    let tree = this.budget.tree();
                    let next = tree.visit(|desk, wakes| desk.look_again(seat, &tree.clock, wakes));
                    *watch = watch.take().and_then(|watch| watch.wound(tree.clock.instant(next)));
                }
                Poll::Ready(true) => {
                    let waiting = std::mem::replace(&mut this.state, State::Done);
                    let State::Waiting(seat, _) = waiting else { return Poll::Pending };
                    return Poll::Ready(this.expire(&seat));
                }
            }
        }
    }
}

/// The clock beside a wait.
#[derive(Debug)]
struct Watch {
    sleep: Pin<Box<Sleep>>,
    end: Option<Instant>,
}

impl Watch {
    /// `None` if there is nothing to watch for, or no runtime to do it.
    fn new(end: Option<Instant>, again: Option<Instant>) -> Option<Self> {
        let first = again.into_iter().chain(end).min().filter(|_| Handle::try_current().is_ok())?;
        Some(Self { sleep: Box::pin(sleep_until(first)), end })
    }

    /// To look again then.
    fn wound(mut self, again: Option<Instant>) -> Option<Self> {
        let next = again.into_iter().chain(self.end).min()?;
        self.sleep.as_mut().reset(next);
        Some(self)
    }

    /// Ready with true at the end, with false when it is time to look again: to be wound before it is polled once more.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.sleep.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(self.end.is_some_and(|end| end <= self.sleep.deadline()))
    }
}

impl Drop for Leasing {
    fn drop(&mut self) {
        if let State::Waiting(seat, _) = &self.state {
            if self.leave(seat) {
                drop(Lease::new(self.budget.clone(), self.bytes));
            }
        }
    }
}
