//! What is handed out: a connection and its permit.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tidegate_control::sample::Outcome;
use tokio::sync::Notify;

use crate::limiter::{Limiter, Permit};

use super::listen::Listen;

/// An accepted connection.
#[non_exhaustive]
pub struct Accepted<L: Listen> {
    /// The connection.
    pub stream: L::Stream,
    /// The other end.
    pub peer: L::Address,
    /// Its place among the connections. Keep it as long as the stream.
    pub permit: ConnectionPermit,
    /// Where it came in.
    pub lane: Lane,
}

impl<L: Listen> Accepted<L> {
    pub(super) fn new(stream: L::Stream, peer: L::Address, permit: ConnectionPermit, lane: Lane) -> Self {
        Self { stream, peer, permit, lane }
    }
}

impl<L: Listen> fmt::Debug for Accepted<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted").field("peer", &self.peer).field("lane", &self.lane).finish_non_exhaustive()
    }
}

/// Where a connection came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// The listener whose connections are bounded.
    Main,
    /// The listener of the [health lane](super::Accept::health_lane).
    Health,
}

/// The permit of a connection: given back when it is dropped, which lets the next one in. Reports that the end says
/// nothing about load, unless [`finish`](Self::finish) says otherwise.
#[derive(Debug)]
#[must_use = "dropping a permit lets the next connection in at once"]
pub struct ConnectionPermit {
    // In this order: the bell rings when the permit is back.
    permit: Permit,
    _bell: Bell,
}

impl ConnectionPermit {
    pub(super) fn new(permit: Permit, bell: &Arc<Notify>) -> Self {
        Self { permit, _bell: Bell(Arc::clone(bell)) }
    }

    /// Gives the permit back and reports how the connection ended.
    pub fn finish(self, outcome: Outcome) {
        let Self { permit, _bell } = self;
        permit.finish(outcome);
    }

    /// How long the connection has been open; zero where that was not measured ([`Permit::held`]).
    #[must_use]
    pub fn held(&self) -> Duration {
        self.permit.held()
    }

    /// The limiter of the connections.
    #[must_use]
    pub fn limiter(&self) -> &Limiter {
        self.permit.limiter()
    }
}

/// Says when it is dropped that there may be room.
#[derive(Debug)]
struct Bell(Arc<Notify>);

impl Drop for Bell {
    fn drop(&mut self) {
        self.0.notify_waiters();
    }
}
