//! [`Writers`]: makes writers alike, and counts what becomes of them.

use std::sync::Arc;

use tokio::io::AsyncWrite;

use super::core::Core;
use super::counts::{Counts, WriterStats};
use super::kernel::{Kernel, Socket};
use super::pace::Progress;
use super::writer::Writer;
use crate::budget::Budget;

/// Makes a server's writers alike, and counts what becomes of them. Clones count together.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use tidegate::writer::Writers;
///
/// let writers = Writers::new().max_bytes(16 << 10);
/// let (io, _peer) = tokio::io::duplex(1024);
/// let mut writer = writers.over(io);
/// writer.send("hello").await?;
/// drop(writer); // not finished: its peer must not take this for the whole
/// assert_eq!(writers.stats().aborted, 1);
/// # Ok::<(), tidegate::writer::WriteError>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Writers {
    max_bytes: u64,
    progress: Progress,
    counts: Arc<Counts>,
    budget: Option<Budget>,
}

impl Default for Writers {
    fn default() -> Self {
        Self::new()
    }
}

impl Writers {
    /// What a writer may hold by default, the kernel's part included: 64 KiB, as the gateway lets wait unsent in the kernel.
    /// Enough to keep a socket busy while its writer is woken; a thousand peers that do not read hold 64 MiB.
    pub const DEFAULT_MAX_BYTES: u64 = 64 << 10;

    /// The least it may hold: two pages, below which the kernel rounds up.
    pub const LEAST_MAX_BYTES: u64 = 8 << 10;

    /// Writers that hold [`DEFAULT_MAX_BYTES`](Self::DEFAULT_MAX_BYTES) each, for peers that make
    /// [`Progress::default`].
    #[must_use]
    pub fn new() -> Self {
        let (max_bytes, progress) = (Self::DEFAULT_MAX_BYTES, Progress::default());
        Self { max_bytes, progress, counts: Arc::default(), budget: None }
    }

    /// Each holds at most `bytes` (at least [`LEAST_MAX_BYTES`](Self::LEAST_MAX_BYTES)): those it accepted and the kernel did
    /// not take, and of a [socket](Self::socket) those that the kernel took and did not send. What is accepted at a time, a
    /// room, is half of it.
    ///
    /// The more, the longer the socket is busy while its writer is woken: for much data over a fast path take 256 KiB, with
    /// which a busy machine's loopback goes as fast as without a bound, where the default reaches a fifth of that.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes.clamp(Self::LEAST_MAX_BYTES, 1 << 40);
        self
    }

    /// Asks this of the peers.
    #[must_use]
    pub const fn progress(mut self, progress: Progress) -> Self {
        self.progress = progress;
        self
    }

    /// Charges to `budget` what the writers hold themselves: the bytes accepted that no kernel has taken yet. Room is then
    /// waited for there as well, for [`Progress::longest_stall`] at most. What the kernels hold is not charged, since nobody
    /// would give it back while nobody looks; who wants to charge it leases [`max_bytes`](Writer::max_bytes) for each
    /// connection when it is accepted.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// A writer over `io`, of which only the bytes that it did not take yet are counted. To be used where `io` is no
    /// socket: TLS, compression, a pipe. Bound what the kernel holds below it with [`bound_kernel`](super::bound_kernel).
    pub fn over<W: AsyncWrite + Unpin>(&self, io: W) -> Writer<W> {
        self.open(io, None)
    }

    /// A writer over a socket, whose kernel memory is bounded and counted: with `TCP_NOTSENT_LOWAT` and `SIOCOUTQNSD` for
    /// TCP (tcp(7)), with `SO_SNDBUF` and `SIOCOUTQ` for Unix sockets (unix(7)). Elsewhere than on Linux only the
    /// writer's own bytes are; [`Writer::counts_kernel`] says which.
    pub fn socket<S: Socket>(&self, io: S) -> Writer<S> {
        let kernel = Kernel::bound(&io, self.max_bytes);
        self.open(io, Some(kernel))
    }

    fn open<W>(&self, io: W, kernel: Option<Kernel<W>>) -> Writer<W> {
        let (room, counts, budget) = (self.max_bytes / 2, Arc::clone(&self.counts), self.budget.clone());
        Writer::new(Core::new(io, kernel, room, self.progress, counts, budget))
    }

    /// What became of the writers that this one and its clones made.
    #[must_use]
    pub fn stats(&self) -> WriterStats {
        self.counts.stats()
    }
}
