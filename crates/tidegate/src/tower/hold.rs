//! How long a permit is held.

use tidegate_control::sample::Outcome;

use crate::limiter::Permit;

/// Decides when a permit goes back, once the inner service has answered.
pub trait Hold<Rsp> {
    /// The response that the caller gets.
    type Held;

    /// Gives `permit` back with `outcome`, or ties it to the response.
    fn hold(&self, response: Rsp, permit: Permit, outcome: Outcome) -> Self::Held;
}

/// The permit goes back when the response is there. The default. For HTTP, where the body is most of the work,
/// see `UntilBodyEnd` (feature `http`).
#[derive(Clone, Copy, Debug, Default)]
pub struct UntilResponse;

impl<Rsp> Hold<Rsp> for UntilResponse {
    type Held = Rsp;

    #[inline]
    fn hold(&self, response: Rsp, permit: Permit, outcome: Outcome) -> Rsp {
        permit.finish(outcome);
        response
    }
}
