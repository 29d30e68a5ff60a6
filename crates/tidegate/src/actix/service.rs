//! [`LimitService`]: admission before a service.

use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::{Error, HttpResponse};

use crate::tower::{DemandOf, Hold, OnRefusal, OutcomeOf};

use super::future::LimitFuture;
use super::limit::Limit;
use super::ready::ReadyService;

/// A service behind a limiter; made by [`Limit`], once a worker.
///
/// It is ready always and takes nothing when asked. The inner service is driven to readiness inside the call, under
/// the permit.
#[derive(Debug)]
pub struct LimitService<S, D, O, R, H> {
    pub(super) inner: Rc<ReadyService<S>>,
    pub(super) with: Rc<Limit<D, O, R, H>>,
}

impl<S, B, C, D, O, R, H> Service<ServiceRequest> for LimitService<S, D, O, R, H>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    C: MessageBody,
    D: DemandOf<ServiceRequest>,
    O: OutcomeOf<ServiceResponse<B>, Error>,
    R: OnRefusal<HttpResponse, Error, Error = Error>,
    H: Hold<ServiceResponse<B>, Held = ServiceResponse<C>>,
{
    type Response = ServiceResponse<EitherBody<C>>;
    type Error = Error;
    type Future = LimitFuture<S, D, O, R, H>;

    fn poll_ready(&self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let demand = self.with.demand.demand(&request);
        let deadline = demand.deadline;
        let admission = self.with.limiter.enqueue(demand);
        LimitFuture::new(admission, (Rc::clone(&self.inner), request), Rc::clone(&self.with), deadline)
    }
}
