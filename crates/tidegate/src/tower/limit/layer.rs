//! [`LimitLayer`]: a limiter and what is to be done with it.

use tower_layer::Layer;

use crate::limiter::Limiter;
use crate::tower::demand::OneEach;
use crate::tower::hold::UntilResponse;
use crate::tower::outcome::ErrIsIgnored;
use crate::tower::refusal::AsError;
use crate::tower::reserve::ReserveLayer;
use crate::tower::serial::Serial;

use super::service::Limit;

/// Puts a limiter before a service: see [`Limit`].
///
/// All services that one layer makes, and all clones of them, share the limiter.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use tidegate::tower::LimitLayer;
/// use tidegate::{Limiter, QueueConfig, Refused};
/// use tower::{ServiceBuilder, ServiceExt};
///
/// let limiter = Limiter::builder().name("db").limit(1).queue(QueueConfig::none()).build()?;
/// let service = ServiceBuilder::new()
///     .layer(LimitLayer::new(limiter.clone()))
///     .service(tower::service_fn(|n: u32| async move { Ok::<u32, std::io::Error>(n + 1) }));
///
/// assert_eq!(service.clone().oneshot(1).await?, 2);
/// let _held = limiter.try_acquire(1)?;
/// let error = service.oneshot(1).await.unwrap_err();
/// assert_eq!(Refused::find(&*error).unwrap().limiter(), "db");
/// # Ok::<(), tidegate::tower::BoxError>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct LimitLayer<D = OneEach, O = ErrIsIgnored, R = AsError, H = UntilResponse> {
    pub(super) limiter: Limiter,
    pub(super) demand: D,
    pub(super) outcome: O,
    pub(super) refusal: R,
    pub(super) hold: H,
}

impl LimitLayer {
    /// One unit a request; a response is success; a refusal is an error; the permit is held until the response.
    pub fn new(limiter: Limiter) -> Self {
        Self { limiter, demand: OneEach, outcome: ErrIsIgnored, refusal: AsError, hold: UntilResponse }
    }
}

impl<O, R, H> LimitLayer<OneEach, O, R, H> {
    /// The same with tower's strict contract: `poll_ready` takes the unit that `call` uses, and holds it for a short
    /// time. Every request asks for one unit, since none is known when the service is asked. See
    /// [`Reserve`](crate::tower::Reserve).
    pub fn reserve(self) -> ReserveLayer<O, R, H> {
        ReserveLayer::new(self)
    }
}

impl<D, O, R, H> LimitLayer<D, O, R, H> {
    /// What a request asks for ([`DemandOf`](crate::tower::DemandOf)), such as
    /// `|request: &Request| Demand::weight(2)`. With a deadline in it, nobody waits beyond the deadline, and
    /// an answer that comes after it is reported as late.
    pub fn demand<D2>(self, demand: D2) -> LimitLayer<D2, O, R, H> {
        let Self { limiter, outcome, refusal, hold, .. } = self;
        LimitLayer { limiter, demand, outcome, refusal, hold }
    }

    /// How work ended ([`OutcomeOf`](crate::tower::OutcomeOf)), for a limit that learns.
    pub fn outcome<O2>(self, outcome: O2) -> LimitLayer<D, O2, R, H> {
        let Self { limiter, demand, refusal, hold, .. } = self;
        LimitLayer { limiter, demand, outcome, refusal, hold }
    }

    /// What a refusal becomes ([`OnRefusal`](crate::tower::OnRefusal)).
    pub fn on_refusal<R2>(self, refusal: R2) -> LimitLayer<D, O, R2, H> {
        let Self { limiter, demand, outcome, hold, .. } = self;
        LimitLayer { limiter, demand, outcome, refusal, hold }
    }

    /// How long the permit is held ([`Hold`](crate::tower::Hold)).
    pub fn hold<H2>(self, hold: H2) -> LimitLayer<D, O, R, H2> {
        let Self { limiter, demand, outcome, refusal, .. } = self;
        LimitLayer { limiter, demand, outcome, refusal, hold }
    }

    /// The same for a service that cannot be cloned: calls under a permit take turns at it ([`Serial`]), each
    /// until the service was ready and has been called; the answers are then awaited side by side.
    pub fn serial(self) -> SerialLimitLayer<D, O, R, H> {
        SerialLimitLayer(self)
    }
}

impl<S, D: Clone, O: Clone, R: Clone, H: Clone> Layer<S> for LimitLayer<D, O, R, H> {
    type Service = Limit<S, D, O, R, H>;

    fn layer(&self, inner: S) -> Self::Service {
        Limit { inner, with: self.clone() }
    }
}

/// [`LimitLayer`] for services that cannot be cloned; made by [`LimitLayer::serial`].
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is put around a service"]
pub struct SerialLimitLayer<D = OneEach, O = ErrIsIgnored, R = AsError, H = UntilResponse>(
    LimitLayer<D, O, R, H>,
);

impl<S, D: Clone, O: Clone, R: Clone, H: Clone> Layer<S> for SerialLimitLayer<D, O, R, H> {
    type Service = Limit<Serial<S>, D, O, R, H>;

    fn layer(&self, inner: S) -> Self::Service {
        self.0.layer(Serial::new(inner))
    }
}
