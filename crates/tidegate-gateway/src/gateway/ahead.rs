//! The part of a body that is read before the door.
//!
//! A slow upload must not hold a permit while its bytes trickle in. So a body of declared length is read first: all
//! of it, or its first 64 KiB.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::StatusCode;
use http_body::Body;
use tidegate::Reason;
use tidegate::http::Problem;
use tokio::time::timeout;

use crate::body::{ClientBody, TooSlow};
use crate::origin::RequestBody;

use super::Gateway;
use super::stop::Stop;

/// The most that is read ahead: what a form or an API call has.
const MOST: u64 = 64 * 1024;
/// How long that may take: 64 KiB in 5 s is less than the slowest mobile network gives.
const WITHIN: Duration = Duration::from_secs(5);

/// Bytes charged to the queue's budget while they wait.
#[derive(Debug)]
pub(super) struct Charge {
    gateway: Arc<Gateway>,
    bytes: u64,
}

impl Charge {
    /// Charges `bytes`. **When full**: refused for [`Reason::Memory`].
    fn new(gateway: &Arc<Gateway>, bytes: u64) -> Result<Self, Problem> {
        let most = gateway.settings.max_queue_bytes;
        gateway
            .queue_bytes
            .fetch_update(Relaxed, Relaxed, |held| held.checked_add(bytes).filter(|sum| *sum <= most))
            .map_err(|_| {
                Problem::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    Reason::Memory,
                    "The gateway's memory for waiting requests is used up.",
                )
            })?;
        Ok(Self { gateway: Arc::clone(gateway), bytes })
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.gateway.queue_bytes.fetch_sub(self.bytes, Relaxed);
    }
}

/// Reads the begin of a body of `length` bytes.
pub(super) async fn read(
    gateway: &Arc<Gateway>,
    mut body: ClientBody,
    length: u64,
) -> Result<(RequestBody, Charge), Stop> {
    let wanted = length.min(MOST);
    let charge = Charge::new(gateway, wanted)?;
    let mut ahead = VecDeque::new();
    let mut have = 0;
    let reading = async {
        while have < wanted && !body.is_end_stream() {
            match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        have += data.len() as u64;
                        ahead.push_back(data);
                    }
                }
                Some(Err(error)) => return Err(Stop::of_body(&error)),
                None => break,
            }
        }
        Ok(())
    };
    match timeout(WITHIN, reading).await {
        Ok(Ok(())) => Ok((RequestBody::new(ahead, body), charge)),
        Ok(Err(stop)) => Err(stop),
        Err(_) => Err(Problem::from(TooSlow::Stalled(WITHIN)).into()),
    }
}
