//! What a request asks of the limiter.

use crate::demand::Demand;

/// Reads a request's [`Demand`]. A closure `Fn(&Req) -> Demand` does.
///
/// ```
/// use tidegate::tower::DemandOf;
/// use tidegate::{Criticality, Demand};
///
/// let of = |path: &String| match path.as_str() {
///     "/export" => Demand::weight(5).class(Criticality::Sheddable),
///     _ => Demand::ONE,
/// };
/// let _demand = of.demand(&"/export".to_owned());
/// ```
pub trait DemandOf<Req> {
    /// What `request` asks for. Called once a call, before anything waits.
    fn demand(&self, request: &Req) -> Demand;
}

impl<Req, F: Fn(&Req) -> Demand> DemandOf<Req> for F {
    #[inline]
    fn demand(&self, request: &Req) -> Demand {
        self(request)
    }
}

/// Every request asks for [`Demand::ONE`]. The default.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneEach;

impl<Req> DemandOf<Req> for OneEach {
    #[inline]
    fn demand(&self, _: &Req) -> Demand {
        Demand::ONE
    }
}
