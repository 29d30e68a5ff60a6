//! [`Limit`]: a limiter and what is to be done with it.

use std::future::{Ready, ready};
use std::rc::Rc;

use actix_web::Error;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};

use crate::demand::Demand;
use crate::http::{ByStatus, ProblemJson, RespondWith, UntilBodyEnd};
use crate::limiter::Limiter;
use crate::tower::{DemandOf, Hold, OnRefusal, OutcomeOf};
use actix_web::HttpResponse;

use super::deadline::until_deadline;
use super::ready::ReadyService;
use super::service::LimitService;

/// Middleware that puts a limiter before an application, a scope or a resource.
///
/// The limiter is asked when a request comes, before the inner service is called. **When full:** the request waits in
/// the limiter's queue, bounded in number and time, then gets the refusal as a response: middleware around it sees
/// a response, not an error. **When cancelled:** a waiting request leaves the queue at once; in one that was admitted
/// the work is dropped first, then the permit goes back as [`Outcome::Canceled`](crate::Outcome::Canceled). Whether
/// the server cancels when a client goes is for the server to say: see the [module](super). **Errors:** the inner
/// service's. **Panics** only where the inner service or a closure does; the permit goes back.
///
/// Wherever one limiter is given to several of them, in one worker or many, they share its units.
///
/// ```
/// # actix_web::rt::System::new().block_on(async {
/// use actix_web::{App, test, web};
/// use tidegate::actix::Limit;
/// use tidegate::{Limiter, QueueConfig};
///
/// let limiter = Limiter::builder().limit(1).queue(QueueConfig::none()).build().unwrap();
/// let app = App::new()
///     .wrap(Limit::new(limiter.clone()))
///     .route("/", web::get().to(|| async { "hello" }));
/// let app = test::init_service(app).await;
///
/// let _held = limiter.try_acquire(1).unwrap();
/// let response = test::call_service(&app, test::TestRequest::default().to_request()).await;
/// assert_eq!(response.status(), 503);
/// assert!(response.headers().contains_key("retry-after"));
/// # });
/// ```
#[derive(Clone, Debug)]
#[must_use = "middleware does nothing until an App is wrapped in it"]
pub struct Limit<
    D = fn(&ServiceRequest) -> Demand,
    O = ByStatus,
    R = RespondWith<ProblemJson>,
    H = UntilBodyEnd,
> {
    pub(super) limiter: Limiter,
    pub(super) demand: D,
    pub(super) outcome: O,
    pub(super) refusal: R,
    pub(super) hold: H,
}

impl Limit {
    /// One unit a request, until its deadline if it has one; the status says how work ended; a refusal is a response
    /// with a problem body; the permit is held until the response's body has ended.
    pub fn new(limiter: Limiter) -> Self {
        let refusal = RespondWith::service_unavailable().problem_json();
        Self { limiter, demand: until_deadline, outcome: ByStatus, refusal, hold: UntilBodyEnd }
    }
}

impl<D, O, R, H> Limit<D, O, R, H> {
    /// What a request asks for ([`DemandOf`]), such as
    /// `|request: &ServiceRequest| until_deadline(request).class(Criticality::Sheddable)`. With a deadline in it,
    /// nobody waits beyond the deadline, and an answer that comes after it is reported as late.
    pub fn demand<D2: DemandOf<ServiceRequest>>(self, demand: D2) -> Limit<D2, O, R, H> {
        let Self { limiter, outcome, refusal, hold, .. } = self;
        Limit { limiter, demand, outcome, refusal, hold }
    }

    /// How work ended ([`OutcomeOf`]), for a limit that learns.
    pub fn outcome<O2>(self, outcome: O2) -> Limit<D, O2, R, H> {
        let Self { limiter, demand, refusal, hold, .. } = self;
        Limit { limiter, demand, outcome, refusal, hold }
    }

    /// What a refusal becomes ([`OnRefusal`]): a [`RespondWith`], or a closure
    /// `Fn(Refused) -> Result<HttpResponse, Error>`.
    pub fn on_refusal<R2: OnRefusal<HttpResponse, Error>>(self, refusal: R2) -> Limit<D, O, R2, H> {
        let Self { limiter, demand, outcome, hold, .. } = self;
        Limit { limiter, demand, outcome, refusal, hold }
    }

    /// How long the permit is held ([`Hold`]): [`UntilBodyEnd`], or
    /// [`UntilResponse`](crate::tower::UntilResponse) for answers without an end in sight.
    pub fn hold<H2>(self, hold: H2) -> Limit<D, O, R, H2> {
        let Self { limiter, demand, outcome, refusal, .. } = self;
        Limit { limiter, demand, outcome, refusal, hold }
    }
}

impl<S, B, C, D, O, R, H> Transform<S, ServiceRequest> for Limit<D, O, R, H>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    C: MessageBody,
    D: DemandOf<ServiceRequest> + Clone,
    O: OutcomeOf<ServiceResponse<B>, Error> + Clone,
    R: OnRefusal<HttpResponse, Error, Error = Error> + Clone,
    H: Hold<ServiceResponse<B>, Held = ServiceResponse<C>> + Clone,
{
    type Response = ServiceResponse<EitherBody<C>>;
    type Error = Error;
    type Transform = LimitService<S, D, O, R, H>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(LimitService { inner: Rc::new(ReadyService::new(service)), with: Rc::new(self.clone()) }))
    }
}
