//! An operation on its thread, and how it is judged.

use std::io;

use tidegate_control::sample::Outcome;

use crate::demand::Demand;
use crate::gate::blocking::Blocking;

/// What an operation does: each takes its own time, and is compared with its like.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Read = 0,
    Write = 1,
    /// Opens, closes, asks, cuts.
    Look = 2,
    Sync = 3,
}

/// The gate before the device, and for whom it is asked.
#[derive(Clone, Debug)]
pub(super) struct Device {
    pub(super) gate: Blocking,
    pub(super) demand: Demand,
}

impl Device {
    /// Does `work`, which holds `bytes` of data.
    pub(super) async fn run<T, F>(&self, kind: Kind, bytes: u64, work: F) -> io::Result<T>
    where
        F: FnOnce() -> io::Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let demand = self.demand.clone().kind(kind as u8);
        self.gate.work(demand).bytes(bytes).run_judged(work, judge).await?
    }

    /// The most bytes of data that an operation should hold. With a limit of none it is 1, for which it waits: to read
    /// nothing would look like the end of the file.
    pub(super) fn most(&self) -> u64 {
        self.gate.bytes().limit().max(1)
    }
}

/// An error says nothing about load, but for those by which the system says that it has too much of it.
fn judge<T>(result: &io::Result<T>) -> Outcome {
    match result.as_ref().map_err(io::Error::kind) {
        Ok(_) => Outcome::Success,
        Err(io::ErrorKind::TimedOut | io::ErrorKind::ResourceBusy | io::ErrorKind::WouldBlock) => {
            Outcome::Overload
        }
        Err(_) => Outcome::Ignore,
    }
}

/// A length as this machine counts memory.
pub(super) fn in_memory(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
