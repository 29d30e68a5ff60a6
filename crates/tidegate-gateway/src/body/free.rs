//! [`Free`]: a body over HTTP/1 may flow freely once it turns out to be large and there is memory for its buffers.

use tidegate::budget::Lease;

use crate::memory::Memory;
use crate::socket::Watch;

/// Bytes that are read at once as long as a body need not flow freely: less than hyper's buffers begin with, so that
/// they do not grow.
pub(crate) const SMALL_READS: usize = 4 * 1024 - 1;

/// So many bytes must have flowed before a body may flow freely, and before it is asked again.
const LARGE: usize = 16 * 1024;

/// Lets a body flow freely, if it is large and there is memory.
#[derive(Debug)]
pub(crate) struct Free {
    memory: Memory,
    line: Watch,
    until: usize,
    lease: Option<Lease>,
}

impl Free {
    /// For a body of so many bytes, if that is known.
    pub(crate) fn new(memory: &Memory, line: &Watch, size: Option<u64>) -> Self {
        line.body_begins(size.is_none_or(|size| size > LARGE as u64));
        Self { memory: memory.clone(), line: line.clone(), until: LARGE, lease: None }
    }

    /// So many bytes of the body have come.
    pub(crate) fn came(&mut self, bytes: usize) {
        if self.lease.is_some() {
            return;
        }
        self.until = self.until.saturating_sub(bytes);
        if self.until == 0 {
            self.until = LARGE;
            self.lease = self.memory.free_flow(false);
            if self.lease.is_some() {
                self.line.read_at_once(usize::MAX);
            }
        }
    }
}

impl Drop for Free {
    fn drop(&mut self) {
        self.line.body_ends();
        if let Some(mut lease) = self.lease.take() {
            self.line.read_at_once(SMALL_READS);
            // The frame on its way is gone. hyper's buffer stays.
            if let Some(buffer) = lease.split(lease.bytes() / 2) {
                self.line.has_grown(buffer);
            }
        }
    }
}
