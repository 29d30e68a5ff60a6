//! How work ended, as far as the limit may learn from it.

use tidegate_control::sample::Outcome;

/// Reads how work ended from its result. A closure `Fn(Result<&Rsp, &E>) -> Outcome` does.
///
/// ```
/// use tidegate::Outcome;
/// use tidegate::tower::OutcomeOf;
///
/// let of = |result: Result<&u16, &std::io::Error>| match result {
///     Ok(503) => Outcome::Overload,
///     Ok(_) => Outcome::Success,
///     Err(_) => Outcome::Ignore,
/// };
/// assert_eq!(of.outcome(Ok(&503)), Outcome::Overload);
/// ```
pub trait OutcomeOf<Rsp, E> {
    /// How the work ended. Called once, when the inner service resolves; a call that is dropped before counts as
    /// [`Outcome::Canceled`].
    fn outcome(&self, result: Result<&Rsp, &E>) -> Outcome;
}

impl<Rsp, E, F: Fn(Result<&Rsp, &E>) -> Outcome> OutcomeOf<Rsp, E> for F {
    #[inline]
    fn outcome(&self, result: Result<&Rsp, &E>) -> Outcome {
        self(result)
    }
}

/// A response is success; an error says nothing about load, since it may come quickly from a service that does
/// no work at all. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct ErrIsIgnored;

impl<Rsp, E> OutcomeOf<Rsp, E> for ErrIsIgnored {
    #[inline]
    fn outcome(&self, result: Result<&Rsp, &E>) -> Outcome {
        if result.is_ok() { Outcome::Success } else { Outcome::Ignore }
    }
}
