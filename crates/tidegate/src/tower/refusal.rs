//! What a refusal becomes.

use std::error::Error;

use crate::refused::Refused;

/// An error of any kind, as tower's own layers use it.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Turns a refusal into a response or an error. A closure `Fn(Refused) -> Result<Rsp, E>` does, and leaves the
/// service's error type as it is: where routers want `Infallible`, it stays `Infallible`.
///
/// ```
/// use std::convert::Infallible;
/// use tidegate::tower::LimitLayer;
/// use tidegate::{Limiter, Refused};
///
/// let _layer = LimitLayer::new(Limiter::fixed(10))
///     .on_refusal(|refused: Refused| Ok::<String, Infallible>(format!("not now: {}", refused.reason())));
/// ```
pub trait OnRefusal<Rsp, E> {
    /// The error of the service with the layer around it.
    type Error;

    /// What the caller gets for `refused`.
    ///
    /// # Errors
    /// If a refusal is to be an error.
    fn refuse(&self, refused: Refused) -> Result<Rsp, Self::Error>;

    /// What the caller gets for an error of the inner service.
    fn pass_on(error: E) -> Self::Error;
}

impl<Rsp, E, F: Fn(Refused) -> Result<Rsp, E>> OnRefusal<Rsp, E> for F {
    type Error = E;

    fn refuse(&self, refused: Refused) -> Result<Rsp, E> {
        self(refused)
    }

    #[inline]
    fn pass_on(error: E) -> E {
        error
    }
}

/// A refusal is an error, boxed; [`Refused::find`] finds it again, through whatever was put around it. The
/// default.
#[derive(Clone, Copy, Debug, Default)]
pub struct AsError;

impl<Rsp, E: Into<BoxError>> OnRefusal<Rsp, E> for AsError {
    type Error = BoxError;

    fn refuse(&self, refused: Refused) -> Result<Rsp, BoxError> {
        Err(Box::new(refused))
    }

    #[inline]
    fn pass_on(error: E) -> BoxError {
        error.into()
    }
}
