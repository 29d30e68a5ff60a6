//! Why there is no result.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::io;

use crate::refused::Refused;
use crate::sync::{Mutex, lock};

/// Work was not done, or not to its end.
#[derive(Debug)]
#[non_exhaustive]
pub enum BlockingError {
    /// It was not started: no thread, no place to wait, or no bytes.
    Refused(Refused),
    /// It panicked. The permit came back.
    Panicked(Panicked),
    /// It was not started: its runtime is shutting down, or there is none here.
    Stopped,
}

impl fmt::Display for BlockingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::Panicked(panicked) => panicked.fmt(f),
            Self::Stopped => f.write_str("no runtime to run on, or one that is shutting down"),
        }
    }
}

impl Error for BlockingError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused(refused) => Some(refused),
            Self::Panicked(_) | Self::Stopped => None,
        }
    }
}

impl From<Refused> for BlockingError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// A refusal is [`ResourceBusy`](io::ErrorKind::ResourceBusy), and [`Refused::find`] finds it again.
impl From<BlockingError> for io::Error {
    fn from(error: BlockingError) -> Self {
        let kind = match error {
            BlockingError::Refused(_) => io::ErrorKind::ResourceBusy,
            BlockingError::Panicked(_) | BlockingError::Stopped => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

/// What a panic left behind.
pub struct Panicked {
    message: Box<str>,
    /// Locked only to make it `Sync`: what a panic carries need not be.
    payload: Mutex<Box<dyn Any + Send>>,
}

impl Panicked {
    pub(super) fn new(payload: Box<dyn Any + Send>) -> Self {
        let message = payload.downcast_ref::<&str>().copied();
        let message = message.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self { message: message.unwrap_or("no message").into(), payload: Mutex::new(payload) }
    }

    /// What it said; `no message` if that was no string.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What it carried, for [`std::panic::resume_unwind`].
    #[must_use]
    pub fn into_payload(self) -> Box<dyn Any + Send> {
        let mut payload = lock(&self.payload);
        std::mem::replace(&mut *payload, Box::new(()))
    }
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the work panicked: {}", self.message)
    }
}

impl fmt::Debug for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Panicked").field(&self.message).finish()
    }
}
