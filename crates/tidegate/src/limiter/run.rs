//! Work under a permit, from admission to outcome.

use std::error::Error;
use std::fmt;

use tidegate_control::sample::Outcome;

use super::limiter::Limiter;
use crate::demand::Demand;
use crate::refused::Refused;

/// Work under [`Limiter::run`] did not succeed.
#[derive(Debug)]
pub enum RunError<E> {
    /// It was not started.
    Refused(Refused),
    /// It failed by itself.
    Inner(E),
}

impl Limiter {
    /// Runs `work` under a permit. `Ok` is reported as success, `Err` as an end that says nothing about load.
    ///
    /// # Errors
    /// The refusal, or the work's own error.
    pub async fn run<F, T, E>(&self, demand: impl Into<Demand>, work: F) -> Result<T, RunError<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        let permit = self.acquire(demand).await.map_err(RunError::Refused)?;
        let result = work.await;
        permit.finish(if result.is_ok() { Outcome::Success } else { Outcome::Ignore });
        result.map_err(RunError::Inner)
    }
}

impl<E: fmt::Display> fmt::Display for RunError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::Inner(error) => error.fmt(f),
        }
    }
}

impl<E: Error + 'static> Error for RunError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused(refused) => Some(refused),
            Self::Inner(error) => Some(error),
        }
    }
}
