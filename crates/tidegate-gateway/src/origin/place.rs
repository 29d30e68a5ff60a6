//! As many connections to an HTTP/1 origin as there are open files for.
//!
//! Permits bound them already, but a connection takes its file until the kernel has closed it, which may be later than the
//! moment in which its permit goes back: who is let in then waits here for that moment. Where nothing is refused for load
//! (a dry run), this is what keeps the files.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::{Origin, OriginError, OriginErrorKind};

/// The places that there are. Whoever waits for one holds a permit of the gateway's, so that they are bounded.
#[derive(Debug)]
pub(super) struct Places(Arc<Semaphore>);

/// Every connection that there may be is used.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("there are as many connections as there may be")]
struct AllTaken;

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS))))
    }
}

impl Origin {
    /// A place for one more connection, or nothing where they are not counted. **When full**, waits for one that ends, for as
    /// long as a connection may take. **When cancelled**, nothing is taken.
    pub(super) async fn place(&self) -> Result<Option<OwnedSemaphorePermit>, OriginError> {
        let Some(Places(places)) = &self.places else { return Ok(None) };
        if let Ok(place) = Arc::clone(places).try_acquire_owned() {
            return Ok(Some(place));
        }
        let _wants = self.wants_place();
        match timeout(self.settings.connect_timeout, Arc::clone(places).acquire_owned()).await {
            Ok(Ok(place)) => Ok(Some(place)),
            _ => Err(OriginError::new(OriginErrorKind::OpenFiles, AllTaken)),
        }
    }
}
