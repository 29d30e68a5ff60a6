//! A pool that never waits: who comes when nothing is there gets an error, and shows that its gate failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use tidegate::gate::{PoolGate, PoolGateBuilder};
use tidegate::{ConfigError, QueueConfig};

/// No connection was there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Empty;

impl std::fmt::Display for Empty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the pool is empty")
    }
}

impl std::error::Error for Empty {}

/// The pool's figures.
#[derive(Debug)]
pub(crate) struct Strict {
    pub(crate) size: AtomicU64,
    pub(crate) out: AtomicU64,
    pub(crate) gets: AtomicU64,
    /// What opening takes.
    pub(crate) opens_in: Duration,
}

/// One of its connections.
#[derive(Debug)]
pub(crate) struct Lent(Arc<Strict>);

impl Drop for Lent {
    fn drop(&mut self) {
        self.0.out.fetch_sub(1, SeqCst);
    }
}

impl Strict {
    pub(crate) fn new(size: u64, opens_in: Duration) -> Arc<Self> {
        Arc::new(Self { size: size.into(), out: 0.into(), gets: 0.into(), opens_in })
    }

    async fn get(self: Arc<Self>) -> Result<Lent, Empty> {
        self.gets.fetch_add(1, SeqCst);
        if self.out.fetch_add(1, SeqCst) >= self.size.load(SeqCst) {
            self.out.fetch_sub(1, SeqCst);
            return Err(Empty);
        }
        let lent = Lent(Arc::clone(&self));
        if !self.opens_in.is_zero() {
            tokio::time::sleep(self.opens_in).await;
        }
        Ok(lent)
    }

    pub(crate) fn builder(self: &Arc<Self>) -> PoolGateBuilder<Lent, Empty> {
        let (size, pool) = (Arc::clone(self), Arc::clone(self));
        PoolGate::builder(move || size.size.load(SeqCst), move || Arc::clone(&pool).get())
    }

    pub(crate) fn gate(self: &Arc<Self>, places: u64) -> Result<PoolGate<Lent, Empty>, ConfigError> {
        self.builder().name("db").queue(QueueConfig::bounded(places)).build()
    }
}
