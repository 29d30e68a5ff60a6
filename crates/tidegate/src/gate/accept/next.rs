//! The way of one connection: somebody waits, a permit, accept(2).

use std::future::pending;
use std::io;
use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::task::coop::consume_budget;
use tokio::time::sleep;

use crate::limiter::{Limiter, Permit, ReadinessWatch};
use crate::readiness::Readiness;
use crate::refused::{Reason, Refused};

use super::bound::Full;
use super::connection::{Accepted, ConnectionPermit, Lane};
use super::fault::{AcceptError, Fault};
use super::gate::{Accept, Line, count};
use super::kernel;
use super::listen::Listen;
use super::race::{First, first};
use super::refusal::WhenFull;

/// How often it looks again while it pauses, for what nobody tells: a file descriptor that something else closed, a
/// linked limit that rose, a predicted wait that fell.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Connections refused at the end, when draining: the longest accept queue that Linux allows by default.
const LAST_REFUSALS: u64 = 4096;

/// Another readiness of the linked limiter, if there is one.
async fn linked_changed(linked: &mut Option<ReadinessWatch>) {
    match linked {
        Some(linked) => {
            linked.changed().await;
        }
        None => pending().await,
    }
}

impl<L: Listen> Accept<L> {
    /// The next connection, once there is one and a permit for it. Several tasks may wait at once.
    ///
    /// **When full** it goes on with what [`when_full`](Self::when_full) says. **Cancel safe:** dropping the future loses
    /// neither a connection nor a permit; those that are being refused still hear it.
    ///
    /// # Errors
    /// [`AcceptError::Draining`] when the limiter of the connections, or the one it is linked to, drains; with a
    /// health lane, that one is served until the last connection has ended. Drop the `Accept` then: that
    /// closes the listener. [`AcceptError::Listener`] if the listener is of no use any more. Everything
    /// else that accept(2) can say is dealt with here.
    ///
    /// # Panics
    /// Outside a tokio runtime with IO and time enabled.
    pub async fn accept(&self) -> Result<Accepted<L>, AcceptError> {
        let Some(health) = &self.health else { return self.next(&self.main, Lane::Main).await };
        let main = async {
            let next = self.next(&self.main, Lane::Main).await;
            let connections = self.connections();
            if next.is_err() && matches!(connections.readiness(), Readiness::Draining { .. }) {
                // The listener stays open for the health lane: who comes meanwhile hears it as well.
                first(connections.drain(), self.tell_newcomers(&self.main)).await;
            }
            next
        };
        let health = self.next(health, Lane::Health);
        let next = if self.health_was_last.load(Relaxed) {
            first(main, health).await.either()
        } else {
            first(health, main).await.either()
        };
        if let Ok(accepted) = &next {
            self.health_was_last.store(accepted.lane == Lane::Health, Relaxed);
        }
        next
    }

    /// The next connection of one lane. Between taking it out of the accept queue and returning it, nothing waits.
    async fn next(&self, line: &Line<L>, lane: Lane) -> Result<Accepted<L>, AcceptError> {
        let mut watch = line.bounds.connections.subscribe();
        let mut paused = false;
        loop {
            // A flood that is refused must not keep the thread from everybody else.
            consume_budget().await;
            line.spare.refill(line.socket.get_ref());
            if !self.arrival(line, &mut watch).await.map_err(AcceptError::Listener)? {
                return self.end(line, lane).await;
            }
            let full = match line.bounds.admit() {
                Err(full) => full,
                Ok(permit) => match L::take(line.socket.get_ref()) {
                    Ok((stream, _)) if paused && L::is_broken(&stream) => {
                        count(&self.counts.gone);
                        continue;
                    }
                    Ok((stream, peer)) => {
                        return Ok(self.accepted(line, stream, peer, permit, lane));
                    }
                    Err(error) => match Fault::of(&error) {
                        Fault::Nobody | Fault::Connection => continue,
                        Fault::Listener => return Err(AcceptError::Listener(error)),
                        Fault::Shortage => {
                            count(&self.counts.shortages);
                            let again = (lane == Lane::Health && line.spare.lend())
                                .then(|| L::take(line.socket.get_ref()));
                            match again {
                                Some(Ok((stream, peer))) => {
                                    return Ok(self.accepted(line, stream, peer, permit, lane));
                                }
                                _ => Full::Short,
                            }
                        }
                    },
                },
            };
            if lane == Lane::Main && !matches!(self.when_full, WhenFull::Pause) {
                if self.refuse(line, full)? {
                    continue;
                }
            } else {
                paused = true;
                line.pace.bound();
            }
            Self::wait_for_room(line, &mut watch, full).await;
        }
    }

    fn accepted(
        &self,
        line: &Line<L>,
        stream: L::Stream,
        peer: L::Address,
        permit: Permit,
        lane: Lane,
    ) -> Accepted<L> {
        line.pace.let_in();
        count(&self.counts.accepted);
        if lane == Lane::Health {
            count(&self.counts.health);
        }
        Accepted::new(stream, peer, ConnectionPermit::new(permit, &line.bell), lane)
    }

