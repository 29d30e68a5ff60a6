//! The part of a body that is read before the door.
//!
//! A slow upload must not hold a permit while its bytes trickle in. So a body of declared length is read first: all
//! of it, or its first 64 KiB; when memory is short, 8 KiB.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::Body;
use tidegate::Reason;
use tidegate::budget::Lease;
use tidegate::http::Problem;

use crate::body::{ClientBody, TooSlow};
use crate::late::within;
use crate::memory::Tier;
use crate::origin::RequestBody;

use super::Gateway;
use super::stop::Stop;

/// The most that is read ahead: what a form or an API call has.
const MOST: u64 = 64 * 1024;
/// How long that may take: 64 KiB in 5 s is less than the slowest mobile network gives.
const WITHIN: Duration = Duration::from_secs(5);

/// What a request's own charge covers of its body.
const COVERED: u64 = 8 * 1024;
/// Frames that are smaller are put together: each keeps the buffer alive that it was read into.
const SMALL: usize = 8 * 1024;

/// Bytes charged to the queue's budget while they wait.
#[derive(Debug)]
pub(super) struct Charge {
    gateway: Arc<Gateway>,
    bytes: u64,
    over: bool,
    _lease: Option<Lease>,
}

impl Charge {
    /// Charges `bytes` to the queue, and beyond what a request's own charge covers to the memory; as many as that covers, if
    /// there is no memory for more. **When the queue is full**: refused for [`Reason::Memory`], but not in a dry run.
    fn new(gateway: &Arc<Gateway>, bytes: u64) -> Result<Self, Problem> {
        let lease = match &gateway.settings.memory {
            Some(memory) if bytes > COVERED => Some(memory.lease(bytes - COVERED, Tier::Grow)),
            _ => None,
        };
        let bytes = if matches!(lease, Some(None)) { COVERED } else { bytes };
        let most = gateway.settings.max_queue_bytes;
        let over = gateway
            .queue_bytes
            .fetch_update(Relaxed, Relaxed, |held| held.checked_add(bytes).filter(|sum| *sum <= most))
            .is_err();
        if over && !gateway.settings.dry_run {
            let detail = "The gateway's memory for waiting requests is used up.";
            return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, Reason::Memory, detail));
        }
        if over {
            gateway.queue_bytes.fetch_add(bytes, Relaxed);
        }
        Ok(Self { gateway: Arc::clone(gateway), bytes, over, _lease: lease.flatten() })
    }

    /// Would it have been refused, were this no dry run?
    pub(super) fn is_over(&self) -> bool {
        self.over
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.gateway.queue_bytes.fetch_sub(self.bytes, Relaxed);
    }
}

/// What was read.
#[derive(Debug, Default)]
struct Ahead {
    whole: VecDeque<Bytes>,
    small: BytesMut,
}

impl Ahead {
    fn push(&mut self, data: Bytes) {
        if data.len() < SMALL {
            self.small.extend_from_slice(&data);
        } else {
            self.together();
            self.whole.push_back(data);
        }
    }

    fn together(&mut self) {
        if !self.small.is_empty() {
            self.whole.push_back(self.small.split().freeze());
        }
    }

    fn whole(mut self) -> VecDeque<Bytes> {
        self.together();
        self.whole
    }
}

/// Reads the begin of a body of `length` bytes.
pub(super) async fn read(
    gateway: &Arc<Gateway>,
    mut body: ClientBody,
    length: u64,
) -> Result<(RequestBody, Charge), Stop> {
    let charge = Charge::new(gateway, length.min(MOST))?;
    let wanted = charge.bytes;
    let mut ahead = Ahead::default();
    let mut have = 0;
    let reading = async {
        while have < wanted && !body.is_end_stream() {
            match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        have += data.len() as u64;
                        ahead.push(data);
                    }
                }
                Some(Err(error)) => return Err(Stop::of_body(&error)),
                None => break,
            }
        }
        Ok(())
    };
    match within(WITHIN, reading).await {
        Ok(Ok(())) => Ok((RequestBody::new(ahead.whole(), body), charge)),
        Ok(Err(stop)) => Err(stop),
        Err(_) => Err(Problem::from(TooSlow::Stalled(WITHIN)).into()),
    }
}
