//! [`Origin`]: the service behind, with the connections that are kept to it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use http::Request;
use tokio::time::Instant;

use crate::memory::Memory;
use crate::tls::TlsError;

use super::dial::Dialer;
use super::http1::Kept;
use super::http2::{Standing, Streams};
use super::place::Places;
use super::{Exchange, OriginAddress, OriginSettings, RequestBody};

/// The service behind, and the connections to it.
///
/// It holds as many connections as there are exchanges, and unused ones up to
/// [`idle_connections`](OriginSettings::idle_connections), but no more HTTP/1 connections in all than
/// [`connections`](OriginSettings::connections). It does not limit the exchanges: a permit does.
pub struct Origin {
    pub(super) dialer: Dialer,
    pub(super) settings: OriginSettings,
    pub(super) counts: Counts,
    idle: Mutex<Idle>,
    pub(super) places: Option<Places>,
    /// The HTTP/2 connection, if one stands.
    pub(super) http2: Standing,
    pub(super) streams: Arc<Streams>,
}

/// Connections that nobody uses, the one used last at the end.
#[derive(Debug, Default)]
struct Idle {
    kept: VecDeque<(Instant, Kept)>,
    /// So many wait for a place for a new one: for each that is kept meanwhile another one goes.
    wanted: usize,
}

/// Somebody waits for a place for a new connection, until this is dropped.
pub(super) struct Wants<'a>(&'a Origin);

/// What has been counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) open: AtomicU64,
    pub(super) dials: AtomicU64,
    pub(super) dials_failed: AtomicU64,
    pub(super) repeats: AtomicU64,
}

/// Figures of the connections to an origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OriginFacts {
    /// Connections open now.
    pub open: u64,
    /// Those that nobody uses.
    pub idle: u64,
    /// Connections that were tried.
    pub dials: u64,
    /// Those that did not come to stand.
    pub dials_failed: u64,
    /// Requests that were sent again: they met a dead kept connection, or an HTTP/2 origin did not process them.
    pub repeats: u64,
}

impl Origin {
    /// The service at `address`. Dials when a request needs it, not now.
    ///
    /// # Errors
    /// If it is an `https` origin and TLS cannot be set up.
    pub fn new(address: OriginAddress, settings: OriginSettings) -> Result<Arc<Self>, TlsError> {
        Ok(Arc::new(Self {
            dialer: Dialer::new(address, &settings)?,
            places: settings.connections.map(Places::new),
            settings,
            counts: Counts::default(),
            idle: Mutex::default(),
            http2: Standing::default(),
            streams: Arc::default(),
        }))
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> &OriginAddress {
        self.dialer.address()
    }

    /// Is it spoken to in HTTP/2?
    #[must_use]
    pub fn speaks_http2(&self) -> bool {
        self.settings.http2
    }

    /// Sends a request. A request that met a dead kept connection is sent once more where that is safe: when it
    /// was not written, or when its method is idempotent and its whole body is here (RFC 9110 §9.2.2). So is one
    /// that an HTTP/2 origin says it has not processed (RFC 9113 §8.7), whatever its method.
    ///
    /// Its connections live in the runtime in which this is called: an origin belongs to one.
    pub fn send(self: &Arc<Self>, request: Request<RequestBody>) -> Exchange {
        Exchange::start(Arc::clone(self), request)
    }

    /// Figures of its connections.
    #[must_use]
    pub fn facts(&self) -> OriginFacts {
        OriginFacts {
            open: self.counts.open.load(Relaxed),
            idle: self.lock().kept.len() as u64,
            dials: self.counts.dials.load(Relaxed),
            dials_failed: self.counts.dials_failed.load(Relaxed),
            repeats: self.counts.repeats.load(Relaxed),
        }
    }

    /// Closes connections that nobody has used for the idle timeout. Call it every second or so.
    pub fn sweep(&self) {
        let Some(before) = Instant::now().checked_sub(self.settings.idle_timeout) else { return };
        let mut lock = self.lock();
        let idle = &mut lock.kept;
        let mut closed = Vec::new();
        while idle.front().is_some_and(|(since, kept)| *since < before || kept.is_closed()) {
            closed.extend(idle.pop_front());
        }
        if self.is_short() {
            let (large, small) = idle.drain(..).partition::<Vec<_>, _>(|(_, kept)| kept.is_large());
            idle.extend(small);
            closed.extend(large);
        }
        drop(lock);
        drop(closed);
    }

    /// Is memory short, so that nothing large should be kept?
    fn is_short(&self) -> bool {
        self.settings.memory.as_ref().is_some_and(Memory::is_half_used)
    }

    /// The connection that was used last and still stands.
    pub(super) fn take(&self) -> Option<Kept> {
        let mut idle = self.lock();
        while let Some((_, kept)) = idle.kept.pop_back() {
            if !kept.is_closed() {
                return Some(kept);
            }
        }
        None
    }

    /// Somebody needs a place for a new connection: the oldest that nobody uses gives up its own, and as long as this is held
    /// no more are kept, since whoever waits does not look for them.
    pub(super) fn wants_place(&self) -> Wants<'_> {
        let mut idle = self.lock();
        idle.wanted += 1;
        let oldest = idle.kept.pop_front();
        drop(idle);
        drop(oldest);
        Wants(self)
    }

    /// Keeps a connection whose exchange is complete; closes the oldest when there are too many.
    pub(super) fn keep(&self, kept: Kept) {
        kept.rest();
        if kept.is_closed() || (kept.is_large() && self.is_short()) {
            return;
        }
        let most = self.most_idle();
        let mut idle = self.lock();
        let most = if idle.wanted > 0 { 0 } else { most };
        idle.kept.push_back((Instant::now(), kept));
        let oldest = if idle.kept.len() > most { idle.kept.pop_front() } else { None };
        drop(idle);
        drop(oldest);
    }

    fn most_idle(&self) -> usize {
        let fit =
            self.settings.memory.as_ref().map_or(usize::MAX, |memory| memory.plan().origin_connections());
        self.settings.idle_connections.min(fit)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Wants<'_> {
    fn drop(&mut self) {
        self.0.lock().wanted -= 1;
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("address", self.address())
            .field("facts", &self.facts())
            .finish_non_exhaustive()
    }
}