    /// Waits until somebody is in the accept queue; false when draining.
    async fn arrival(&self, line: &Line<L>, watch: &mut ReadinessWatch) -> io::Result<bool> {
        let mut linked = line.bounds.linked.as_ref().map(Limiter::subscribe);
        loop {
            if line.bounds.is_draining() {
                return Ok(false);
            }
            // A drain of either limiter is a change.
            let changed = first(watch.changed(), linked_changed(&mut linked));
            match first(line.socket.readable(), changed).await {
                First::Left(guard) => {
                    let mut guard = guard?;
                    if kernel::has_news(guard.get_inner()) {
                        return Ok(true);
                    }
                    line.pace.unbound();
                    guard.clear_ready();
                }
                First::Right(_) => {}
            }
        }
    }

    /// Waits until there may be room: a connection has ended, a limiter's readiness has changed, or some time went by.
    async fn wait_for_room(line: &Line<L>, watch: &mut ReadinessWatch, full: Full) {
        let mut rung = pin!(line.bell.notified());
        rung.as_mut().enable();
        let mut linked = line.bounds.linked.as_ref().map(Limiter::subscribe);
        // Asked when the bell is heard, so that no ring is missed in between. What is short, the bounds do not know.
        if full != Full::Short && !matches!(line.bounds.full(), Some(Full::Connections | Full::Linked)) {
            return;
        }
        first(first(first(rung, watch.changed()), linked_changed(&mut linked)), sleep(LOOK_AGAIN)).await;
    }

    /// Refuses the head of the accept queue; false if that cannot be done now.
    fn refuse(&self, line: &Line<L>, full: Full) -> Result<bool, AcceptError> {
        let mut in_passing = false;
        loop {
            match L::take(line.socket.get_ref()) {
                Ok((stream, _)) => {
                    let refused = self.refusal(line, full);
                    self.refusals.refuse::<L>(&self.when_full, stream, &refused, in_passing);
                    count(&self.counts.refused);
                    line.spare.refill(line.socket.get_ref());
                    return Ok(true);
                }
                Err(error) => match Fault::of(&error) {
                    Fault::Nobody | Fault::Connection => return Ok(true),
                    Fault::Listener => return Err(AcceptError::Listener(error)),
                    Fault::Shortage => {
                        if full != Full::Short && !in_passing {
                            count(&self.counts.shortages);
                        }
                        in_passing = line.spare.lend();
                        if !in_passing {
                            return Ok(false);
                        }
                    }
                },
            }
        }
    }

    /// Why, and when to come back.
    fn refusal(&self, line: &Line<L>, full: Full) -> Refused {
        let (reason, asked) = match full {
            Full::Connections | Full::Short => (Reason::Connections, &line.bounds.connections),
            Full::Linked => {
                (Reason::Connections, line.bounds.linked.as_ref().unwrap_or(&line.bounds.connections))
            }
            Full::Draining => (Reason::Draining, &line.bounds.connections),
        };
        let refused = line.bounds.connections.refuse(reason);
        if full != Full::Draining {
            let wait = asked.predicted_wait();
            // Whoever comes back before the linked limiter has room is refused again.
            let after = refused.retry_after().max(asked.readiness().retry_after());
            return refused.for_wait((wait.samples > 0).then_some(wait)).after(after);
        }
        refused
    }

    /// Draining: those that came before hear it, where they are answered at all.
    async fn end(&self, line: &Line<L>, lane: Lane) -> Result<Accepted<L>, AcceptError> {
        if lane == Lane::Health {
            return pending().await;
        }
        if !matches!(self.when_full, WhenFull::Pause) {
            self.tell_waiting(line).await?;
        }
        Err(AcceptError::Draining)
    }

    /// Refuses those that are in the accept queue, as draining; false if one could not be refused now.
    async fn tell_waiting(&self, line: &Line<L>) -> Result<bool, AcceptError> {
        for _ in 0..LAST_REFUSALS {
            if !kernel::has_news(line.socket.get_ref()) {
                return Ok(true);
            }
            if !self.refuse(line, Full::Draining)? {
                return Ok(false);
            }
            consume_budget().await;
        }
        Ok(true)
    }

    /// Refuses whoever comes, as draining, until it is dropped; where newcomers wait when full, they wait.
    async fn tell_newcomers(&self, line: &Line<L>) {
        if matches!(self.when_full, WhenFull::Pause) {
            return pending().await;
        }
        loop {
            let Ok(mut guard) = line.socket.readable().await else { return pending().await };
            match self.tell_waiting(line).await {
                Ok(true) => {}
                Ok(false) => sleep(LOOK_AGAIN).await,
                Err(_) => return pending().await,
            }
            if !kernel::has_news(guard.get_inner()) {
                guard.clear_ready();
            }
        }
    }
}
