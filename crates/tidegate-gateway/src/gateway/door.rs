//! The door: what is asked for there, and the begin of a body that is read before.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use http::{StatusCode, request};
use tidegate::http::Problem;
use tidegate::{Admission, Demand, Readiness, Reason, Refused};

use crate::body::ClientBody;
use crate::origin::RequestBody;
use crate::refuse::problem_of;

use super::Gateway;
use super::ahead::{self, Charge};
use super::stop::Stop;

/// A request that asks to be let in.
pub(super) struct Asks {
    pub(super) head: request::Parts,
    pub(super) body: RequestBody,
    /// What of its body waits with it.
    pub(super) waiting_bytes: Option<Charge>,
}

/// Resolves when so much of a body is read that its request may ask.
pub(super) trait Reading: Future<Output = Result<(Asks, Demand), Stop>> + Send {}

impl<F: Future<Output = Result<(Asks, Demand), Stop>> + Send> Reading for F {}

/// Reads the begin of a body of `length` bytes.
pub(super) async fn read_ahead(
    gateway: Arc<Gateway>,
    head: request::Parts,
    body: ClientBody,
    length: u64,
    demand: Demand,
) -> Result<(Asks, Demand), Stop> {
    // Who would be refused anyway need not send its body first. (A dry run refuses nobody, and counts once.)
    if let (false, Readiness::Saturated { .. }) =
        (gateway.settings.dry_run, gateway.limiter.readiness_for(&demand))
    {
        match gateway.limiter.enqueue(demand.clone()) {
            Err(refused) => return Err(problem_of(&refused).into()),
            Ok(Admission::Admitted(permit)) => permit.ignore(),
            Ok(Admission::Waiting(ticket)) => ticket.decline(),
        }
    }
    let (body, charge) = ahead::read(&gateway, body, length).await?;
    // In a dry run only. Whom the door itself would refuse, it counts in a moment.
    if charge.is_over() && !matches!(gateway.limiter.readiness_for(&demand), Readiness::Saturated { .. }) {
        gateway.would_refuse.fetch_add(1, Relaxed);
    }
    Ok((Asks { head, body, waiting_bytes: Some(charge) }, demand))
}

/// Why a wait ended without a permit.
pub(super) fn stop_of(refused: &Refused) -> Stop {
    if refused.reason() != Reason::Draining {
        return problem_of(refused).into();
    }
    let detail = "The gateway is shutting down.";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, Reason::Draining, detail).into()
}
